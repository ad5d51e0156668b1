import { expect, test } from 'vitest'
import { LocalCluster } from '../../scripts/local-cluster.ts'
import { seededRandom } from '../../src/base/random.ts'
import { ClientError, connectLocal } from '../../src/client/index.ts'
import { type Invocation, isLinearizable } from '../simulation/linearizable.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, type NodeObjects, objectsOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/**
 * Four clients put, overwrite, delete, get and list a few keys through whichever node there is, while nodes are killed. What each was told has to fit one order
 * of all that happened, key by key. Every content has a length of its own, so that a listing tells which one it saw.
 */
const kills = Number(process.env.KILLS ?? 200)
const seed = Number(process.env.KILL_SEED ?? 3)
const random = seededRandom(seed)
const [nodes, clients, keysAtOnce] = [3, 4, 6]
/** New keys after so many kills: an operation that nobody knows the outcome of may take effect ever after, and all of them have to be thought through. */
const killsPerEpoch = 5
const leastPerKill = 5
/** All kills have to fit into this: a cluster that takes longer to be back is none that was proved under kills. */
const longestMsPerKill = 12_000

const absent = 'absent'
const pick = <T>(all: readonly T[]): T => all[Math.floor(random.fraction() * all.length)] as T

/** What clients did and were told, by key. */
class Histories {
  readonly byKey = new Map<string, Array<Invocation<string>>>()
  acknowledged = 0
  readonly wrong: string[] = []
  #sizes = 0
  readonly #digests = new Map<number, string>()

  content (): Uint8Array {
    this.#sizes++
    const content = noiseBytes(pick([100, 20_000, 300_000]) + this.#sizes, this.#sizes)
    this.#digests.set(content.byteLength, digestOfBytes(content))
    return content
  }

  add (key: string, { endMs = performance.now(), ...operation }: Omit<Invocation<string>, 'endMs'> & { endMs?: number }): void {
    const history = this.byKey.get(key) ?? []
    history.push({ ...operation, endMs })
    this.byKey.set(key, history)
  }

  saw (key: string, startMs: number, seen: string, how: string): void {
    this.add(key, { what: `${how} ${seen}`, startMs, isRead: true, apply: (state) => state === seen ? { state } : 'impossible' })
  }

  /** A content that nobody ever put, or part of one. */
  check (key: string, content: Uint8Array): void {
    if (this.#digests.get(content.byteLength) !== digestOfBytes(content)) this.wrong.push(`${key}: ${content.byteLength} bytes that nobody put`)
  }
}

const isMissing = (error: unknown): boolean => error instanceof ClientError && error.status === 404

async function act (node: NodeObjects, key: string, epochKeys: readonly string[], of: Histories): Promise<void> {
  const startMs = performance.now()
  const kind = pick(['put', 'put', 'get', 'get', 'delete', 'list'] as const)
  switch (kind) {
    case 'put': {
      const content = of.content()
      const value = String(content.byteLength)
      const put = { what: `put ${value}`, startMs, apply: () => ({ state: value }) }
      try { await node.put(key, content) } catch (error) { of.add(key, { ...put, endMs: Infinity }); throw error }
      of.add(key, put)
      of.acknowledged++
      return
    }
    case 'delete': {
      const removal = { what: 'delete', startMs, apply: () => ({ state: absent }) }
      let removed: boolean
      try { removed = await node.remove(key) } catch (error) { of.add(key, { ...removal, endMs: Infinity }); throw error }
      of.add(key, { ...removal, apply: (state) => (state !== absent) === removed ? { state: absent } : 'impossible' })
      of.acknowledged++
      return
    }
    case 'get': {
      const content = await node.get(key).catch((error: unknown) => { if (isMissing(error)) return undefined; throw error })
      if (content !== undefined) of.check(key, content)
      of.saw(key, startMs, content === undefined ? absent : String(content.byteLength), 'get')
      return
    }
    case 'list': {
      const page = await node.client.json<{ objects: ReadonlyArray<{ key: string, sizeBytes: number }> }>('GET', `/v1/objects/${bucketName}?prefix=${encodeURIComponent(`${key.split('/')[0]}/`)}`)
      const listed = new Map(page.objects.map((object) => [object.key, String(object.sizeBytes)]))
      for (const one of epochKeys) of.saw(one, startMs, listed.get(one) ?? absent, 'list')
      return
    }
    default: kind satisfies never
  }
}

test(`kill -9 of any node, ${kills} times (KILL_SEED=${seed}), while four clients put, overwrite, delete, get and list: what they were told fits one order of events`, async ({ task }) => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path)
  await cluster.grow(nodes)
  const first = await connectLocal(cluster.node(0).data)
  await first.json('PUT', `/v1/buckets/${bucketName}`, { body: {} })
  first.close()
  const of = new Histories()
  let [epoch, isOver] = [0, false]
  const epochKeys = (): string[] => Array.from({ length: keysAtOnce }, (_, i) => `${epoch}/${i}`)
  const running = Promise.all(Array.from({ length: clients }, async () => {
    let node: NodeObjects | undefined
    while (!isOver) {
      try {
        node ??= objectsOf(await connectLocal(pick(cluster.nodes.filter(({ isRunning }) => isRunning)).data))
        const keys = epochKeys()
        await act(node, pick(keys), keys, of)
        if (random.fraction() < 0.2) { node.client.close(); node = undefined }
      } catch {
        // a node that dies, or has no majority: what is unknown stands in the history, what was refused told nothing
        node?.client.close()
        node = undefined
        await new Promise((resolve) => { setTimeout(resolve, 20) })
      }
    }
    node?.client.close()
  }))
  const beganMs = performance.now()
  let done = 0
  for (let kill = 0; kill < kills && performance.now() - beganMs < kills * longestMsPerKill; kill++, done++) {
    epoch = Math.floor(kill / killsPerEpoch)
    await new Promise((resolve) => { setTimeout(resolve, 100 + random.fraction() * 900) })
    // one of ten times all at once
    const victims = kill % 10 === 9 ? cluster.nodes : [pick(cluster.nodes)]
    await Promise.all(victims.map(async (node) => node.stop('SIGKILL')))
    await Promise.all(victims.map(async (node) => node.start()))
    await cluster.ready({ timeoutMs: 60_000 })
  }
  isOver = true
  await running
  const broken = [...of.byKey].filter(([, history]) => !isLinearizable(history, absent))
  tried(task, { what: 'kill -9 under four clients, histories checked', times: done, acknowledged: of.acknowledged, lost: broken.length + of.wrong.length })
  expect(of.wrong).toEqual([])
  expect(broken.map(([key, history]) => `${key}: ${history.map(({ what, startMs, endMs }) => `${startMs.toFixed(0)}-${endMs.toFixed(0)} ${what}`).join('; ')}`)).toEqual([])
  expect(done, 'kills within the time').toBe(kills)
  expect(of.acknowledged).toBeGreaterThan(kills * leastPerKill)
}, kills * longestMsPerKill + 300_000)
