import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalCluster, LocalNode, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { ScrubFound } from '../../src/node/health/reports.ts'
import type { CollectReport, RepairReport, ScrubReport } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { anyPorts } from '../support/member.ts'
import { digestOfBytes, filesIn, type NodeObjects, objectsOf } from '../support/real-cluster.ts'
import { foundInMemory, foundOnDisk, type Needles, secretsOf } from '../support/secrets-in-memory.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

// one member, and two storage nodes, of which the first does all the work that is looked at here
const [copied, coded, name] = ['medlar-cellar-bucket', 'quince-shards-bucket', 'preserves/rowan-jelly-of-1927']
const mib = 1024 * 1024
const shardName = /\.2\.1\.[012]\.[0-9a-f]{32}$/
let folder: TemporaryFolder
let cluster: LocalCluster
let member: LocalNode
let worker: LocalNode
let other: LocalNode
let needles: Needles
let buckets: { readonly copied: NodeObjects, readonly coded: NodeObjects }
const expected = new Map<string, string>()

const largeAt = async (node: LocalNode): Promise<string[]> => filesIn(join(node.data, 'blocks', 'large'))
const repairOf = async (node: LocalNode, action: 'status' | 'now' | 'pause' | 'resume'): Promise<RepairReport> => (await node.json<RepairReport>(['repair', action]))[0] as RepairReport
/** What was short when everything was last looked at is told until it is looked at again. */
const settledRepair = async (node: LocalNode): Promise<void> => until('repair finds everything whole', 90_000, async () => {
  const { phase, found } = await repairOf(node, 'status')
  if (phase === 'waiting' && found?.shortBlocks !== 0) await repairOf(node, 'now')
  return phase === 'waiting' && found?.shortBlocks === 0
})

/** What a pass finds that begins now. */
async function scrubOf (node: LocalNode): Promise<ScrubFound | undefined> {
  const status = async (): Promise<ScrubReport> => (await node.json<ScrubReport>(['scrub', 'status']))[0] as ScrubReport
  await until('no pass is under way', 60_000, async () => (await status()).phase === 'waiting')
  const before = (await status()).last?.finishedMs
  await node.json(['scrub', 'now'])
  await until('a scrub has read everything', 60_000, async () => (await status()).last?.finishedMs !== before)
  return (await status()).last?.found
}

async function storage (place: string): Promise<LocalNode> {
  const [invite] = await member.json<{ token: string }>(['invite', '--role', 'storage'])
  const node = new LocalNode(join(folder.path, place), [...anyPorts, '--collect-after', '1s'])
  cluster.nodes.push(node)
  await node.start(['join', invite?.token ?? '', '--start', '--no-passphrase'])
  return node
}

beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(folder.path, { options: () => ['--collect-after', '1s'] })
  member = await cluster.found()
  worker = await storage('worker')
  other = await storage('other')
  await cluster.connected()
  const client = await connectLocal(member.data)
  await client.json('PUT', `/v1/buckets/${copied}`, { body: { copies: 3, chunking: 'fixed' } })
  await client.json('PUT', `/v1/buckets/${coded}`, { body: { shards: '2+1', chunking: 'fixed' } })
  buckets = { copied: objectsOf(client, copied), coded: objectsOf(client, coded) }
  needles = await secretsOf(member.data, { bucket: copied, object: name })
  for (const [i, kind] of (['copied', 'copied', 'coded', 'coded'] as const).entries()) {
    const content = noiseBytes(6 * mib, i + 1)
    await buckets[kind].put(`${name}-${i}`, content)
    expected.set(`${kind} ${name}-${i}`, digestOfBytes(content))
  }
  // who was late has its piece from a substitute, or not yet: repair sees to both
  await until('everybody has a copy of each block, or its shard', 90_000, async () => {
    for (const node of [member, worker, other]) if ((await repairOf(node, 'status')).phase === 'waiting') await repairOf(node, 'now')
    const names = await Promise.all([member, worker, other].map(largeAt))
    return names.every((of) => of.filter((path) => shardName.test(path)).length === 12 && of.length === 24)
  })
}, 180_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

/** Looks through memory and disk of a node again and again, until it is disposed. */
class Watch implements AsyncDisposable {
  readonly leaked = new Set<string>()
  scans = 0
  #isOver = false
  readonly #running: Promise<void>

  constructor (node: LocalNode) { this.#running = this.#run(node) }

  /** When a scan that begins after this call has ended: what the work left in memory has been looked through. */
  async lookedAfter (): Promise<void> {
    const enough = this.scans + 2
    await until('memory is looked through', 60_000, () => this.scans >= enough)
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    this.#isOver = true
    await this.#running
  }

  async #run (node: LocalNode): Promise<void> {
    while (!this.#isOver) {
      for (const found of await Promise.all([foundInMemory(node.pid ?? 0, needles), foundOnDisk(node.data, needles)])) for (const what of found) this.leaked.add(what)
      this.scans++
      // the node is to work meanwhile
      await new Promise((resolve) => { setTimeout(resolve, 300) })
    }
  }
}

describe('a storage node that is looked through while it works', () => {
  test('finds rot, mends, makes shards anew and gives space back, and never has a key or a name', async ({ task }) => {
    const large = await largeAt(worker)
    const [whole, shards] = [large.filter((path) => !shardName.test(path)), large.filter((path) => shardName.test(path))]
    expect([whole.length > 4, shards.length > 4]).toEqual([true, true])
    // what a new node looks at by itself is over
    expect(await scrubOf(worker)).toMatchObject({ wrongPieces: 0 })
    await using watch = new Watch(worker)
    const done: Record<string, number> = {}

    // verify: one copy and one shard have rotted, and nobody reads them
    for (const path of [whole[0], shards[0]] as string[]) {
      const file = join(worker.data, 'blocks', 'large', path)
      const bytes = await readFile(file)
      await writeFile(file, bytes.with(bytes.byteLength >> 1, (bytes[bytes.byteLength >> 1] ?? 0) ^ 1))
    }
    const scrubbed = await scrubOf(worker)
    expect(scrubbed).toMatchObject({ wrongPieces: 2 })
    done.scrubbedPieces = scrubbed?.pieces ?? 0
    expect(await filesIn(join(worker.data, 'blocks', 'corrupt'))).toHaveLength(2)
    await until('what has rotted is there again', 60_000, async () => (await largeAt(worker)).join() === large.join())
    done.fetchedBlocks = (await repairOf(worker, 'status')).total.fetchedBlocks
    await watch.lookedAfter()

    // repair and rebuild: the other storage node has lost everything, and only this one does anything about it
    await Promise.all([member, worker].map(settledRepair))
    await repairOf(member, 'pause')
    const before = (await repairOf(worker, 'status')).total.broughtBlocks
    await other.stop('SIGKILL')
    await rm(join(other.data, 'blocks'), { recursive: true })
    await other.start()
    await cluster.connected()
    await repairOf(worker, 'now')
    await until('it has brought copies and shards', 60_000, async () => {
      const back = await largeAt(other)
      return back.some((path) => shardName.test(path)) && back.some((path) => !shardName.test(path))
    })
    const rebuilt = (await largeAt(other)).filter((path) => shardName.test(path))
    // nobody had these: position i has shard i, so it was made from the two that are left
    for (const path of rebuilt) expect(large).not.toContain(path)
    done.rebuiltShards = rebuilt.length
    done.broughtBlocks = (await repairOf(worker, 'status')).total.broughtBlocks - before
    expect(done.broughtBlocks).toBeGreaterThanOrEqual(rebuilt.length)
    await watch.lookedAfter()
    await repairOf(member, 'resume')
    await until('the other has everything again', 90_000, async () => {
      for (const node of [member, worker]) if ((await repairOf(node, 'status')).phase === 'waiting') await repairOf(node, 'now')
      return (await largeAt(other)).length === large.length
    })

    // collect
    expect([await buckets.copied.remove(`${name}-0`), await buckets.coded.remove(`${name}-2`)]).toEqual([true, true])
    await until('its space is back', 60_000, async () => (await largeAt(worker)).length <= large.length / 2 + 1)
    done.collectedBlocks = (await worker.json<CollectReport>(['collect', 'status']))[0]?.total.collectedBlocks ?? 0
    await watch.lookedAfter()

    for (const [what, count] of Object.entries(done)) expect(count, what).toBeGreaterThan(0)
    expect([...watch.leaked]).toEqual([])
    tried(task, { what: 'scans of memory and disk of a storage node that scrubs, repairs, makes shards anew and collects', times: watch.scans, lost: watch.leaked.size })
    expect(watch.scans).toBeGreaterThanOrEqual(8)
    const atMember = await foundInMemory(member.pid ?? 0, needles)
    for (const secret of ['S', 'N', 'key of names', 'key of votes', 'name of the bucket', 'name of the object']) expect(atMember, secret).toContain(secret)
    for (const [key, digest] of expected) {
      const [kind, path] = key.split(' ') as ['copied' | 'coded', string]
      if (!/-[02]$/.test(path)) expect(await buckets[kind].digest(path)).toBe(digest)
    }
  }, 300_000)
})
