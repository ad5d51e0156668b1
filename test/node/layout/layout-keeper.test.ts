import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { type PeerId, peerIdOf } from '../../../src/base/peer-id.ts'
import { changed, changing, closing, declaredBy, encodeLayout, encodeMemberRow, type Layout, type MemberRow, openLayout, parseLayout, parseMemberRow, recovering, replicasOf, settled } from '../../../src/cluster/index.ts'
import { memoryFiles, type MemoryFiles } from '../../../src/disk/memory-files.ts'
import { LayoutKeeper, wantedMembers } from '../../../src/node/layout/layout-keeper.ts'
import { Takeovers } from '../../../src/node/layout/takeover.ts'
import { clearPartition } from '../../../src/tables/clear-rows.ts'
import { type Registers, tables } from '../../../src/tables/index.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed } from '../../support/cluster-identities.ts'

const cluster = paperCluster()
const names = ['founder', 'bob', 'carol']
const layout = settled(closing(openLayout(layoutMember('founder'))), names.map((name) => layoutMember(name)))
const row = (name: string, more: Partial<MemberRow> = {}): MemberRow => ({ certificate: certificateOf(cluster.member(name)), capacityBytes: layoutMember(name).capacityBytes, addresses: [], storeId: layoutMember(name).storeId, ...more })
const wanted = ({ rows = names.map((name) => row(name)), up = names, evicted = [], of = layout }: { rows?: readonly MemberRow[], up?: readonly string[], evicted?: readonly string[], of?: Layout } = {}): readonly string[] =>
  wantedMembers({ layout: of, rows, reachable: new Set(up.map(peerNamed)), evicted: new Set(evicted.map(peerNamed)) }).map(({ peerId }) => [...names, 'dave'].find((name) => peerNamed(name) === peerId) ?? '').toSorted()

describe('the layout should have', () => {
  test('who is in it, though away for a while', () => { expect(wanted({ up: ['founder'] })).toEqual(names.toSorted()) })
  test('who has joined, when it answers and not before', () => {
    const rows = [...names, 'dave'].map((name) => row(name))
    expect(wanted({ rows })).toEqual(names.toSorted())
    expect(wanted({ rows, up: ['founder', 'dave'] })).toContain('dave')
  })
  test('nobody who drains, was voted out, or has no row', () => {
    expect(wanted({ rows: [row('founder'), row('bob', { isDraining: true }), row('carol')] })).toEqual(['carol', 'founder'])
    expect(wanted({ evicted: ['carol'] })).toEqual(['bob', 'founder'])
    expect(wanted({ rows: [row('founder'), row('bob')] })).toEqual(['bob', 'founder'])
  })
  test('nobody who was only to follow, and has gone before it did', () => {
    const between = changing(layout, [...layout.members, layoutMember('dave')])
    const rows = [...names, 'dave'].map((name) => row(name))
    expect(wanted({ rows, of: between })).toEqual(names.toSorted())
    expect(wanted({ rows, of: between, up: ['dave'] })).toContain('dave')
  })
  test('another store of a node only when that node answers', () => {
    const storeId = new Uint8Array(16).fill(7)
    const rows = [row('founder'), row('bob', { storeId }), row('carol')]
    const storeOf = (up: readonly string[]): Uint8Array | undefined => wantedMembers({ layout, rows, reachable: new Set(up.map(peerNamed)), evicted: new Set() }).find(({ peerId }) => peerId === peerNamed('bob'))?.storeId
    expect(storeOf(['bob'])).toEqual(storeId)
    expect(storeOf([])).toEqual(layoutMember('bob').storeId)
  })
})

describe('a keeper', () => {
  /** How many changes of the layout it begins for memory that a voter says it has lost, in so many minutes; each is over at once, and gives back what `left` says. */
  async function changesIn (minutes: number, left: (changes: number, told: { readonly peer: PeerId, readonly nowMs: number }) => number): Promise<number> {
    let [current, nowMs, changes] = [layout, 0, 0]
    const clock = { monotonicMs: () => nowMs } as unknown as Clock
    const keeper = new LayoutKeeper({
      self: [...layout.members].map(({ peerId }) => peerId).toSorted()[0] as PeerId, clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (peer, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: left(changes, { peer, nowMs }), away: [] } : { kind: 'digests', digests: [] },
      memberRows: async () => names.map((name) => row(name)), reachable: () => new Set(names.map(peerNamed)), storeOf: () => undefined,
      onChange: (_, why) => { if (why.startsWith('memory')) changes++ },
    })
    for (; nowMs < minutes * 60_000; nowMs += 500) await keeper.step()
    return changes
  }

  test('has the layout change for memory that was lost, and again while more of it comes back', async () => {
    expect(await changesIn(10, (changes) => Math.max(0, 100 - 20 * changes))).toBe(5)
  })
  test('does not have it change every half minute for memory that nobody can give back', async () => {
    const changes = await changesIn(60, () => 100)
    expect(changes).toBeGreaterThan(4)
    expect(changes).toBeLessThan(10)
  })
  test('does not have it change time after time for one that says now that it has lost some, and now that it has not', async () => {
    expect(await changesIn(40, (_, { peer, nowMs }) => peer === peerNamed('bob') && nowMs % 7000 < 3500 ? 1 : 0)).toBeLessThan(15)
  })
  test('nor for one that says each time that it has lost a little less', async () => {
    expect(await changesIn(40, (changes, { peer }) => peer === peerNamed('bob') ? 4000 - changes : 0)).toBeLessThan(10)
  })
  test('does not have one wait that has lost something, where another says for ever that it has', async () => {
    const lossMs = 80 * 60_000
    let [before, broughtMs]: [number | undefined, number | undefined] = [undefined, undefined]
    await changesIn(82, (changes, { peer, nowMs }) => {
      if (peer === peerNamed('bob')) return 1
      if (peer !== peerNamed('carol') || nowMs < lossMs) return 0
      before ??= changes
      if (changes > before) broughtMs ??= nowMs
      return changes > before ? 0 : 50
    })
    expect((broughtMs ?? Infinity) - lossMs).toBeLessThan(60_000)
  })
})

describe('a keeper, where a voter shows another row store than its row names', () => {
  /** Versions of the layout in ten minutes. */
  async function versionsWhere (storeOfBob: (nowMs: number) => number): Promise<number> {
    let [current, nowMs] = [layout, 0]
    const rows = new Map(names.map((name) => [name, row(name)]))
    const change = async (address: { table: number }, decide: (value: Uint8Array) => { value: Uint8Array, result: unknown }): Promise<unknown> => {
      if (address.table === tables.layout) return decide(encodeLayout(current)).result
      const { value, result } = decide(encodeMemberRow(rows.get('bob') as MemberRow))
      rows.set('bob', parseMemberRow(value))
      return result
    }
    const keeper = new LayoutKeeper({
      self: [...layout.members].map(({ peerId }) => peerId).toSorted()[0] as PeerId, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change } as unknown as Registers,
      ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: [] } : { kind: 'digests', digests: [] },
      memberRows: async () => [...rows.values()], reachable: () => new Set(names.map(peerNamed)), onChange: () => {},
      storeOf: (peer) => peer === peerNamed('bob') ? new Uint8Array(16).fill(1 + storeOfBob(nowMs) % 250) : layoutMember(names.find((name) => peerNamed(name) === peer) ?? '').storeId,
    })
    for (; nowMs < 600_000; nowMs += 500) await keeper.step()
    return Number(current.version - layout.version)
  }

  test('has it taken over afresh', async () => { expect(await versionsWhere(() => 0)).toBe(2) })
  test('and again when it has lost that one too', async () => { expect(await versionsWhere((nowMs) => nowMs < 300_000 ? 0 : 1)).toBe(4) })
  test('has nobody change the layout for each that is shown every few seconds', async () => { expect(await versionsWhere((nowMs) => Math.floor(nowMs / 5000))).toBeLessThan(25) })
})

describe('a keeper, where somebody who is not in the layout comes and goes', () => {
  /** Versions of the layout in ten minutes, and whether bob was let go, who drains; each change takes four seconds. */
  async function changesWhere (isThere: (nowMs: number) => boolean): Promise<{ versions: number, isLetGo: boolean }> {
    let [current, nowMs, changedMs] = [layout, 0, 0]
    const keeper = new LayoutKeeper({
      self: peerNamed('founder'), clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: (peer) => peer === peerNamed('founder'), adoptLayout: async (encoded) => { [current, changedMs] = [parseLayout(encoded), nowMs] } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: current.state === 'changing' && nowMs - changedMs < 4000 ? 1 : 0, lost: 0, away: [] } : { kind: 'digests', digests: [] },
      memberRows: async () => [...names, 'dave'].map((name) => row(name, name === 'bob' ? { isDraining: true } : {})),
      reachable: () => new Set([...names, ...isThere(nowMs) ? ['dave'] : []].map(peerNamed)), storeOf: () => undefined, onChange: () => {},
    })
    for (; nowMs < 600_000; nowMs += 500) await keeper.step()
    return { versions: Number(current.version - layout.version), isLetGo: !current.members.some(({ peerId }) => peerId === peerNamed('bob')) }
  }

  test.each([500, 2000])('every %i ms, lets another go that drains, and soon has nobody take over for that one', async (everyMs) => {
    const { versions, isLetGo } = await changesWhere((nowMs) => Math.floor(nowMs / everyMs) % 2 === 0)
    expect(isLetGo).toBe(true)
    expect(versions).toBeLessThan(15)
  })
  test('takes in who comes once', async () => { expect(await changesWhere((nowMs) => nowMs < 300_000)).toEqual({ versions: 2, isLetGo: true }) })
  test('has nothing begin anew for a moment in which one does not answer that is being taken in', async () => { expect(await changesWhere((nowMs) => nowMs < 4000 || nowMs >= 4500)).toEqual({ versions: 2, isLetGo: true }) })
})

describe('a keeper that does not come first', () => {
  /** Whether it leaves out who drains, where the one before it, which answers it, tells that it has not heard from these. */
  async function moves (unheard: readonly string[], seconds = 20): Promise<boolean> {
    const [first, second] = names.map(peerNamed).toSorted() as [PeerId, PeerId]
    let [current, nowMs] = [layout, 0]
    const keeper = new LayoutKeeper({
      self: second, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (peer, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: peer === first ? unheard.map((name) => ({ peer: keyNamed(name).publicKey, seconds })) : [] } : { kind: 'digests', digests: [] },
      memberRows: async () => names.map((name) => row(name, peerNamed(name) === first ? { isDraining: true } : {})), reachable: () => new Set(names.map(peerNamed)), storeOf: () => undefined, onChange: () => {},
    })
    for (; nowMs < 60_000; nowMs += 500) await keeper.step()
    return current.version > layout.version
  }
  const behind = names.toSorted((a, b) => peerNamed(a) < peerNamed(b) ? -1 : 1).slice(1)

  test('leaves it to the one that does', async () => { expect(await moves([])).toBe(false) })
  test('leaves it to one that reaches a majority, though not all', async () => { expect(await moves(behind.slice(1))).toBe(false) })
  test('leaves it to one that has just begun, and has met nobody yet', async () => { expect(await moves(behind, 3)).toBe(false) })
  test('moves where the first reaches too few to change anything', async () => { expect(await moves(behind)).toBe(true) })
  test('moves where the first says that it has managed to do nothing', async () => { expect(await moves(names.filter((name) => !behind.includes(name)))).toBe(true) })

  /** Whether it leaves out who drains, where the first answers whoever greets it, and no question. */
  async function movesWhereSilent (isSilent: (nowMs: number) => boolean): Promise<boolean> {
    const [first, second] = names.map(peerNamed).toSorted() as [PeerId, PeerId]
    let [current, nowMs] = [layout, 0]
    const keeper = new LayoutKeeper({
      self: second, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (peer, question) => {
        if (peer === first && isSilent(nowMs)) throw new Error('no answer in time')
        return question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: [] } : { kind: 'digests', digests: [] }
      },
      memberRows: async () => names.map((name) => row(name, peerNamed(name) === first ? { isDraining: true } : {})), reachable: () => new Set(names.map(peerNamed)), storeOf: () => undefined, onChange: () => {},
    })
    for (; nowMs < 60_000; nowMs += 500) await keeper.step()
    return current.version > layout.version
  }
  test('moves where the first tells nothing any more, as one whose disk takes no newer layout', async () => { expect(await movesWhereSilent(() => true)).toBe(true) })
  test('leaves it to one that has once not answered in time', async () => { expect(await movesWhereSilent((nowMs) => nowMs < 10_000)).toBe(false) })
})

describe('a keeper that comes first', () => {
  /** For how long it says to have managed nothing, half a minute later. */
  async function vainAfter (memberRows: () => Promise<readonly MemberRow[]>): Promise<number> {
    let nowMs = 0
    const keeper = new LayoutKeeper({
      self: [...layout.members].map(({ peerId }) => peerId).toSorted()[0] as PeerId, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { layout, belongs: () => true, isMember: () => true, adoptLayout: async () => {} }, registers: {} as unknown as Registers,
      ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: [] } : { kind: 'digests', digests: [] },
      memberRows, reachable: () => new Set(names.map(peerNamed)), storeOf: () => undefined, onChange: () => {},
    })
    let isUnderWay = false
    for (; nowMs < 30_000; nowMs += 500) {
      if (!isUnderWay) { isUnderWay = true; void keeper.step().catch(() => {}).then(() => { isUnderWay = false }) }
      await new Promise((resolve) => { setImmediate(resolve) })
    }
    return keeper.vainMs
  }
  test('knows for how long its looks have failed, or not come to an end', async () => {
    expect(await vainAfter(async () => { throw new Error('the disk is full') })).toBeGreaterThan(20_000)
    expect(await vainAfter(async () => new Promise(() => {}))).toBeGreaterThan(20_000)
    expect(await vainAfter(async () => names.map((name) => row(name)))).toBe(0)
  })
})

describe('a keeper, where one of three has lost what it remembered', () => {
  /** Layouts that it has chosen in two minutes: bob has lost a partition, and gets it back from nobody; carol is away for two hours, or drains. */
  async function chosen ({ isAway }: { isAway: boolean }): Promise<readonly Layout[]> {
    const layouts: Layout[] = []
    let [current, nowMs] = [layout, 0]
    const up = names.filter((name) => !isAway || name !== 'carol').map(peerNamed)
    const keeper = new LayoutKeeper({
      self: up.toSorted()[0] as PeerId, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { layouts.push(current = parseLayout(encoded)) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (peer, question) => {
        const isLost = peer === peerNamed('bob')
        const [remaining, lost] = current.state === 'changing' ? [isLost ? 1 : 0, 0] : [0, isLost ? 1 : 0]
        return question.kind === 'progress' ? { kind: 'progress', remaining, lost, away: isAway ? [{ peer: keyNamed('carol').publicKey, seconds: 7200 }] : [] } : { kind: 'digests', digests: [] }
      },
      memberRows: async () => names.map((name) => row(name, name === 'carol' && !isAway ? { isDraining: true } : {})), reachable: () => new Set(up), storeOf: () => undefined, onChange: () => {},
    })
    for (; nowMs < 120_000; nowMs += 500) await keeper.step()
    return layouts
  }
  const isWithoutCarol = ({ members }: Layout): boolean => !members.some(({ peerId }) => peerId === peerNamed('carol'))

  test('leaves nobody out who may be the only one to know', async () => { expect((await chosen({ isAway: true })).some(isWithoutCarol)).toBe(false) })
  test('does not let one go that answers, and of whom the other could have it back', async () => { expect((await chosen({ isAway: false })).some(isWithoutCarol)).toBe(false) })
})

describe('a keeper, where five decided and three of them stay', () => {
  const five = ['ann', 'bob', 'carol', 'dave', 'eve']
  /** Whether the change is finished while dave is away, and these have not taken over. */
  async function isFinished (late: readonly string[]): Promise<boolean> {
    const before = settled(closing(openLayout(layoutMember('ann'))), five.map((name) => layoutMember(name)))
    let [current, nowMs]: [Layout, number] = [changing(before, five.filter((name) => name !== 'eve').map((name) => layoutMember(name))), 0]
    const up = five.filter((name) => name !== 'dave').map(peerNamed)
    const keeper = new LayoutKeeper({
      self: up.toSorted()[0] as PeerId, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (peer, question) => question.kind === 'progress' ? { kind: 'progress', remaining: late.map(peerNamed).includes(peer) ? 1 : 0, lost: 0, away: [] } : { kind: 'digests', digests: [] },
      memberRows: async () => five.map((name) => row(name, name === 'eve' ? { isDraining: true } : {})), reachable: () => new Set(up), storeOf: () => undefined, onChange: () => {},
    })
    for (; nowMs < 10_000; nowMs += 500) await keeper.step()
    return current.state === 'settled'
  }

  test('finishes the change when no majority of them has missed anything: of three one may be away', async () => { expect(await isFinished([])).toBe(true) })
  test('waits while one is away and another has not taken over', async () => { expect(await isFinished(['carol'])).toBe(false) })
})

test('a keeper that leaves out who is away goes on with it while that is taken over', async () => {
  const four = ['ann', 'bob', 'carol', 'dave']
  const before = settled(closing(openLayout(layoutMember('ann'))), four.map((name) => layoutMember(name)))
  const first = before.members.map(({ peerId }) => peerId).toSorted()[0] as PeerId
  const [dead = ''] = four.filter((name) => peerNamed(name) !== first)
  const left = four.filter((name) => name !== dead)
  const current = changing(before, left.map((name) => layoutMember(name)))
  let nowMs = 0
  const proposed: string[] = []
  const keeper = new LayoutKeeper({
    self: first, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
    state: { layout: current, belongs: () => true, isMember: () => true, adoptLayout: async () => {} },
    registers: { change: async (_: unknown, change: (value: Uint8Array) => { result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
    ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 100, lost: 0, away: [{ peer: keyNamed(dead).publicKey, seconds: 7200 }] } : { kind: 'digests', digests: [] },
    memberRows: async () => four.map((name) => row(name)), reachable: () => new Set(left.map(peerNamed)), storeOf: () => undefined, onChange: (_, why) => { proposed.push(why) },
  })
  for (; nowMs < 60_000; nowMs += 500) await keeper.step()
  expect(proposed).toEqual([])
})

describe('a keeper that leaves nobody out, since rows would be left without a majority', () => {
  test('says so while it is so, and no longer', async () => {
    const seven = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace']
    const of = settled(closing(openLayout(layoutMember('ann'))), seven.map((name) => layoutMember(name)))
    const first = of.members.map(({ peerId }) => peerId).toSorted()[0] as PeerId
    const dead = seven.filter((name) => peerNamed(name) !== first).slice(0, 3)
    let [nowMs, away] = [0, dead]
    const up = (): ReadonlySet<PeerId> => new Set(seven.filter((name) => !away.includes(name)).map(peerNamed))
    const keeper = new LayoutKeeper({
      self: first, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { layout: of, belongs: () => true, isMember: () => true, adoptLayout: async () => {} },
      registers: { change: async () => { throw new Error('no change is due') } } as unknown as Registers,
      ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: away.map((name) => ({ peer: keyNamed(name).publicKey, seconds: 7200 })) } : { kind: 'digests', digests: [] },
      memberRows: async () => seven.map((name) => row(name)), reachable: up, storeOf: () => undefined, onChange: () => {},
    })
    await keeper.step()
    expect(keeper.trouble).toContain('stay in the layout though away')
    // who asks what would be changes nothing of what is
    away = []
    await keeper.foreseen((rows) => rows)
    expect(keeper.trouble).toContain('stay in the layout though away')
    nowMs += 10_000
    await keeper.step()
    expect(keeper.trouble).toBeUndefined()
  })

  test('where another has lost rows: who is away may alone have what that one forgot', async () => {
    const first = layout.members.map(({ peerId }) => peerId).toSorted()[0] as PeerId
    const [dead = '', forgetful = ''] = names.filter((name) => peerNamed(name) !== first)
    let [nowMs, lost] = [0, 1]
    const proposed: string[] = []
    const keeper = new LayoutKeeper({
      self: first, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { layout, belongs: () => true, isMember: () => true, adoptLayout: async () => {} },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { result: unknown }) => change(encodeLayout(layout)).result } as unknown as Registers,
      ask: async (peer, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: peer === peerNamed(forgetful) ? lost : 0, away: [{ peer: keyNamed(dead).publicKey, seconds: 7200 }] } : { kind: 'digests', digests: [] },
      memberRows: async () => names.map((name) => row(name)), reachable: () => new Set(names.filter((name) => name !== dead).map(peerNamed)), storeOf: () => undefined,
      onChange: (_, why) => { proposed.push(why) },
    })
    for (; nowMs < 60_000; nowMs += 500) await keeper.step()
    expect(keeper.trouble).toContain(`${peerNamed(dead)} stay in the layout though away`)
    expect(keeper.trouble).toContain(`${peerNamed(forgetful)} ha`)
    expect(proposed.every((why) => why.startsWith('memory'))).toBe(true)
    lost = 0
    for (; nowMs < 120_000 && proposed.at(-1) !== 'its members have changed'; nowMs += 500) await keeper.step()
    expect(proposed.at(-1)).toBe('its members have changed')
  })
})

describe('a keeper whose own replica has missed that somebody joined', () => {
  /** What layouts it proposes, where rows are first read without carol and its own digest stays as it is. */
  async function proposedWhere (hasJoined: (reads: number) => boolean): Promise<readonly string[]> {
    let [current, nowMs, reads] = [layout, 0, 0]
    const proposed: string[] = []
    const keeper = new LayoutKeeper({
      self: [...layout.members].map(({ peerId }) => peerId).toSorted()[0] as PeerId, clock: { monotonicMs: () => nowMs } as unknown as Clock, evictAfterMs: 3_600_000,
      state: { get layout () { return current }, belongs: () => true, isMember: () => true, adoptLayout: async (encoded) => { current = parseLayout(encoded) } },
      registers: { change: async (_: unknown, change: (value: Uint8Array) => { value: Uint8Array, result: unknown }) => change(encodeLayout(current)).result } as unknown as Registers,
      ask: async (_, question) => question.kind === 'progress' ? { kind: 'progress', remaining: 0, lost: 0, away: [] } : { kind: 'digests', digests: [{ partition: clearPartition, digest: new Uint8Array(32) }] } as never,
      memberRows: async () => names.filter((name) => name !== 'carol' || hasJoined(reads)).map((name) => { reads += name === 'founder' ? 1 : 0; return row(name) }),
      reachable: () => new Set(names.map(peerNamed)), storeOf: () => undefined,
      onChange: (_, why) => { proposed.push(why) },
    })
    for (; nowMs < 12_000; nowMs += 500) await keeper.step()
    return proposed
  }

  test('reads the rows again before it leaves anybody out', async () => {
    expect(await proposedWhere((reads) => reads > 0)).toEqual([])
    expect((await proposedWhere(() => false))[0]).toBe('its members have changed')
  })
})

describe('what a node takes over', () => {
  async function takeoversOf (name: string, { files = memoryFiles(), lost = [] }: { files?: MemoryFiles, lost?: readonly number[] } = {}): Promise<{ takeovers: Takeovers, cleared: number[], files: MemoryFiles }> {
    const cleared: number[] = []
    const rows = { clear: async (...partitions: readonly number[]) => { cleared.push(...partitions) }, lostPartitions: () => new Set(lost) }
    return { takeovers: await Takeovers.open({ files, rows, self: peerNamed(name), leaving: async () => {}, clearing: async () => {} }), cleared, files }
  }
  const between = changing(layout, [...layout.members, layoutMember('dave')])

  test('is every partition that it enters, of which it forgets first what it had, and the clear rows', async () => {
    const { takeovers, cleared } = await takeoversOf('dave')
    await takeovers.prepare(between)
    const { partitions, restoring } = takeovers.of(between)
    const entered = partitions.filter((partition) => partition !== clearPartition)
    expect(entered.length).toBeGreaterThan(1000)
    expect(entered.every((partition) => between.next !== undefined && replicasOf(between.next, partition).includes(peerNamed('dave')))).toBe(true)
    expect(partitions).toContain(clearPartition)
    expect(restoring.size).toBe(0)
    expect(cleared).toEqual(entered)
  })

  test('is nothing for those who were there, and nothing when it is done', async () => {
    const { takeovers } = await takeoversOf('founder')
    await takeovers.prepare(between)
    expect(takeovers.of(between).partitions).toEqual([])
    expect((await takeoversOf('dave')).takeovers.of(changed(between)).partitions).toEqual([])
  })

  test('is what it had lost before the layout was adopted, over a restart too; what it loses later waits for the next', async () => {
    const { takeovers, files } = await takeoversOf('founder', { lost: [5, 9] })
    await takeovers.prepare(between)
    expect(takeovers.of(between)).toMatchObject({ partitions: [5, 9], restoring: new Set([5, 9]) })
    const restarted = await takeoversOf('founder', { files, lost: [5, 9, 11] })
    expect(restarted.takeovers.of(between).restoring).toEqual(new Set([5, 9]))
    const again = changing(between, between.next?.members ?? [])
    expect(restarted.takeovers.of(again).restoring).toEqual(new Set())
    await restarted.takeovers.prepare(again)
    expect(restarted.takeovers.of(again).restoring).toEqual(new Set([5, 9, 11]))
  })

  test('is nothing that was lost, when what was written down of it is damaged: that waits for the next change', async () => {
    const { takeovers, files } = await takeoversOf('founder', { lost: [5, 9] })
    await takeovers.prepare(between)
    files.flip('takeover', 8 * 9)
    expect((await takeoversOf('founder', { files, lost: [5, 9] })).takeovers.of(between).restoring).toEqual(new Set())
  })

  test('is everything that it is to decide about, after the loss of a majority, of each that is left; and what it had it keeps', async () => {
    const five = settled(closing(openLayout(layoutMember('founder'))), [...names, 'dave', 'eve'].map((name) => layoutMember(name)))
    const recovery = declaredBy(keyNamed('cluster authority'), cluster.clusterId, recovering(five, ['bob', 'eve'].map((name) => layoutMember(name))))
    const { takeovers, cleared } = await takeoversOf('bob')
    await takeovers.prepare(recovery)
    expect(cleared).toEqual([])
    const takeover = takeovers.of(recovery)
    expect(takeover).toMatchObject({ isOfAll: true, version: recovery.version })
    expect(takeover.partitions).toHaveLength(4097)
    for (const partition of [0, 77, clearPartition]) expect(takeover.from(partition).toSorted()).toEqual(['bob', 'eve'].map(peerNamed).toSorted())
    expect((await takeoversOf('carol')).takeovers.of(recovery).partitions).toEqual([])
  })

  test('is also what it has lost, after the loss of a majority, and is not to decide about', async () => {
    const twelve = settled(closing(openLayout(layoutMember('founder'))), [...names, ...'defghijkl'.split('')].map((name) => layoutMember(name)))
    const recovery = declaredBy(keyNamed('cluster authority'), cluster.clusterId, recovering(twelve, [...names, ...'def'.split('')].map((name) => layoutMember(name))))
    const idle = Array.from({ length: 4096 }, (_, partition) => partition).find((partition) => recovery.next !== undefined && !replicasOf(recovery.next, partition).includes(peerNamed('bob'))) ?? -1
    const { takeovers } = await takeoversOf('bob', { lost: [idle] })
    await takeovers.prepare(recovery)
    expect(takeovers.of(recovery).partitions).toContain(idle)
  })

  test('is nothing that was lost, for whoever is to vote no more', async () => {
    const { takeovers } = await takeoversOf('carol', { lost: [5] })
    const without = changing(layout, layout.members.filter(({ peerId }) => peerId !== peerIdOf(cluster.member('carol').subject)))
    await takeovers.prepare(without)
    expect(takeovers.of(without).partitions).toEqual([])
  })
})
