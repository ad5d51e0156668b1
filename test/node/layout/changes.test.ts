import { create, toBinary } from '@bufbuild/protobuf'
import { describe, expect, test } from 'vitest'
import { forecastIn, forecastMessageOf } from '../../../src/api/rpc/change-messages.ts'
import { ChangeForecastSchema } from '../../../src/api/rpc/generated/dfs/v1/cluster_pb.ts'
import { partitionCount } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { NotFound, Refused, Unavailable } from '../../../src/base/errors.ts'
import { keyOf, type PeerId } from '../../../src/base/peer-id.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { type Assignment, changed, changePlan, changing, closing, describeMember, type Layout, type LayoutMember, type MemberRow, openLayout, roles, settled, type ToldHoldings } from '../../../src/cluster/index.ts'
import type { Requests } from '../../../src/network/index.ts'
import { changedRows, Changes, progressOf, type ProgressFacts } from '../../../src/node/layout/changes.ts'
import { wantedMembers } from '../../../src/node/layout/layout-keeper.ts'
import { removeMember } from '../../../src/node/membership/removal.ts'
import type { NodeChange } from '../../../src/node.ts'
import type { Holdings } from '../../../src/protocols/holdings.ts'
import { type EraNode, eraNodes } from '../../support/era-nodes.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed } from '../../support/cluster-identities.ts'

const cluster = paperCluster()
const rowFor = ({ name, zone, capacityBytes }: { name: string, zone: string, capacityBytes: number }): MemberRow =>
  ({ certificate: certificateOf(cluster.member(name, { zone })), capacityBytes, addresses: [], storeId: layoutMember(name).storeId })

interface World { readonly layout: Layout, readonly rows: readonly MemberRow[], readonly blocks: readonly Block[], readonly names: readonly string[] }
interface Block { readonly partition: number, readonly bytes: number, readonly k: number, readonly m: number }

/** A cluster of some history with blocks in it, of copies and of shards. */
function worldOf (seed: number): World {
  const random = seededRandom(seed)
  const below = (most: number): number => Math.floor(random.fraction() * most)
  const zones = 1 + below(4)
  const names = Array.from({ length: 4 + below(4) }, (_, i) => `node ${seed} ${i}`)
  const rows = names.map((name) => rowFor({ name, zone: `zone-${below(zones)}`, capacityBytes: 1e12 * (1 + below(4)) }))
  const founder = rows[0] as MemberRow
  const members = rows.map(memberOf)
  let layout = settled(closing(openLayout(memberOf(founder))), members.slice(0, -1))
  layout = changed(changing(layout, members))
  const codes = [{ k: 1, m: 1 }, { k: 1, m: 2 }, { k: 2, m: 1 }]
  const blocks = Array.from({ length: 6000 }, () => ({ partition: below(partitionCount), bytes: 1 + below(1 << 20), ...codes[below(codes.length)] as { k: number, m: number } }))
  return { layout, rows, blocks, names }
}

function memberOf (row: MemberRow): LayoutMember {
  const { peerId, role, zone } = describeMember(row)
  return { peerId, role, zone, capacityBytes: row.capacityBytes, storeId: row.storeId }
}

const holdersAt = ({ members, blockHolders }: Assignment, { partition, k, m }: Block): readonly PeerId[] => (blockHolders[partition] ?? []).slice(0, k + m).map((index) => (members[index] as LayoutMember).peerId)
/** Of a code each position has a piece of its own; copies are all one. */
const pieces = (assignment: Assignment, block: Block): ReadonlyMap<string, number> =>
  new Map(holdersAt(assignment, block).map((peer, index) => [block.k === 1 ? peer : `${peer} ${index}`, Math.ceil(block.bytes / block.k)]))

function heldIn (assignment: Assignment, blocks: readonly Block[]): ReadonlyMap<PeerId, ToldHoldings> {
  const held = new Map<PeerId, { partitions: Map<number, { copies: number, shards: number }>, heldBytes: number, limitBytes: undefined, roomBytes: number }>()
  for (const { peerId } of assignment.members) held.set(peerId, { partitions: new Map(Array.from({ length: partitionCount }, (_, i) => [i, { copies: 0, shards: 0 }])), heldBytes: 0, limitBytes: undefined, roomBytes: 1e15 })
  for (const block of blocks) {
    for (const [piece, bytes] of pieces(assignment, block)) {
      const of = held.get(piece.split(' ')[0] as PeerId)
      const sum = of?.partitions.get(block.partition)
      if (of === undefined || sum === undefined) continue
      sum[block.k === 1 ? 'copies' : 'shards'] += bytes
      of.heldBytes += bytes
    }
  }
  return held
}

/** What really has to be brought and can be given up, block by block. */
function movedReally (before: Assignment, after: Assignment, blocks: readonly Block[]): ReadonlyMap<PeerId, { receive: number, giveUp: number }> {
  const moved = new Map<PeerId, { receive: number, giveUp: number }>()
  const add = (piece: string, what: 'receive' | 'giveUp', bytes: number): void => {
    const peer = piece.split(' ')[0] as PeerId
    const sum = moved.get(peer) ?? { receive: 0, giveUp: 0 }
    sum[what] += bytes
    moved.set(peer, sum)
  }
  for (const block of blocks) {
    const [were, are] = [pieces(before, block), pieces(after, block)]
    for (const [piece, bytes] of are) if (!were.has(piece)) add(piece, 'receive', bytes)
    for (const [piece, bytes] of were) if (!are.has(piece)) add(piece, 'giveUp', bytes)
  }
  return moved
}

/** As a keeper finds it after the change was written. */
function follows ({ layout, names }: World, rows: readonly MemberRow[], dead: readonly string[] = []): Assignment {
  const up = new Set(names.filter((name) => !dead.includes(name)).map(peerNamed))
  const wanted = wantedMembers({ layout, rows, reachable: up, evicted: new Set() })
  return changed(changing(layout, wanted))
}
const planned = (present: Assignment, next: Assignment, blocks: readonly Block[]): ReturnType<typeof changePlan> => changePlan({ present, next, holdings: heldIn(present, blocks), mostCopies: 3, buckets: [] })

describe('what is said of a change beforehand', () => {
  const changes = (names: readonly string[]): ReadonlyArray<[string, NodeChange]> => {
    const peer = peerNamed(names[1] as string)
    return [
      ['a drain', { kind: 'set', peer, settings: { isDraining: true } }],
      ['another capacity', { kind: 'set', peer, settings: { capacityBytes: 9e12 } }],
      ['no capacity', { kind: 'set', peer, settings: { capacityBytes: 0 } }],
      ['another zone', { kind: 'set', peer, settings: { zone: 'elsewhere' } }],
      ['a removal', { kind: 'remove', peer }],
    ]
  }

  test.each([4, 8])('is what then moves, to the byte, node by node, when all have told all (seed %i)', (seed) => {
    const world = worldOf(seed)
    for (const [what, change] of changes(world.names)) {
      const after = follows(world, changedRows(world.rows, change))
      const plan = planned(world.layout, after, world.blocks)
      const really = movedReally(world.layout, after, world.blocks)
      for (const { member: { peerId }, receiveBytes, giveUpBytes } of plan.nodes) {
        expect({ what, peerId, receiveBytes, giveUpBytes }).toEqual({ what, peerId, receiveBytes: really.get(peerId)?.receive ?? 0, giveUpBytes: really.get(peerId)?.giveUp ?? 0 })
      }
      expect(plan.countedPartitions).toBe(partitionCount)
    }
  })

  test('is near it when a sample was counted and one node has not told', () => {
    const world = worldOf(7)
    const after = follows(world, changedRows(world.rows, { kind: 'set', peer: peerNamed(world.names[1] as string), settings: { isDraining: true } }))
    const holdings = new Map([...heldIn(world.layout, world.blocks)].slice(1).map(([peer, told]) => [peer, { ...told, partitions: new Map([...told.partitions].filter(([partition]) => partition % 4 === 1)) }]))
    const plan = changePlan({ present: world.layout, next: after, holdings, mostCopies: 3, buckets: [] })
    const really = [...movedReally(world.layout, after, world.blocks).values()].reduce((sum, { receive }) => sum + receive, 0)
    expect(plan.countedPartitions).toBe(partitionCount / 4)
    expect(plan.silent).toEqual([[...heldIn(world.layout, []).keys()][0]])
    expect(plan.movedBytes / really).toBeGreaterThan(0.85)
    expect(plan.movedBytes / really).toBeLessThan(1.15)
  })

  test('names why it cannot be: too few nodes for a bucket, no room, a capacity that is less than what would lie there', () => {
    const world = worldOf(8)
    const peer = peerNamed(world.names[1] as string)
    const after = follows(world, changedRows(world.rows, { kind: 'set', peer, settings: { isDraining: true } }))
    const holdings = heldIn(world.layout, world.blocks)
    const bucket = { name: 'wide', redundancy: 'rs:4+2', copies: 3, width: world.names.length, suffice: 4 }
    const refused = (more: object, buckets: undefined | Array<typeof bucket> = []): readonly string[] => changePlan({ present: world.layout, next: after, holdings: new Map([...holdings].map(([one, told]) => [one, { ...told, ...more }])), mostCopies: 3, buckets }).refusals
    expect(refused({})).toEqual([])
    expect(refused({}, [bucket])).toEqual([`bucket wide (rs:4+2) needs ${bucket.width} nodes that hold blocks, and ${bucket.width - 1} would be left`])
    expect(refused({}, [{ ...bucket, width: bucket.width - 1 }])).toEqual([])
    expect(refused({}, [{ ...bucket, suffice: bucket.width }])).toEqual([`bucket wide (rs:4+2) needs ${bucket.width} nodes that hold blocks, and ${bucket.width - 1} would be left: fewer than the ${bucket.width} that reading takes`])
    const unlisted = changePlan({ present: world.layout, next: after, holdings, mostCopies: 3, buckets: undefined })
    expect(unlisted.refusals).toEqual(['the buckets could not be listed: whether what is left can hold them is not known'])
    expect(changePlan({ present: world.layout, next: world.layout, holdings, mostCopies: 3, buckets: undefined }).refusals).toEqual([])
    expect(refused({ roomBytes: 10 })[0]).toMatch(/its disk has room for 10/)
    expect(refused({ limitBytes: 1000 })[0]).toMatch(/its capacity is 1000/)
  })

  test('is told in numbers that there are, whatever one of the nodes says that it has', () => {
    const world = worldOf(8)
    const peer = peerNamed(world.names[1] as string)
    const after = follows(world, changedRows(world.rows, { kind: 'set', peer, settings: { isDraining: true } }))
    const most = Number.MAX_SAFE_INTEGER
    const holdings = new Map([...heldIn(world.layout, world.blocks)].map(([one, told]) => [one, one === peer ? { ...told, heldBytes: most, partitions: new Map([...told.partitions.keys()].map((partition) => [partition, { copies: most, shards: most }])) } : told]))
    const plan = changePlan({ present: world.layout, next: after, holdings, mostCopies: 3, buckets: [] })
    const answer = forecastMessageOf({ ...plan, nodes: plan.nodes.map(({ member: { peerId, zone, capacityBytes }, ...node }) => ({ peerId, zone, capacityBytes, role: 'member', ...node })), isPossible: true, areBucketsKnown: true, layout: { version: '3', state: 'settled' } })
    expect(() => toBinary(ChangeForecastSchema, create(ChangeForecastSchema, answer))).not.toThrow()
    expect(forecastIn(create(ChangeForecastSchema, answer)).movedBytes).toBe(most)
  })

  test('refuses what would leave nobody to hold', () => {
    const rows = ['a', 'b'].map((name) => rowFor({ name, zone: '', capacityBytes: 1000 }))
    expect(() => changedRows(changedRows(rows, { kind: 'set', peer: peerNamed('a'), settings: { capacityBytes: 0 } }), { kind: 'set', peer: peerNamed('b'), settings: { capacityBytes: 0 } })).toThrow(/hold blocks/)
    expect(() => changedRows(rows.slice(0, 1), { kind: 'set', peer: peerNamed('a'), settings: { isDraining: true } })).toThrow(/nobody would be left/)
    expect(() => changedRows(rows, { kind: 'remove', peer: peerNamed('stranger') })).toThrow(Refused)
    expect(() => changedRows(rows, { kind: 'set', peer: peerNamed('a'), settings: { zone: 'no spaces' } })).toThrow(/zone/)
  })
})

describe('a forecast', () => {
  const changesOf = ({ parts }: EraNode, rowsOf: (rows: readonly MemberRow[]) => readonly MemberRow[] = (rows) => rows): Changes => new Changes({
    eraParts: parts, clock: systemClock, requests: { request: async () => { throw new Unavailable('away') } } as unknown as Requests,
    keeper: {
      foreseen: async (change) => { const { layout } = parts.state; return { layout, rows: change(rowsOf(await parts.memberRows({}))), members: layout.members, next: layout } },
      progress: async () => new Map(),
    },
    own: async () => ({ partitions: new Map(), heldBytes: 0, limitBytes: undefined, roomBytes: 1e12 }) as unknown as Holdings,
    buckets: async () => [],
  })
  const remove = (name: string): NodeChange => ({ kind: 'remove', peer: peerNamed(name) })

  test('of a removal is refused where the removal is', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol', 'dave', 'eve'])
    const founder = nodes.of('founder')
    await expect(changesOf(nodes.of('bob')).plan(remove('carol'))).rejects.toThrow(/may neither invite nor remove/)
    await expect(changesOf(founder).plan(remove('founder'))).rejects.toThrow(/does not remove itself/)
    await expect(changesOf(founder).plan(remove('stranger'))).rejects.toBeInstanceOf(NotFound)
    for (const name of ['carol', 'dave']) nodes.die(name)
    await expect(removeMember(founder.parts, peerNamed('bob'))).rejects.toBeInstanceOf(Unavailable)
    await expect(changesOf(founder).plan(remove('bob'))).rejects.toBeInstanceOf(Unavailable)
    await expect(changesOf(founder).plan(remove('carol'))).resolves.toMatchObject({ isPossible: true, refusals: [] })
  })

  test('of a removal says that nobody is left to hold blocks, and that one was removed already', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol', 'dave'])
    const founder = nodes.of('founder')
    const bobAlone = (rows: readonly MemberRow[]): readonly MemberRow[] => rows.map((row) => ({ ...row, capacityBytes: describeMember(row).peerId === peerNamed('bob') ? 1 : 0 }))
    await expect(changesOf(founder, bobAlone).plan(remove('bob'))).resolves.toMatchObject({ isPossible: true, refusals: ['nobody would be left to hold blocks'] })
    await removeMember(founder.parts, peerNamed('dave'))
    await expect(changesOf(founder).plan(remove('dave'))).resolves.toMatchObject({ isPossible: true, refusals: [] })
  })

  test('of a drain is refused where nothing is held yet', async () => {
    const nodes = await eraNodes(['founder', 'bob'])
    const drain: NodeChange = { kind: 'set', peer: peerNamed('bob'), settings: { isDraining: true } }
    await expect(changesOf(nodes.of('founder')).plan(drain)).rejects.toThrow(/the first bucket settles/)
  })
})

describe('a node that is replaced', () => {
  const world = worldOf(11)
  const [gone, fresh] = [world.names[2] as string, 'the new one']
  const old = world.rows.find((row) => describeMember(row).peerId === peerNamed(gone)) as MemberRow
  const spare: MemberRow = { ...rowFor({ name: fresh, zone: describeMember(old).zone, capacityBytes: old.capacityBytes }), isDraining: true }
  const named = (row: MemberRow, more: Partial<MemberRow> = {}): MemberRow => ({ ...row, heir: keyOf(peerNamed(fresh)), ...more })
  const withNew = { ...world, names: [...world.names, fresh] }

  test('is left out, and its heir taken in, by one change, once the heir answers and does not drain', () => {
    const membersOf = (rows: readonly MemberRow[], of: World): readonly PeerId[] => wantedMembers({ layout: world.layout, rows, reachable: new Set(of.names.map(peerNamed)), evicted: new Set() }).map(({ peerId }) => peerId)
    const rows = (heir: MemberRow | undefined): readonly MemberRow[] => [...world.rows.map((row) => row === old ? named(row) : row), ...heir === undefined ? [] : [heir]]
    const { isDraining: _, ...holding } = spare
    for (const waiting of [membersOf(rows(undefined), withNew), membersOf(rows(spare), withNew), membersOf(rows(holding), world)]) {
      expect(waiting).toContain(peerNamed(gone))
      expect(waiting).not.toContain(peerNamed(fresh))
    }
    const done = membersOf(rows(holding), withNew)
    expect(done).not.toContain(peerNamed(gone))
    expect(done).toContain(peerNamed(fresh))
  })

  test('may have named the invite by which its heir was to join', () => {
    const invite = cluster.invite('an invite')
    const byInvite = { ...spare, isDraining: false, certificate: certificateOf(cluster.member(fresh), { invite }) }
    const rows = [...world.rows.map((row) => row === old ? named(row, { heir: invite.subject }) : row), byInvite]
    expect(wantedMembers({ layout: world.layout, rows, reachable: new Set(withNew.names.map(peerNamed)), evicted: new Set() }).map(({ peerId }) => peerId)).not.toContain(peerNamed(gone))
  })

  test.each([21, 22])('leaves its seats to the new one, and of all others hardly any changes hands (seed %i)', (seed) => {
    const { layout, rows } = worldOf(seed)
    const replaced = rows[1] as MemberRow
    const heir = rowFor({ name: `heir ${seed}`, zone: describeMember(replaced).zone, capacityBytes: replaced.capacityBytes })
    const after = changed(changing(layout, [...rows.filter((row) => row !== replaced), heir].map(memberOf)))
    const other = (peer: PeerId): PeerId => peer === describeMember(replaced).peerId ? describeMember(heir).peerId : peer
    let [seats, same] = [0, 0]
    for (const table of ['rowHolders', 'blockHolders'] as const) {
      for (let partition = 0; partition < partitionCount; partition++) {
        const [were, are] = [layout, after].map((of) => (of[table][partition] ?? []).map((index) => (of.members[index] as LayoutMember).peerId))
        for (const [position, peer] of (were ?? []).entries()) {
          seats++
          if (other(peer) === are?.[position]) same++
        }
      }
    }
    expect(same / seats).toBeGreaterThan(0.99)
  })
})

describe('how far a change is', () => {
  const layout = { version: 9n, state: 'settled' as const, members: ['a', 'b'].map((name) => layoutMember(name)) }
  const told = (more: Partial<Holdings> = {}): Holdings => ({ surveyedVersion: 9n, holdsBlocks: true, isAtRest: true, hasFailures: false, heldBytes: 100, limitBytes: undefined, roomBytes: 1000, misplacedBytes: 0, leftBytes: 0, shortBlocks: 0, partitions: new Map(), ...more })
  const [a, b, c] = ['a', 'b', 'c'].map(peerNamed) as [PeerId, PeerId, PeerId]
  const facts = (of: ReadonlyArray<[PeerId, Holdings]>, more: Partial<ProgressFacts> = {}): ProgressFacts => ({ layout, isDue: false, told: new Map(of), voters: new Map(), belonging: [a, b, c], answering: new Set(of.map(([peer]) => peer)), ...more })
  const mayGo = (of: ProgressFacts): boolean | undefined => progressOf(of).nodes.find(({ peerId }) => peerId === c)?.mayBeSwitchedOff

  test('a node may be switched off when it has looked at everything under the layout without it, and nothing on it belongs elsewhere', () => {
    expect(mayGo(facts([[a, told()], [b, told()], [c, told()]]))).toBe(true)
    expect(mayGo(facts([[a, told()], [b, told()], [c, told({ misplacedBytes: 1 })]]))).toBe(false)
    expect(mayGo(facts([[a, told()], [b, told()], [c, told({ surveyedVersion: 8n })]]))).toBe(false)
    expect(mayGo(facts([[a, told()], [b, told()], [c, told({ isAtRest: false })]]))).toBe(false)
  })
  test('who has rows to take over yet is named: it may never say that it has', () => {
    const voters = new Map([[a, { remaining: 5, lost: 0, away: [] }], [b, { remaining: 0, lost: 0, away: [] }]])
    expect(progressOf(facts([[a, told()]], { voters, layout: { ...layout, state: 'changing' } })).waitingFor).toContain(`rows are taken over: 5 partitions left, on ${a}`)
  })
  test('nothing may be switched off while the layout changes, or is to', () => {
    expect(mayGo(facts([[a, told()], [b, told()], [c, told()]], { layout: { ...layout, state: 'changing' } }))).toBe(false)
    expect(mayGo(facts([[a, told()], [b, told()], [c, told()]], { isDue: true }))).toBe(false)
  })
  test('one that does not answer may not: what it alone has the others need not know of (it was said once they saw nothing missing)', () => {
    expect(mayGo(facts([[a, told()], [b, told()]]))).toBe(false)
    expect(mayGo(facts([[a, told()], [b, told()]], { answering: new Set([a, b, c]) }))).toBe(false)
    expect(progressOf(facts([[a, told()], [b, told()]])).waitingFor).toEqual([`${c} does not answer: what it alone has is not known`])
  })
  test('all is where it belongs, and whole, only when all have said so that are to hold blocks', () => {
    expect(progressOf(facts([[a, told()], [b, told()], [c, told()]]))).toMatchObject({ isDone: true, isWhole: true })
    const silent = progressOf(facts([[a, told()], [c, told()]]))
    expect(silent).toMatchObject({ isDone: false, isWhole: false, waitingFor: [`${b} does not answer: what it alone has is not known`] })
    const members = [layoutMember('a'), layoutMember('b', { role: roles.witness }), layoutMember('c', { capacityBytes: 0 })]
    expect(progressOf(facts([[a, told()]], { layout: { ...layout, members } }))).toMatchObject({ isDone: true, isWhole: true })
  })
  test('one of the layout stays', () => {
    expect(progressOf(facts([[a, told()], [b, told()], [c, told()]])).nodes.filter(({ mayBeSwitchedOff }) => mayBeSwitchedOff).map(({ peerId }) => peerId)).toEqual([c])
  })
  test('a witness has nothing to look at', () => {
    expect(progressOf(facts([[a, told()], [b, told({ holdsBlocks: false, surveyedVersion: 0n })]])).isDone).toBe(true)
  })
  test('says what it waits for', () => {
    expect(progressOf(facts([[a, told({ misplacedBytes: 5 })], [b, told({ surveyedVersion: 1n })], [c, told()]])).waitingFor).toEqual([`5 bytes on ${a} belong elsewhere`, `${b} has not looked at everything yet since the layout changed`])
    expect(progressOf(facts([[a, told()], [b, told()], [c, told({ misplacedBytes: 5, isAtRest: false })]])).waitingFor).toEqual([`5 bytes on ${c} belong elsewhere`])
    expect(progressOf(facts([[a, told()], [b, told()], [c, told({ misplacedBytes: 5 })]])).waitingFor).toEqual([expect.stringMatching(/^5 bytes on .* belong elsewhere; if they stay they have no place.*add a node/)])
    expect(roles.member).toBe(2)
  })
})
