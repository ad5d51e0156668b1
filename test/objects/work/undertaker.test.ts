import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../../src/base/bytes.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import { hash } from '../../../src/base/hash.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { decodeObjectRow, emptyRow, encodeObjectRow, type ObjectRow, withHeartbeat, withPending } from '../../../src/objects/object-row.ts'
import { OwedRows } from '../../../src/objects/work/owed-rows.ts'
import { Undertaker, undertakerLimits } from '../../../src/objects/work/undertaker.ts'
import { type Registers, type RowAddress, type RowStore, tables } from '../../../src/tables/index.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { type TableNode, tableNodes } from '../../support/table-nodes.ts'
import { plainCodec } from '../../support/table-plain-codec.ts'

const bucketId = new Uint8Array(16).fill(3)
const address = (key: string): RowAddress => ({ table: tables.objects, scope: bucketId, key: utf8(key) })
const proofOf = ({ salt }: { salt: Uint8Array }): Uint8Array => hash(salt)
const version = (n: number): { id: Uint8Array, salt: Uint8Array, epoch: number } => { const salt = new Uint8Array(16).fill(n); return { id: hash(proofOf({ salt })), salt, epoch: 1 } }
const current = (n: number): ObjectRow['current'] => ({ ...version(n), sizeBytes: 1, modifiedMs: 0, contentType: undefined, metadata: {}, content: new Uint8Array(1), hasBlocks: true })
const rowOf = (key: string, other: Partial<ObjectRow>): ObjectRow => ({ ...emptyRow({ bucketId, key }), ...other })

/** Three replicas, an undertaker on each; deaths go to a list. */
function world ({ registers = (own) => own, published = () => true, maxOwed = 1000 }: { registers?: (own: Registers) => Pick<Registers, 'read' | 'change'>, published?: () => boolean, maxOwed?: number } = {}) {
  const nodes = tableNodes(3, { saved: (self, row) => { undertakers[nodes.nodes.findIndex((node) => node.self === self)]?.saved(row) } })
  const time = new VirtualTime()
  const deaths: string[] = []
  /** How many rows each took out of its store. */
  const looks = nodes.nodes.map(() => 0)
  const undertakers: readonly Undertaker[] = nodes.nodes.map((node, i) => new Undertaker({
    self: node.self, registers: registers(node.registers), store: counted(node.store, () => { looks[i] = (looks[i] ?? 0) + 1 }), codec: plainCodec, owed: new OwedRows({ maxRows: maxOwed }), voters: nodes.voters, isMember: () => true, clock: time.clock(), warn: () => {}, proofOf,
    reachable: () => new Set(nodes.nodes.map(({ self }) => self).filter((peer) => !nodes.dead.has(peer))),
    publish: async (proofs) => proofs.map((proof) => { if (published()) deaths.push(hexOf(proof)); return published() }),
  }))
  const [first] = nodes.nodes as [TableNode]
  return {
    nodes, time, deaths, undertakers, looks,
    write: async (row: ObjectRow) => first.registers.change<void>(address(row.key), () => ({ kind: 'write', value: encodeObjectRow(row), result: undefined })),
    read: async (key: string) => { const value = await first.registers.read(address(key)); return value === undefined ? undefined : decodeObjectRow(value) },
    /** All that is due now, of the given ones. */
    work: async (...of: readonly number[]): Promise<void> => {
      for (const i of of) {
        const undertaker = undertakers[i] as Undertaker
        undertaker.now()
        while (await undertaker.step({ signal: new AbortController().signal }) === 'busy');
        time.nowMs += undertakerLimits.noticeMs
        while (await undertaker.step({ signal: new AbortController().signal }) === 'busy');
      }
    },
    firstOf: (key: string): number => nodes.nodes.findIndex(({ self }) => self === nodes.voters.of(tables.objects, plainCodec.rowKeyOf(address(key)))[0]),
  }
}

/** Calls back for each row that is taken out. */
const counted = (store: Pick<RowStore, 'get' | 'rows'>, look: () => void): Pick<RowStore, 'get' | 'rows'> => ({
  get: async (...of) => { look(); return store.get(...of) },
  async * rows (...of) { for await (const row of store.rows(...of)) { look(); yield row } },
})

describe('the undertaker', () => {
  test('publishes what is dropped, and clears it; what lives it leaves alone', async () => {
    const { write, read, work, deaths } = world()
    await write(rowOf('key', { current: current(1), dropped: [version(2), version(3)] }))
    await work(0, 1, 2)
    expect(deaths.toSorted()).toEqual([2, 3].map((n) => hexOf(proofOf(version(n)))).toSorted())
    expect(await read('key')).toMatchObject({ dropped: [], current: { salt: version(1).salt } })
  })

  test('leaves a tombstone where nothing is owed any more', async () => {
    const { write, read, work, nodes } = world()
    await write(rowOf('key', { dropped: [version(2)] }))
    await work(0, 1, 2)
    expect(await read('key')).toBeUndefined()
    const row = await (nodes.nodes[0] as TableNode).store.get(tables.objects, plainCodec.rowKeyOf(address('key')))
    expect(plainCodec.isTombstone({ table: tables.objects, rowKey: row?.rowKey as Uint8Array, record: row?.accepted as Uint8Array })).toBe(true)
  })

  test('goes by what a majority knows: an accept that was not chosen kills nobody', async () => {
    const value = encodeObjectRow(rowOf('key', { current: current(2) }))
    const changed: string[] = []
    const { write, work, deaths } = world({ registers: (own) => ({ read: async () => value, change: async (...of) => { changed.push('changed'); return own.change(...of) } }) })
    await write(rowOf('key', { current: current(1), dropped: [version(2)] }))
    await work(0, 1, 2)
    expect(deaths).toEqual([])
    expect(changed).toEqual([])
  })

  test('keeps what is owed until a majority has the death, and tries again', async () => {
    let isReached = false
    const { write, read, work, deaths, undertakers, firstOf } = world({ published: () => isReached })
    await write(rowOf('key', { dropped: [version(2)] }))
    await work(0, 1, 2)
    expect((await read('key'))?.dropped).toHaveLength(1)
    expect(undertakers[firstOf('key')]?.status().failure).toContain('too few replicas')
    isReached = true
    await work(0, 1, 2)
    expect(await read('key')).toBeUndefined()
    expect(deaths).toHaveLength(1)
    expect(undertakers[firstOf('key')]?.status().failure).toBeUndefined()
  })

  test('does not rest for one row that cannot be read, while others are cleared (sixteen in five seconds were all, and what was overwritten often came to take no more puts)', async () => {
    const stuck = hexOf(address('stuck').key)
    const { write, read, firstOf, undertakers, time } = world({ registers: (own) => ({
      read: async (of, wait) => { if (hexOf(of.key) === stuck) throw new Unavailable('no majority of its replicas answers'); return own.read(of, wait) },
      change: async (...of) => own.change(...of),
    }) })
    const undertaker = undertakers[firstOf('stuck')] as Undertaker
    const step = async (): Promise<string> => undertaker.step({ signal: new AbortController().signal })
    while (await step() === 'busy');
    const keys = Array.from({ length: 300 }, (_, i) => `key ${i}`).filter((key) => firstOf(key) === firstOf('stuck')).slice(0, 3 * undertakerLimits.rowsAtOnce)
    for (const key of ['stuck', ...keys]) await write(rowOf(key, { dropped: [version(keys.indexOf(key) + 2)] }))
    time.nowMs += undertakerLimits.noticeMs
    while (await step() === 'busy');
    expect((await Promise.all(keys.map(read))).filter((row) => row !== undefined)).toEqual([])
    expect((await read('stuck'))?.dropped).toHaveLength(1)
    // of it alone nothing comes: then it is left for a while
    time.nowMs += undertakerLimits.noticeMs
    expect([await step(), await step()]).toEqual(['busy', 'idle'])
    expect(undertaker.status().failure).toContain('no majority')
    time.nowMs += undertakerLimits.retryMs - 1
    expect(await step()).toBe('idle')
    time.nowMs += 1
    expect(await step()).toBe('busy')
  })

  test('is one for each row: the first of its replicas that answers', async () => {
    const { write, read, work, firstOf, nodes } = world()
    await write(rowOf('key', { dropped: [version(2)] }))
    const others = [0, 1, 2].filter((i) => i !== firstOf('key'))
    await work(...others)
    expect((await read('key'))?.dropped).toHaveLength(1)
    nodes.dead.add((nodes.nodes[firstOf('key')] as TableNode).self satisfies PeerId)
    await work(...others)
    nodes.dead.clear()
    expect(await read('key')).toBeUndefined()
  })

  test('notices at once what its replica accepts', async () => {
    const { undertakers, time, write, read, firstOf } = world()
    const row = rowOf('key', { dropped: [version(2)] })
    const undertaker = undertakers[firstOf('key')] as Undertaker
    await undertaker.step({ signal: new AbortController().signal })
    while (await undertaker.step({ signal: new AbortController().signal }) === 'busy');
    await write(row)
    time.nowMs += undertakerLimits.noticeMs
    expect(await undertaker.step({ signal: new AbortController().signal })).toBe('busy')
    expect(await read('key')).toBeUndefined()
  })

  test('looks at all rows once, and from then on at those alone that owe something', async () => {
    const { write, read, work, time, looks } = world()
    for (let n = 0; n < 100; n++) await write(rowOf(`living ${n}`, { current: current(n) }))
    await write(withPending(rowOf('upload', {}), version(101)))
    await work(0)
    expect(looks[0]).toBeGreaterThan(100)
    looks[0] = 0
    await work(0)
    expect(looks[0]).toBe(1)
    // what comes later is among them, and what is over is not
    await write(withPending(rowOf('later', {}), version(102)))
    await write(rowOf('upload', { current: current(101) }))
    await work(0, 1, 2)
    time.nowMs += undertakerLimits.giveUpAfterMs
    looks[0] = 0
    await work(0, 1, 2)
    expect(looks[0]).toBe(1)
    expect(await read('later')).toBeUndefined()
    expect((await read('upload'))?.current).toBeDefined()
  })

  test('looks at all rows again as long as more owe something than it can remember', async () => {
    const { write, read, work, time, looks } = world({ maxOwed: 3 })
    const keys = Array.from({ length: 10 }, (_, n) => `upload ${n}`)
    for (const [n, key] of keys.entries()) await write(withPending(rowOf(key, {}), version(n)))
    await work(0, 1, 2)
    time.nowMs += undertakerLimits.giveUpAfterMs
    await work(0, 1, 2)
    for (const key of keys) expect(await read(key)).toBeUndefined()
    // the pass that finds room for what is left is the last one
    await work(0, 1, 2)
    looks[0] = 0
    await work(0, 1, 2)
    expect(looks[0]).toBe(0)
  })

  describe('gives up an upload', () => {
    const day = undertakerLimits.giveUpAfterMs
    test('that has stood still for a day, and not one that moves', async () => {
      const { write, read, work, time } = world()
      await write(withPending(rowOf('still', {}), version(1)))
      await write(withPending(rowOf('moving', {}), version(2)))
      await work(0, 1, 2)
      time.nowMs += day - 10_000
      await write(withHeartbeat(await read('moving') as ObjectRow, version(2)) as ObjectRow)
      await work(0, 1, 2)
      expect((await read('still'))?.pending).toHaveLength(1)
      time.nowMs += 10_000
      await work(0, 1, 2)
      expect(await read('still')).toBeUndefined()
      expect((await read('moving'))?.pending).toHaveLength(1)
    })

    test('though there is always a row with dead versions that is due, as one without a majority (what stood still stayed as long as that)', async () => {
      const stuck = hexOf(address('stuck').key)
      const { write, read, firstOf, undertakers, time } = world({ registers: (own) => ({
        read: async (of, wait) => { if (hexOf(of.key) === stuck) throw new Unavailable('no majority of its replicas answers'); return own.read(of, wait) },
        change: async (...of) => own.change(...of),
      }) })
      await write(rowOf('stuck', { dropped: [version(2)] }))
      await write(withPending(rowOf('still', {}), version(1)))
      for (let waitedMs = 0; waitedMs < 2 * day; waitedMs += undertakerLimits.everyMs) {
        await undertakers[firstOf('stuck')]?.step({ signal: new AbortController().signal })
        time.nowMs += undertakerLimits.everyMs
      }
      expect((await read('still'))?.pending ?? []).toEqual([])
    })

    test('by whichever of its replicas has seen it stand still so long: the first may have been started anew each day', async () => {
      const { write, read, work, time, firstOf } = world()
      const others = [0, 1, 2].filter((i) => i !== firstOf('key'))
      await write(withPending(rowOf('key', {}), version(1)))
      await work(...others)
      time.nowMs += day
      await work(...others)
      expect(await read('key')).toMatchObject({ pending: [], dropped: [{ salt: version(1).salt }] })
      await work(firstOf('key'))
      expect(await read('key')).toBeUndefined()
    })

    test('in parts only after seven', async () => {
      const { write, read, work, time } = world()
      await write(withPending(rowOf('parts', {}), { ...version(1), isMultipart: true }))
      await work(0, 1, 2)
      time.nowMs += 6 * day
      await work(0, 1, 2)
      expect((await read('parts'))?.pending).toHaveLength(1)
      time.nowMs += day
      await work(0, 1, 2)
      expect(await read('parts')).toBeUndefined()
    })

    test('only if the row says the same when it does: one that moved meanwhile goes on', async () => {
      let beat = async (): Promise<void> => {}
      const { write, read, work, time } = world({ registers: (own) => ({ read: async (...of) => own.read(...of), change: async (...of) => { await beat(); return own.change(...of) } }) })
      await write(withPending(rowOf('key', {}), version(1)))
      await work(0, 1, 2)
      time.nowMs += day
      beat = async () => { beat = async () => {}; await write(withHeartbeat(await read('key') as ObjectRow, version(1)) as ObjectRow) }
      await work(0, 1, 2)
      expect((await read('key'))?.pending).toMatchObject([{ heartbeat: 1 }])
    })
  })
})
