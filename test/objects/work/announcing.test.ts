import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, textOf, utf8 } from '../../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../../src/base/cid.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { Announcing, announcingLimits, type ContentCodec, objectStore } from '../../../src/objects/index.ts'
import { decodeObjectRow } from '../../../src/objects/object-row.ts'
import { type Registers, tables } from '../../../src/tables/index.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { objectWorld } from '../../support/object-parts.ts'
import { tableNodes } from '../../support/table-nodes.ts'
import { plainCodec } from '../../support/table-plain-codec.ts'

const { signal } = new AbortController()
async function * bytesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }

/** One block for each object, which is its name; but for what is short. */
const content: Pick<ContentCodec, 'write' | 'namesOf'> = {
  async write (source, { put }) {
    let text = ''
    for await (const piece of source) text += Buffer.from(piece).toString()
    const block = utf8(text)
    const hasBlocks = block.byteLength > 4
    if (hasBlocks) await put(cidOf(block), block, { mayBeSpread: false })
    return { sizeBytes: block.byteLength, content: hasBlocks ? utf8(cidOf(block)) : block, hasBlocks, root: undefined, chunks: [] }
  },
  namesOf: (encoded) => ({ root: textOf(encoded) as Cid, chunks: [] }),
}

/** Three members that share the rows. What each says is noted, by node; nobody remembers what was said before a start. */
async function world () {
  const nodes = tableNodes(3, { votersAmong: (all, partition) => all.map((_, i) => all[(i + partition) % 3] as PeerId) })
  const [time, objects] = [new VirtualTime(), objectWorld()]
  const store = objectStore({ ...objects.parts, content: { ...objects.parts.content, ...content }, registers: nodes.nodes[0]?.registers as Registers })
  await store.createBucket('bucket')
  const bucketId = fromHex((await store.bucket('bucket')).id)
  const said = { announced: [] as Array<{ by: number, version: string }>, provided: [] as Array<{ by: number, root: Cid }> }
  const held = new Set<string>()
  const warnings: string[] = []
  const failing = new Set<Cid>()
  const started = (by: number, { maxAPass, seed = by }: { maxAPass?: number, seed?: number } = {}): Announcing => {
    const { self, store: rows } = nodes.nodes[by] as (typeof nodes.nodes)[number]
    return new Announcing({
      self, store: rows, codec: plainCodec, voters: nodes.voters, isMember: () => true, content, clock: time.clock(), random: seededRandom(seed), warn: (message) => { warnings.push(message) },
      reachable: () => new Set(nodes.nodes.map((node) => node.self).filter((peer) => peer !== self && !nodes.dead.has(peer))),
      ...maxAPass === undefined ? {} : { maxAPass },
      isHeld: async (cid) => held.has(`${by} ${cid}`),
      announce: ({ versionId }) => { said.announced.push({ by, version: hexOf(versionId) }) },
      provide: async (root) => {
        if (failing.has(root)) throw new Error('nobody to tell')
        said.provided.push({ by, root })
      },
    })
  }
  return {
    nodes, time, said, held, warnings, failing, started,
    put: async (key: string, text = `content of ${key}`): Promise<{ root: Cid, version: string }> => {
      const { versionId } = await store.put({ bucket: 'bucket', key }, bytesOf(text))
      return { root: cidOf(utf8(text)), version: versionId }
    },
    remove: async (key: string) => store.remove({ bucket: 'bucket', key }),
    rowOf: async (key: string) => decodeObjectRow(await nodes.nodes[0]?.registers.read({ table: tables.objects, scope: bucketId, key: utf8(key) }) as Uint8Array),
  }
}

/** Steps until there is nothing to do. */
async function run (announcing: Announcing): Promise<void> { while (await announcing.step({ signal }) === 'busy'); }

/** As after a start: the others answer for long enough. */
async function settled (announcing: Announcing, time: VirtualTime): Promise<void> {
  await run(announcing)
  time.nowMs += announcingLimits.settleMs
  await run(announcing)
}

describe('what is stored is said again', () => {
  test('by whoever starts: each object by one of those that have its row, each root by everybody on whose disk it lies', async () => {
    const { put, remove, held, said, started, time } = await world()
    const put1 = await Promise.all(Array.from({ length: 20 }, async (_, i) => put(`key ${i}`)))
    await put('inline', 'abc')
    await put('gone')
    await remove('gone')
    for (const { root } of put1) for (const by of [0, 1]) held.add(`${by} ${root}`)
    const all = [0, 1, 2].map((by) => started(by))
    for (const one of all) await settled(one, time)
    expect(said.announced.map(({ version }) => version).toSorted()).toEqual(put1.map(({ version }) => version).toSorted())
    expect(new Set(said.announced.map(({ by }) => by)).size).toBe(3)
    for (const by of [0, 1, 2]) expect(said.provided.filter((one) => one.by === by).map(({ root }) => root).toSorted()).toEqual(by === 2 ? [] : put1.map(({ root }) => root).toSorted())
    // each once, wherever the pass began
    expect(all.map((one) => one.status().total.providedRoots)).toEqual([20, 20, 0])

    // started anew it knows nothing of what it said, and neither do those who have been started anew
    said.provided.length = 0
    await settled(started(1), time)
    expect(said.provided.map(({ root }) => root).toSorted()).toEqual(put1.map(({ root }) => root).toSorted())
  })

  test('only when somebody has answered for a while, then twice a day, and when it is asked for', async () => {
    const { put, held, said, started, time, nodes } = await world()
    const { root } = await put('key')
    held.add(`0 ${root}`)
    const others = nodes.nodes.slice(1).map(({ self }) => self)
    for (const peer of others) nodes.dead.add(peer)
    const announcing = started(0)
    await settled(announcing, time)
    expect(said.provided).toEqual([])
    nodes.dead.clear()
    await run(announcing)
    expect(said.provided).toEqual([])
    time.nowMs += announcingLimits.settleMs
    await run(announcing)
    expect(said.provided).toHaveLength(1)
    time.nowMs += announcingLimits.everyMs - 1
    await run(announcing)
    expect(said.provided).toHaveLength(1)
    time.nowMs += 1
    await run(announcing)
    expect(said.provided).toHaveLength(2)
    announcing.now()
    await run(announcing)
    expect(said.provided).toHaveLength(3)
  })

  test('for those that are gone by whoever answers next, and tells how far it is', async () => {
    const { put, said, started, time, nodes } = await world()
    const all = await Promise.all(Array.from({ length: 12 }, async (_, i) => put(`key ${i}`)))
    nodes.dead.add(nodes.nodes[1]?.self as never)
    nodes.dead.add(nodes.nodes[2]?.self as never)
    const announcing = started(0)
    nodes.dead.delete(nodes.nodes[2]?.self as never)
    // the second is away, and the third too when it comes to saying
    time.nowMs += announcingLimits.settleMs
    expect(announcing.status()).toMatchObject({ phase: 'waiting', doneShare: 1 })
    await settled(announcing, time)
    const withTwo = said.announced.length
    expect(withTwo).toBeGreaterThan(0)
    expect(withTwo).toBeLessThan(all.length)
    announcing.now()
    const shares: number[] = []
    while (await announcing.step({ signal }) === 'busy') shares.push(announcing.status().doneShare)
    expect(shares.slice(0, -1)).toEqual(shares.slice(0, -1).toSorted((a, b) => a - b))
    expect(shares.some((share) => share > 0.2 && share < 1)).toBe(true)
    expect(announcing.status().phase).toBe('waiting')
  })

  test('all but what could not be said, which is counted, and holds up nothing', async () => {
    const { put, held, said, started, time, failing, warnings } = await world()
    const all = await Promise.all(Array.from({ length: 5 }, async (_, i) => put(`key ${i}`)))
    for (const { root } of all) held.add(`0 ${root}`)
    failing.add(all[2]?.root as Cid)
    const announcing = started(0)
    await settled(announcing, time)
    expect(said.provided).toHaveLength(4)
    expect(announcing.status().total).toMatchObject({ providedRoots: 4, failures: 1 })
    expect(warnings).toEqual(['a root could not be provided'])
  })

  test('once in a pass, wherever that begins', async () => {
    const { put, held, said, started, time } = await world()
    const all = await Promise.all(Array.from({ length: 60 }, async (_, i) => put(`key ${i}`)))
    for (const { root } of all) held.add(`0 ${root}`)
    for (let seed = 0; seed < 12; seed++) {
      said.provided.length = 0
      await settled(started(0, { seed }), time)
      expect(said.provided.map(({ root }) => root).toSorted(), `seed ${seed}`).toEqual(all.map(({ root }) => root).toSorted())
    }
  })

  test('and no more of it in one pass than was given to it; the next begins elsewhere', async () => {
    const { put, held, said, started, time } = await world()
    const all = await Promise.all(Array.from({ length: 60 }, async (_, i) => put(`key ${i}`)))
    for (const { root } of all) held.add(`0 ${root}`)
    const announcing = started(0, { maxAPass: 20 })
    await settled(announcing, time)
    expect(said.provided).toHaveLength(20)
    for (let pass = 0; pass < 30; pass++) { announcing.now(); await run(announcing) }
    expect(new Set(said.provided.map(({ root }) => root)).size).toBe(60)
  })
})
