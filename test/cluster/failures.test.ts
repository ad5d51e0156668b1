import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { noiseBytes, pieces } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, type NodeObjects, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

const kills = Number(process.env.KILLS ?? 10)
const seed = Number(process.env.KILL_SEED ?? 11)
const random = seededRandom(seed)

const mib = 1024 ** 2
/** In the row, as small blocks, as one file, as several. */
const sizes = [1000, 6 * mib, 20_000, 0, 3 * mib + 1, 4097, 8 * mib, 200_000]
const sizeAt = (i: number): number => sizes[i % sizes.length] ?? 0
const [slowBytes, pieceBytes] = [7 * mib, 256 * 1024]
const writers = 3
const pause = async (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

interface Write { readonly key: string, readonly digest: string, readonly sizeBytes: number, sentBytes: number, isAcknowledged: boolean }

let real: RealCluster
beforeAll(async () => { real = await realCluster(3) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

let written = 0

/** `paceMs`: what a piece takes to come, so that there is a middle to be cut in. */
async function write (node: NodeObjects, { key, sizeBytes, paceMs = 0 }: { key: string, sizeBytes: number, paceMs?: number }, writes: Write[]): Promise<void> {
  const content = noiseBytes(sizeBytes, ++written)
  const made: Write = { key, digest: digestOfBytes(content), sizeBytes, sentBytes: 0, isAcknowledged: false }
  async function * source (): AsyncIterable<Uint8Array> {
    for await (const piece of pieces(content, pieceBytes)) {
      if (paceMs > 0) await pause(paceMs)
      yield piece
      made.sentBytes += piece.byteLength
    }
  }
  writes.push(made)
  await node.put(key, source(), { 'content-length': String(sizeBytes) })
  made.isAcknowledged = true
}

/** One after the other, until the node is killed; a put that fails before is a failure of the test. */
async function writeUntilKilled (node: NodeObjects, { name, sizeOf, paceMs, writes, isKilled }: { name: string, sizeOf: (i: number) => number, paceMs?: number, writes: Write[], isKilled: () => boolean }): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await write(node, { key: `${name}/${i}`, sizeBytes: sizeOf(i), paceMs }, writes)
    } catch (error) {
      if (isKilled()) return // what was not acknowledged may be there, or not
      throw error
    }
  }
}

/** Every name that is written over again and again, with what it may be: what was acknowledged last, or what was under way after that. */
const overwritten = 'kill/over'
async function overwriteUntilKilled (node: NodeObjects, { candidates, isKilled }: { candidates: Set<string>, isKilled: () => boolean }): Promise<void> {
  for (let i = 0; ; i++) {
    const content = noiseBytes(i % 2 === 0 ? 2000 : 300_000, ++written)
    candidates.add(digestOfBytes(content))
    try {
      await node.put(overwritten, content)
    } catch (error) {
      if (isKilled()) return
      throw error
    }
    candidates.clear()
    candidates.add(digestOfBytes(content))
  }
}

/** Undefined: there is no such object, which a majority said. */
const found = async (node: NodeObjects, key: string): Promise<string | undefined> =>
  node.digest(key).catch((error: unknown) => { if (statusOf(error) === 404) return undefined; throw new Error(`${key} is there and cannot be read`, { cause: error }) })

/** What was acknowledged is there and listed; what was cut off is whole or not there; nothing else is listed, and whatever is listed can be read. */
async function check (node: NodeObjects, prefix: string, writes: readonly Write[]): Promise<void> {
  const listed = new Set(await node.keys({ prefix }))
  const known = new Map(writes.map((made) => [made.key, made]))
  for (const key of listed) expect(known.has(key), `${key} is listed and was never put`).toBe(true)
  await eachOf(writes, 4, async ({ key, digest, isAcknowledged }) => {
    const is = await found(node, key)
    if (is === undefined) expect({ key, isAcknowledged, isListed: listed.has(key) }).toEqual({ key, isAcknowledged: false, isListed: false })
    else expect(is, key).toBe(digest)
    if (isAcknowledged) expect(listed.has(key), `${key} is listed`).toBe(true)
  })
}

const all: Write[] = []
let overwrites = new Set<string>()

describe('nodes that die', () => {
  test(`kill -9 of the node being written to at random moments (KILL_SEED=${seed}), ${kills} times: nothing acknowledged is lost, nothing partial is listed or read`, async () => {
    // as long as a few of these writes take here: the kills fall evenly into that time, whatever was acknowledged by then
    const rehearsal: Write[] = []
    const before = performance.now()
    const first = await real.via(0)
    await Promise.all(Array.from({ length: writers }, async (_, offset) => { for (let i = 0; i < 5; i++) await write(first, { key: `rehearsal/${offset}/${i}`, sizeBytes: sizeAt(i + offset * 3) }, rehearsal) }))
    const spanMs = performance.now() - before

    let cutInTheMiddle = 0
    for (let round = 0; round < kills; round++) {
      const victim = round % 3
      const [writes, node]: [Write[], NodeObjects] = [[], await real.via(victim)]
      let killed = false
      const isKilled = (): boolean => killed
      const writing = Promise.all([
        ...Array.from({ length: writers }, async (_, offset) => writeUntilKilled(node, { name: `kill/${round}/${offset}`, sizeOf: (i) => sizeAt(i + offset * 3 + round), writes, isKilled })),
        // one that takes as long as there is, so that it is under way whenever the kill comes
        writeUntilKilled(node, { name: `kill/${round}/slow`, sizeOf: () => slowBytes, paceMs: spanMs / (slowBytes / pieceBytes), writes, isKilled }),
        overwriteUntilKilled(node, { candidates: overwrites, isKilled }),
      ])
      writing.catch(() => {}) // told below, after the kill
      await pause(random.fraction() * spanMs)
      killed = true
      await real.node(victim).stop('SIGKILL')
      await writing
      if (writes.some(({ sizeBytes, sentBytes }) => sentBytes >= mib && sentBytes <= sizeBytes - mib)) cutInTheMiddle++
      const survivor = await real.via((victim + 1 + round % 2) % 3)
      // before it is back, and while it comes back
      await Promise.all([check(survivor, `kill/${round}/`, writes), real.node(victim).start()])
      const over = await found(survivor, overwritten)
      if (overwrites.size > 0) expect([...overwrites, ...(round === 0 ? [undefined] : [])]).toContain(over)
      if (over !== undefined) overwrites = new Set([over])
      all.push(...writes)
      await real.cluster.connected()
    }
    expect(all.filter(({ isAcknowledged }) => isAcknowledged).length).toBeGreaterThan(kills)
    expect(cutInTheMiddle).toBeGreaterThan(kills / 3)
  }, 60_000 + kills * 30_000)

  test('all killed at once, and started again with their old folders: everything is there with its name, through every node (a restart made all of the ancestor unreadable)', async () => {
    await real.cluster.stop('SIGKILL')
    await Promise.all([0, 1, 2].map(async (i) => real.node(i).start()))
    await real.cluster.connected()
    const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
    // each object through the node that was killed while it was written, its name through all
    for (const [i, node] of nodes.entries()) {
      const own = all.filter(({ key }) => Number(key.split('/')[1]) % 3 === i)
      const listed = new Set(await node.keys({ prefix: 'kill/' }))
      for (const { key, isAcknowledged } of all) if (isAcknowledged) expect(listed.has(key), key).toBe(true)
      await eachOf(own, 4, async ({ key, digest, isAcknowledged }) => { expect(isAcknowledged ? [digest] : [digest, undefined], key).toContain(await found(node, key)) })
      expect(overwrites).toContain(await found(node, overwritten))
    }
  }, 300_000)

  test('a bucket that wants every copy is told of the one that cannot be stored, and stores nothing; otherwise two are enough', async () => {
    const content = noiseBytes(300_000, ++written)
    const node = await real.via(0)
    const set = async (ack: 'all' | null): Promise<void> => { await node.client.json('PATCH', `/v1/buckets/${bucketName}`, { body: { ack } }) }
    await set('all')
    await real.node(2).stop('SIGKILL')
    await expect(node.put('ack/all', content)).rejects.toThrow(/reached 2 of the 3 holders/)
    expect(await found(node, 'ack/all')).toBeUndefined()
    await set(null)
    await node.put('ack/quorum', content)
    await set('all')
    await real.node(2).start()
    await real.cluster.connected()
    const other = noiseBytes(300_000, ++written)
    await node.put('ack/all', other)
    expect(await found(await real.via(2), 'ack/all')).toBe(digestOfBytes(other))
  }, 120_000)
})
