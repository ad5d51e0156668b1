import { describe, expect, test } from 'vitest'
import { concat, fromHex, hexOf, textOf, utf8 } from '../../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../../src/base/cid.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import { type Bucket, type ContentCodec, Conversion, conversionLimits, type ObjectParts, objectStore, redundancyLimits } from '../../../src/objects/index.ts'
import { VersionConversion } from '../../../src/objects/work/version-conversion.ts'
import { type CurrentVersion, decodeObjectRow, encodeObjectRow, keptOf, type ObjectRow, withPending } from '../../../src/objects/object-row.ts'
import { convertingOf } from '../../../src/node/work/converting.ts'
import { UserActivity } from '../../../src/node/work/user-activity.ts'
import type { ClusterState } from '../../../src/node/state.ts'
import type { TablePeers } from '../../../src/tables/registers.ts'
import { PartitionLost, tables, type Registers } from '../../../src/tables/index.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { objectWorld } from '../../support/object-parts.ts'
import { memoryNetwork } from '../../support/memory-requests.ts'
import { registersWith } from '../../support/other-registers.ts'
import { tableNodes } from '../../support/table-nodes.ts'
import { plainCodec } from '../../support/table-plain-codec.ts'

const [large, other] = ['l'.repeat(300_000), 'm'.repeat(300_000)]
const { signal } = new AbortController()
async function * bytesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }
const target = (key = 'key'): { bucket: string, key: string } => ({ bucket: 'bucket', key })

/** Cuts every 16 KiB, unsealed: the length, then the addresses of chunks, in text. */
const chunkBytes = 16_384
const chunksIn = (content: Uint8Array): Cid[] => textOf(content).split(' ').slice(1) as Cid[]
const content: Pick<ContentCodec, 'write' | 'read' | 'blocksOf' | 'rootOf'> = {
  rootOf: () => undefined,
  async write (source, { put }) {
    const pieces: Uint8Array[] = []
    for await (const piece of source) pieces.push(piece)
    const all = concat(pieces)
    const chunks = Array.from({ length: Math.ceil(all.byteLength / chunkBytes) }, (_, i) => all.slice(i * chunkBytes, (i + 1) * chunkBytes))
    for (const chunk of chunks) await put(cidOf(chunk), chunk, { mayBeSpread: all.byteLength >= redundancyLimits.spreadFromBytes })
    return { sizeBytes: all.byteLength, content: utf8([all.byteLength, ...chunks.map((chunk) => cidOf(chunk))].join(' ')), hasBlocks: all.byteLength > 4, root: undefined, chunks: [] }
  },
  async * read (encoded, { get }) { for (const cid of chunksIn(encoded)) yield await get(cid, { mayBeSpread: true }) },
  async * blocksOf (encoded) { for (const cid of chunksIn(encoded)) yield { cid, mayBeSpread: true } },
}

/** Three members that share the rows, each with a conversion; blocks lie in one world beside them. */
async function world ({ copies = 3, shards, versioning, wrap = (registers) => registers }: { copies?: number, shards?: string, versioning?: 'enabled', wrap?: (registers: Registers) => Registers } = {}) {
  const nodes = tableNodes(3)
  const time = new VirtualTime()
  const objects = objectWorld()
  objects.places = 8
  // a block that is there in another form is not there
  const writer: ObjectParts['replication']['writer'] = (reference, options) => {
    const { k, m } = reference.redundancy
    const inner = objects.parts.replication.writer(reference, options)
    const isThere = (cid: Cid): boolean => { const of = objects.put.get(cid); return of !== undefined && (k === 1 ? of.k === 1 : of.k === k && of.m === m) }
    return { ...inner, adopt: async (cids) => inner.adopt(cids.filter(isThere)) }
  }
  const warnings: string[] = []
  const warn = (message: string): void => { warnings.push(message) }
  const parts = { ...objects.parts, warn, content: { ...objects.parts.content, ...content }, replication: { ...objects.parts.replication, writer }, registers: nodes.nodes[0]?.registers as Registers }
  const store = objectStore(parts)
  await store.createBucket('bucket', { ...(shards === undefined ? { copies } : { shards }), ...(versioning === undefined ? {} : { settings: { versioning } }) })
  const bucket = async (): Promise<Bucket> => store.bucket('bucket')
  const restarted = (): Conversion[] => nodes.nodes.map(({ self, store: rows, registers }) => new Conversion({
    ...parts, registers: wrap(registers), buckets: { listBuckets: async () => [await bucket()] }, self, store: rows, codec: plainCodec, voters: nodes.voters, isMember: () => true, clock: time.clock(),
    reachable: () => new Set(nodes.nodes.map((node) => node.self).filter((peer) => !nodes.dead.has(peer))),
  }))
  const portsOf = (i: number): ConstructorParameters<typeof VersionConversion>[0] => ({ ...parts, registers: nodes.nodes[i]?.registers as Registers })
  const conversions = restarted()
  const work = async (of: readonly Conversion[] = conversions): Promise<void> => { for (const one of of) { one.now(); while (await one.step({ signal }) === 'busy'); } }
  return {
    portsOf, lastPut: objects.put, nodes, time, store, conversions, restarted, work, bucket,
    warnings, setPlaces: (places: number) => { objects.places = places },
    setFailure: (failure: Error | undefined) => { objects.failure = failure },
    put: async (key: string, text = large) => store.put(target(key), bytesOf(text)),
    rowOf: async (key = 'key'): Promise<ObjectRow> => decodeObjectRow(await parts.registers.read({ table: tables.objects, scope: fromHex((await bucket()).id), key: utf8(key) }) as Uint8Array),
    read: async (key = 'key', versionId?: string): Promise<string> => { let text = ''; for await (const piece of (await store.get(target(key), versionId === undefined ? {} : { versionId })).body) text += Buffer.from(piece).toString(); return text },
    left: (of: readonly Conversion[] = conversions) => of.reduce((sum, one) => sum + (one.status().found?.versions ?? NaN), 0),
  }
}

describe('conversion', () => {
  test.each([
    ['whole copies to shards', { copies: 3 }, { shards: '2+1' }, { k: 2, m: 1 }],
    ['shards to whole copies', { shards: '2+1' }, { copies: 3 }, undefined],
    ['a code to another', { shards: '2+1' }, { shards: '3+2' }, { k: 3, m: 2 }],
    ['copies to fewer', { copies: 3 }, { copies: 1 }, undefined],
  ] as const)('makes %s, for another id of its blocks, and the object stays what it is', async (_what, from, to, redundancy) => {
    const { put, store, work, rowOf, read, left, lastPut } = await world(from)
    const before = await put('key')
    await store.setRedundancy('bucket', to)
    await work()
    await work()
    const row = await rowOf()
    expect(row.current?.stored).toMatchObject({ copies: (await store.bucket('bucket')).copies, ...(redundancy === undefined ? {} : { redundancy }) })
    expect(row.current?.stored?.redundancy).toEqual(redundancy)
    expect(row).toMatchObject({ pending: [], dropped: [{ salt: row.current?.salt }] })
    expect(hexOf(row.current?.stored?.salt as Uint8Array)).not.toBe(hexOf(row.current?.salt as Uint8Array))
    expect(await store.head(target())).toEqual(before)
    for (const cid of chunksIn(row.current?.content as Uint8Array)) expect(lastPut.get(cid)).toEqual(redundancy ?? { k: 1, m: (await store.bucket('bucket')).copies - 1 })
    expect(await read()).toBe(large)
    expect(left()).toBe(0)
  })

  test('leaves what is small in whole copies, as many as the bucket says now', async () => {
    const { put, store, work, rowOf, read } = await world()
    await put('key', 'a little more than nothing')
    await store.setRedundancy('bucket', { shards: '2+1' })
    await work()
    expect((await rowOf()).current?.stored).toMatchObject({ copies: 2 })
    expect((await rowOf()).current?.stored?.redundancy).toBeUndefined()
    expect(await read()).toBe('a little more than nothing')
  })

  test('writes nothing for a bucket that was never changed, for what stands in its row, and for what was put since', async () => {
    const { put, store, work, rowOf, conversions } = await world()
    await put('old')
    await work()
    expect((await rowOf('old')).current?.stored).toBeUndefined()
    await put('inline', 'abc')
    await store.setRedundancy('bucket', { shards: '2+1' })
    await put('new')
    await work()
    expect((await rowOf('inline')).current?.stored).toBeUndefined()
    const { stored, salt } = (await rowOf('new')).current as NonNullable<ObjectRow['current']>
    expect(stored).toMatchObject({ salt, redundancy: { k: 2, m: 1 } })
    expect((await rowOf('new')).dropped).toEqual([])
    expect(conversions.reduce((sum, one) => sum + one.status().total.convertedVersions, 0)).toBe(1)
  })

  test('of a bucket that is changed back leaves what was not converted, and converts what was', async () => {
    const { put, store, work, rowOf } = await world()
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    await work()
    await put('later')
    await store.setRedundancy('bucket', { copies: 3 })
    await work()
    for (const key of ['key', 'later']) expect((await rowOf(key)).current?.stored).toEqual(expect.not.objectContaining({ redundancy: expect.anything() as unknown }))
    expect((await store.bucket('bucket')).original).toEqual({ copies: 3 })
  })

  test('is shared by members, and nothing is done twice; what one that is dead looks after another converts', async () => {
    const { put, store, work, conversions, nodes, rowOf } = await world()
    const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`)
    for (const key of keys) await put(key)
    await store.setRedundancy('bucket', { copies: 2 })
    await work()
    expect(conversions.reduce((sum, one) => sum + one.status().total.convertedVersions, 0)).toBe(12)
    for (const key of keys) expect((await rowOf(key)).dropped).toHaveLength(1)
    await store.setRedundancy('bucket', { copies: 1 })
    const [, first, second] = conversions as [Conversion, Conversion, Conversion]
    nodes.dead.add(nodes.nodes[2]?.self as never)
    void second
    await work([conversions[0] as Conversion, first])
    for (const key of keys) expect((await rowOf(key)).current?.stored?.copies).toBe(1)
  })

  test('converts versions that are kept, locked ones too, whose ids, etags and locks stay; the one that is promoted again is known by what its blocks are kept for', async () => {
    const { put, store, work, rowOf, read } = await world({ versioning: 'enabled' })
    await store.setBucketSettings('bucket', { objectLock: {} })
    const first = await store.put(target(), bytesOf(large), { retention: { mode: 'compliance', untilMs: Date.now() + 1e9 }, wantsMd5: true })
    const second = await put('key', other)
    await store.setRedundancy('bucket', { shards: '2+1' })
    await work()
    await work()
    const row = await rowOf()
    expect(keptOf(row)[0]?.stored).toMatchObject({ redundancy: { k: 2, m: 1 }, copies: 2 })
    expect(row.dropped).toHaveLength(2)
    expect(await store.head(target(), { versionId: first.versionId })).toEqual(first)
    expect(await read('key', first.versionId)).toBe(large)
    await expect(store.remove(target(), { versionId: first.versionId })).rejects.toThrow('retained')
    await store.remove(target(), { versionId: second.versionId })
    const promoted = await rowOf()
    expect(promoted.current?.stored).toEqual(keptOf(row)[0]?.stored)
    expect(promoted.dropped.map(({ salt }) => hexOf(salt))).toContain(hexOf(row.current?.stored?.salt as Uint8Array))
    expect(await read()).toBe(large)
  })

  test('gives way to whoever overwrites or removes the object meanwhile, and what was written for it is dropped', async () => {
    for (const meanwhile of ['put', 'remove'] as const) {
      const { put, store, conversions, rowOf, read } = await world()
      await put('key')
      await store.setRedundancy('bucket', { shards: '2+1' })
      let isDone = false
      for (const one of conversions) {
        for (let n = 0; n < 10_000 && !isDone; n++) {
          await one.step({ signal })
          if ((await rowOf()).pending.length === 0) continue
          if (meanwhile === 'put') await put('key', other)
          else await store.remove(target())
          isDone = true
        }
        while (await one.step({ signal }) === 'busy');
      }
      const row = await rowOf()
      expect(isDone).toBe(true)
      expect(row.pending).toEqual([])
      expect(row.dropped).toHaveLength(2)
      if (meanwhile === 'put') expect(await read()).toBe(other)
      else expect(row.current).toBeUndefined()
    }
  })

  test('that is killed, of an object that goes before anybody has gone on with it, leaves nothing in its row (its blocks stayed for a day)', async () => {
    for (const goes of ['put', 'remove'] as const) {
      const { put, store, conversions, rowOf } = await world()
      await put('key')
      await store.setRedundancy('bucket', { shards: '2+1' })
      for (const one of conversions) { one.now(); for (let n = 0; n < 10_000 && (await rowOf()).pending.length === 0; n++) if (await one.step({ signal }) === 'idle') break }
      for (const one of conversions) one[Symbol.dispose]()
      const { pending: [begun], current } = await rowOf()
      if (goes === 'put') await put('key', other)
      else await store.remove(target())
      const { pending, dropped } = await rowOf()
      expect(pending).toEqual([])
      expect(dropped.map(({ salt }) => hexOf(salt))).toEqual([current, begun].map((version) => hexOf(version?.salt ?? new Uint8Array(0))))
    }
  })

  test('that is killed before any of its changes of the row loses nothing, and the next one ends it', async () => {
    for (let killedAt = 0, isKilled = true; isKilled; killedAt++) {
      let [changes, isDead] = [0, false]
      isKilled = false
      const { put, store, conversions, work, rowOf, read, left, restarted } = await world({
        wrap: (registers) => ({
          ...registers, read: async (...of) => registers.read(...of), list: async (...of) => registers.list(...of),
          async change (...of) {
            isDead ||= changes++ === killedAt
            isKilled ||= isDead
            if (isDead) throw new Error('killed')
            return registers.change(...of)
          },
        }),
      })
      await put('key')
      await store.setRedundancy('bucket', { shards: '2+1' })
      for (const one of conversions) { one.now(); while (await one.step({ signal }) === 'busy' && one.status().total.failures === 0); }
      expect(await read()).toBe(large)
      // other processes, which know nothing of the first
      isDead = false
      changes = Infinity
      for (const one of conversions) one[Symbol.dispose]()
      const fresh = restarted()
      await work(fresh)
      await work(fresh)
      const row = await rowOf()
      expect(await read()).toBe(large)
      expect(left(fresh)).toBe(0)
      expect(row.current?.stored).toMatchObject({ redundancy: { k: 2, m: 1 } })
      // what the first had begun is gone on with, and nothing of it is left
      expect([row.pending, row.dropped.length]).toEqual([[], 1])
      if (killedAt > 5) throw new Error('it changes the row more often than it should')
    }
  })

  test('drops what was begun for a redundancy that the bucket has no more', async () => {
    const { put, store, work, rowOf, read, conversions, restarted } = await world()
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    for (const one of conversions) { one.now(); for (let n = 0; n < 10_000 && (await rowOf()).pending.length === 0; n++) if (await one.step({ signal }) === 'idle') break }
    const [begun] = (await rowOf()).pending
    for (const one of conversions) one[Symbol.dispose]()
    await store.setRedundancy('bucket', { shards: '3+1' })
    await work(restarted())
    const row = await rowOf()
    expect(row.current?.stored).toMatchObject({ redundancy: { k: 3, m: 1 } })
    expect([row.pending, row.dropped.length]).toEqual([[], 2])
    expect(row.dropped.map(({ salt }) => hexOf(salt))).toContain(hexOf(begun?.salt as Uint8Array))
    expect(await read()).toBe(large)
  })

  test('by two members at once of one version ends as if by one', async () => {
    const { put, store, rowOf, read, portsOf } = await world()
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    const row = await rowOf()
    const version = row.current as NonNullable<ObjectRow['current']>
    const both = [0, 1].map((i) => new VersionConversion(portsOf(i), { place: { bucketId: hexOf(row.bucketId), key: 'key' }, version, to: { copies: 2, redundancy: { k: 2, m: 1 } } }))
    const outcomes: string[] = []
    for (let n = 0; n < 20 && outcomes.length < 2; n++) for (const one of both) { const outcome = await one.step({ atOnce: 2, signal }); if (outcome !== 'busy') outcomes.push(outcome) }
    expect(outcomes.toSorted()).toEqual(['converted', 'gone'])
    expect((await rowOf()).pending).toEqual([])
    expect((await rowOf()).dropped).toHaveLength(1)
    expect(await read()).toBe(large)
  })

  test('is logged as done only when all could be looked at', async () => {
    let isFailing = true
    const { put, store, bucket, portsOf, nodes, time } = await world({ versioning: 'enabled' })
    const [node, ports, clock] = [nodes.nodes[0] as (typeof nodes.nodes)[number], portsOf(0), time.clock()]
    await put('key', other)
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    const logged: string[] = []
    const converting = convertingOf({
      state: { layout: { members: [] }, isMember: () => true } as unknown as ClusterState, network: { peerId: node.self, requests: memoryNetwork().of(node.self), reachable: () => [] },
      // all rows are this node's
      tables: { voters: { ...nodes.voters, of: () => [node.self] }, peers: { reachable: () => new Set() } as unknown as TablePeers }, rows: node.store, codec: plainCodec, users: new UserActivity(clock), clock,
      logger: { info: (_fields, message) => { logged.push(message) } },
    })
    const registers = registersWith(ports.registers, { read: async (address, wait) => {
      if (isFailing && address.table === tables.versions) throw new Unavailable('no majority')
      return ports.registers.read(address, wait)
    } })
    const running = await converting.begin({ ...ports, registers, blockPlaces: () => 8, buckets: { listBuckets: async () => [await bucket()] } })
    const until = async (isOver: () => boolean): Promise<void> => { await time.run(isOver) }
    await until(() => converting.status()?.total.convertedVersions === 1 && converting.status()?.phase === 'waiting')
    expect(logged).toEqual(['objects are converted to the redundancy of their buckets'])
    isFailing = false
    await until(() => logged.length > 1)
    expect(logged).toEqual(['objects are converted to the redundancy of their buckets', 'what this node looks after has the redundancy of its bucket'])
    expect(converting.status()?.total.convertedVersions).toBe(2)
    const ending = running[Symbol.asyncDispose]()
    await until(() => false)
    await ending
  })

  test('goes by what was chosen, whatever the row seemed to say when it was asked once more', async () => {
    const { put, rowOf, portsOf } = await world()
    await put('key')
    const row = await rowOf()
    const [version, ports, to] = [row.current as CurrentVersion, portsOf(0), { copies: 2, redundancy: { k: 2, m: 1 } }]
    const { salt, epoch } = version
    // another's, which was accepted somewhere and never chosen
    const seen = (value: Uint8Array): Uint8Array => encodeObjectRow(withPending(decodeObjectRow(value), { ...ports.versions.fresh(), converts: { salt, epoch, ...to } }))
    let times = 0
    const registers = registersWith(ports.registers, { change: async (address, change, wait) => ports.registers.change(address, (value, revision) => {
      const decided = change(value, revision)
      if (times++ === 0 && value !== undefined) change(seen(value), revision)
      return decided
    }, wait) })
    const conversion = new VersionConversion({ ...ports, registers }, { place: { bucketId: hexOf(row.bucketId), key: 'key' }, version, to })
    let outcome = await conversion.step({ atOnce: 4, signal })
    while (outcome === 'busy') outcome = await conversion.step({ atOnce: 4, signal })
    expect(outcome).toBe('converted')
    expect(await rowOf()).toMatchObject({ pending: [], current: { stored: to }, dropped: [{ salt }] })
  })

  test('tries again for the id that it has begun with (each try left the death of one, for good: of many objects millions, while a node was away)', async () => {
    const { put, store, work, rowOf, read, left, setFailure } = await world()
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    setFailure(new Unavailable('a block reached 2 of the 3 holders it needs'))
    for (let i = 0; i < 5; i++) await work()
    const { pending, dropped } = await rowOf()
    expect([pending.length, dropped]).toEqual([1, []])
    setFailure(undefined)
    await work()
    await work()
    const row = await rowOf()
    expect(row.current?.stored?.salt).toEqual(pending[0]?.salt)
    expect([row.pending, row.dropped.length, left()]).toEqual([[], 1, 0])
    expect(await read()).toBe(large)
  })

  test('begins nothing where fewer nodes hold blocks than the code has shards, and says so once a try', async () => {
    const { put, store, work, rowOf, setPlaces, conversions, warnings } = await world()
    await Promise.all(['key', ...Array.from({ length: 9 }, (_, i) => `another ${i}`)].map(async (key) => put(key)))
    await store.setRedundancy('bucket', { shards: '4+2' })
    setPlaces(5)
    await work()
    expect(await rowOf()).toMatchObject({ pending: [], dropped: [] })
    expect(new Set(conversions.flatMap((one) => one.status().failure ?? []))).toEqual(new Set(['rs:4+2 takes 6 nodes that hold blocks, and there are 5']))
    expect(warnings.length).toBeLessThanOrEqual(conversions.length)
    setPlaces(6)
    await work()
    expect((await rowOf()).current?.stored).toMatchObject({ redundancy: { k: 4, m: 2 } })
  })

  test('waits for what cannot be written now, says why, and tries again', async () => {
    const { put, store, work, rowOf, read, conversions, time, ...of } = await world()
    await put('key')
    await store.setRedundancy('bucket', { shards: '2+1' })
    of.setFailure(new Unavailable('a block reached 2 of the 3 holders it needs'))
    await work()
    expect((await rowOf()).current?.stored).toBeUndefined()
    expect(conversions.map((one) => one.status().failure).filter(Boolean)).toEqual(['a block reached 2 of the 3 holders it needs'])
    expect(of.left()).toBe(1)
    expect(conversions.flatMap((one) => one.status().buckets)).toEqual(['bucket'])
    of.setFailure(undefined)
    time.nowMs += conversionLimits.retryMs
    for (const one of conversions) while (await one.step({ signal }) === 'busy');
    expect((await rowOf()).current?.stored).toMatchObject({ redundancy: { k: 2, m: 1 } })
    expect(await read()).toBe(large)
  })

  test.each([
    ['whose kept versions cannot be read now', 'versions'],
    ['in a partition of which this replica has lost its memory', 'partition'],
  ] as const)('is not told as done while there is an object %s (it was passed over, and all was told as converted)', async (_what, what) => {
    let isFailing = false
    const { put, store, rowOf, conversions, nodes, time, left } = await world({ versioning: 'enabled', wrap: (registers) => ({ ...registers, read: async (address, ...rest) => {
      if (isFailing && what === 'versions' && address.table === tables.versions) throw new Unavailable('no majority')
      return await registers.read(address, ...rest)
    } }) })
    await put('key', other)
    await put('key')
    for (const { store: rows } of nodes.nodes) {
      const before = rows.rows.bind(rows)
      rows.rows = (partition, ...rest) => {
        if (isFailing && what === 'partition') throw new PartitionLost(partition)
        return before(partition, ...rest)
      }
    }
    await store.setRedundancy('bucket', { shards: '2+1' })
    isFailing = true
    // what fails is tried again
    const work = async (): Promise<void> => { for (const one of conversions) while (await one.step({ signal }).catch(() => 'busy') === 'busy'); }
    await work()
    expect(conversions.some((one) => one.status().found?.isAtLeast === true)).toBe(true)
    expect(conversions.some((one) => one.status().failure !== undefined)).toBe(true)
    isFailing = false
    time.nowMs += conversionLimits.retryMs
    await work()
    time.nowMs += conversionLimits.retryMs
    await work()
    expect(keptOf(await rowOf())[0]?.stored).toMatchObject({ redundancy: { k: 2, m: 1 } })
    expect((await rowOf()).current?.stored).toMatchObject({ redundancy: { k: 2, m: 1 } })
    expect(left()).toBe(0)
    expect(conversions.some((one) => one.status().found?.isAtLeast === true)).toBe(false)
  })
})
