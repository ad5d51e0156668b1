import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { hexOf } from '../../src/base/bytes.ts'
import { streamingHash } from '../../src/base/hash.ts'
import { ClientError, connect } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, filesIn, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'
import { tried } from '../support/tried.ts'

/**
 * Eight real processes and a bucket of 4+2 shards, of which nothing is cached. Before each kill everything is whole, which is what two deaths are survived from: whichever two are killed, every object
 * is read through another, and what is put meanwhile too. Of three some is not, and it is said what is missing. PAIRS: how many of the 28 pairs, from PAIRS_FROM on; REPAIR_MIB: what is put before one is dead for good.
 */
const nodes = 8
const all = Array.from({ length: nodes }, (_, i) => i)
const pairs = all.flatMap((a) => all.slice(a + 1).map((b) => [a, b] as const)).slice(Number(process.env.PAIRS_FROM ?? 0)).slice(0, Number(process.env.PAIRS ?? 28))
/** Several: of one it may be that every row has its voters, or that the row of the bucket itself has not. */
const triples = [[0, 1, 2], [3, 4, 5], [1, 6, 7], [2, 4, 7]] as const
const mib = 1024 ** 2
const repairMib = Number(process.env.REPAIR_MIB ?? 128)
const sizes = [100, 200_000, 300_000, 2 * mib, 4 * mib]
const objects = 20
const [wholeMs, longestReadMs] = [240_000 + repairMib * 150, 20_000]
/** Everything is waited for twice at most, once by whoever counts and once by whoever tells. */
const longestMs = 2 * wholeMs + 120_000 + (objects + pairs.length) * longestReadMs / 4

let real: RealCluster
const expected = new Map<string, string>()
const of = { readWithTwoDead: 0, lost: [] as string[], readWithThreeDead: 0, withoutShards: 0, withoutVoters: 0 }

/** As users put: what may have happened, or found no majority in time, is put again. */
async function put (index: number, key: string, content: Uint8Array, attempts = 5): Promise<void> {
  const via = await real.via(index)
  try {
    await via.put(key, content)
  } catch (error) {
    if (attempts === 1 || ![503, 504].includes(statusOf(error))) throw error
    await put(index, key, content, attempts - 1)
    return
  } finally { via.client.close() }
  expected.set(key, digestOfBytes(content))
}

async function status (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  return client.json<NodeStatus>('GET', '/v1/status').finally(() => { client.close() })
}

/** Every block's copies and shards are counted at those who should hold them. */
async function whole (): Promise<void> {
  let said = ''
  await until('everything is whole', wholeMs, async () => {
    const { code, stdout, stderr } = await real.node(0).run(['verify'], { timeoutMs: wholeMs })
    said = stdout + stderr
    // whoever reads without a pause is a user, whom repair makes way for
    if (code !== 0) await new Promise((resolve) => { setTimeout(resolve, 3000) })
    return code === 0
  }).catch((cause: unknown) => { throw new Error(`not everything became whole: ${said}`, { cause }) })
  expect(said).toContain(`${expected.size} objects`)
}

/** And every node has looked at what it holds and told: nothing is at risk. */
async function nothingAtRisk (count: number): Promise<void> {
  await until(`${count} nodes have told that nothing is at risk`, wholeMs, async () => {
    const { layout, atRisk: { objects: risky, isAtLeast, silent }, isDegraded } = await status(0)
    return layout.state === 'settled' && layout.members === count && risky === 0 && !isAtLeast && silent.length === 0 && !isDegraded
  })
}

/** What is not read as it was put through that node, and why. */
async function notRead (index: number, digestAt = digestAgain): Promise<Map<string, unknown>> {
  const failed = new Map<string, unknown>()
  await eachOf(expected, 4, async ([key, digest]) => {
    try {
      if (await digestAt(index, key) !== digest) failed.set(key, 'other bytes than were put')
    } catch (error) { failed.set(key, error) }
  })
  return failed
}

async function digestAgain (index: number, key: string, attempts = 5): Promise<string> {
  const via = await real.via(index)
  try {
    return await via.digest(key)
  } catch (error) {
    // a majority, or enough holders, did not answer in time
    if (attempts === 1 || ![503, 504].includes(statusOf(error))) throw error
    return await digestAgain(index, key, attempts - 1)
  } finally { via.client.close() }
}

/** As users read: a body that breaks off is asked for once more, and then there is an error that says why. */
async function digestOrWhy (index: number, key: string): Promise<string> {
  using client = await connect({ data: real.node(index).data })
  const { body } = await client.get({ bucket: bucketName, key }, { signal: AbortSignal.timeout(longestReadMs) })
  const digest = streamingHash()
  for await (const piece of body) digest.update(piece)
  return hexOf(digest.digest())
}

/** Where it begins. What a put leaves short is otherwise brought when whoever is to bring it sweeps next, within ten minutes. */
async function fullRedundancy (): Promise<void> {
  for (const i of all) expect((await real.node(i).run(['repair', 'now'])).code).toBe(0)
  await whole()
  await nothingAtRisk(nodes)
}

const kill = async (some: readonly number[]): Promise<void> => { await Promise.all(some.map(async (i) => real.node(i).stop('SIGKILL'))) }
async function restart (some: readonly number[]): Promise<void> {
  await Promise.all(some.map(async (i) => real.node(i).start()))
  await real.cluster.connected({ timeoutMs: 60_000 })
}

beforeAll(async () => {
  real = await realCluster(nodes, { shards: '4+2', options: () => ['--cache', '0'] })
  await eachOf(Array.from({ length: objects }, (_, i) => i), 2, async (i) => put(i % nodes, `object/${i}`, noiseBytes(sizes[i % sizes.length] ?? 0, i + 1)))
  await fullRedundancy()
}, longestMs)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

test.each(pairs)('with nodes %i and %i dead every object is read', async (a, b) => {
  await whole()
  await kill([a, b])
  const [reader = 0, ...others] = all.filter((i) => i !== a && i !== b)
  await put(others.at(-1) ?? 0, `meanwhile/${a}-${b}`, noiseBytes(700_000, 1000 + a * nodes + b))
  const failed = await notRead(reader)
  of.readWithTwoDead += expected.size - failed.size
  of.lost.push(...failed.keys())
  await restart([a, b])
  expect(failed).toEqual(new Map())
}, longestMs)

test.each(triples)('with nodes %i, %i and %i dead what is not read says within seconds what is missing, and once they are back everything is read', async (...dead) => {
  await whole()
  await kill(dead)
  const alive = all.filter((i) => !dead.includes(i as never))
  const [reader = 0] = alive
  await until('they are missed', 20_000, async () => (await status(reader)).members.filter(({ isConnected }) => isConnected).length === alive.length)
  const failed = await notRead(reader, digestOrWhy)
  const files = (await Promise.all(alive.map(async (i) => filesIn(join(real.node(i).data, 'blocks', 'large'))))).flat()
  of.readWithThreeDead += expected.size - failed.size
  for (const [key, error] of failed) {
    if (!(error instanceof ClientError)) throw new Error(`${key}: ${String(error)}`, { cause: error })
    expect([error.status, error.code], key).toEqual([503, 'unavailable'])
    const [, cid, readable, missing] = /^block (\w+) needs 4 of its 6 shards and ([0-3]) could be read; missing: (\d(?:, \d)*)/.exec(error.message) ?? []
    if (cid === undefined) {
      expect(error.message, key).toMatch(/^no majority of the row's replicas: [0-2] of 5 voters can be reached|^block \w+ (is on none of the|could not be read)/)
      if (error.message.startsWith('no majority')) of.withoutVoters++
      continue
    }
    // those that live have no more of it on their disks
    const onDisks = new Set(files.flatMap((path) => new RegExp(`${cid}\\.4\\.2\\.(\\d)\\.`).exec(path)?.[1] ?? []))
    expect(onDisks.size, `${key}: ${error.message}`).toBeLessThanOrEqual(Number(readable))
    expect(missing?.split(', '), error.message).toHaveLength(6 - Number(readable))
    of.withoutShards++
  }
  await restart(dead)
  expect(await notRead(reader)).toEqual(new Map())
}, longestMs)

test('full redundancy is there again, and as much was read as proves something', async ({ task }) => {
  tried(task, { what: `two of ${nodes} nodes dead, ${pairs.length} pairs: objects at 4+2 read`, times: of.readWithTwoDead, acknowledged: expected.size, lost: of.lost.length })
  tried(task, { what: `three of ${nodes} dead: objects read`, times: of.readWithThreeDead, lost: 0 })
  tried(task, { what: 'and said what is missing: shards', times: of.withoutShards, lost: 0 })
  tried(task, { what: 'and said what is missing: voters', times: of.withoutVoters, lost: 0 })
  await whole()
  await nothingAtRisk(nodes)
  expect(expected.size).toBe(objects + pairs.length)
  expect(of.readWithTwoDead).toBeGreaterThanOrEqual(pairs.length * objects)
  expect(Math.min(of.readWithThreeDead, of.withoutShards)).toBeGreaterThan(0)
}, longestMs)

test(`one that is dead for good, its folder gone, is missed, and when it has been removed the others have again what it held, of ${repairMib} MiB`, async ({ task }) => {
  await eachOf(Array.from({ length: repairMib / 16 }, (_, i) => i), 3, async (i) => put(i % nodes, `more/${i}`, noiseBytes(16 * mib, 5000 + i)))
  await fullRedundancy()
  const victim = real.node(nodes - 1)
  const { blocks: { bytes }, peerId, repair: found } = await status(nodes - 1)
  // what it had for others while they were dead, and has not given up yet, stands where it belongs already; and so may, of what is small, a copy that a substitute took, and that it had too
  const misplaced = found?.found?.misplacedBytes ?? 0
  // a process that dies closes its connections, which is noticed at once; one that hangs, or whose cable is pulled, does not
  victim.freeze()
  const detection = await secondsOf(async () => until('it is missed', 120_000, async () => (await status(0)).isDegraded))
  await victim.stop('SIGKILL')
  await rm(victim.data, { recursive: true })
  const [before, startMs] = [await moved(), performance.now()]
  expect((await real.node(0).run(['node', 'remove', peerId])).code).toBe(0)
  const settled = await secondsOf(async () => until('the layout is without it', wholeMs, async () => { const { layout } = await status(0); return layout.state === 'settled' && layout.members === nodes - 1 }))
  await nothingAtRisk(nodes - 1)
  const [repair, made] = [(performance.now() - startMs) / 1000, await moved() - before]
  await whole()
  const failed = await notRead(1)
  const tenGib = settled + (repair - settled) * 10 * 1024 * mib / bytes
  tried(task, { what: `one of eight hangs: missed in ${detection.toFixed(1)} s`, times: 1, acknowledged: repairMib / 16, lost: failed.size })
  tried(task, { what: `layout without it in ${settled.toFixed(0)} s, its ${(bytes / mib).toFixed(0)} MiB there again in ${repair.toFixed(0)} s`, times: 1, lost: failed.size })
  // of little, most of the time is waiting for the next look
  if (bytes >= 256 * mib) tried(task, { what: `at that rate 10 GiB in ${(tenGib / 60).toFixed(0)} min`, times: 1, lost: 0 })
  expect(bytes).toBeGreaterThan(repairMib * mib * 1.5 / nodes / 2)
  expect(made).toBeGreaterThan(0.99 * (bytes - misplaced))
  expect(failed).toEqual(new Map())
}, 3 * longestMs)

/** Bytes that repair brought to somebody, of all that run. */
async function moved (): Promise<number> {
  const each = await Promise.all(all.filter((i) => real.node(i).isRunning).map(status))
  return each.reduce((sum, { repair }) => sum + (repair?.total.movedBytes ?? 0), 0)
}

async function secondsOf (act: () => Promise<void>): Promise<number> {
  const startMs = performance.now()
  await act()
  return (performance.now() - startMs) / 1000
}
