import { randomBytes } from 'node:crypto'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { connectLocal, type LocalClient } from '../../src/client/index.ts'
import type { CollectReport } from '../../src/node.ts'
import { LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import type { Bench } from '../bench.ts'
import { median, secondsOf } from '../measure.ts'
import { put } from '../nodes.ts'
import { cpuSecondsOf, measured } from '../processes.ts'
import type { Compared, Comparison } from './compare.ts'
import type { Filled } from './fill.ts'

const bucket = 'objects'
const steps = [1000, 100_000] as const
const [puts, pages, pageNames, putBytes] = [200, 20, 1000, 1024]
const idleMs = 20_000
/** By then background work that was asked for has begun. */
const begunMs = 1000
const patienceMs = 3_600_000
const differing = 100

/**
 * What one member costs that has a thousand, a hundred thousand, and `objects` objects in a bucket. Processor time, for that is what a machine with other work to do
 * cannot stretch. Then two replicas with all of those rows, of which a hundred differ.
 */
export async function scale ({ report, folder, objects }: Bench): Promise<void> {
  await using cluster = new LocalCluster(join(folder, 'scale'), { options: () => ['--log-level', 'warn'] })
  const node = await cluster.found()
  const { id } = await withClient(node, async (client) => client.json<{ id: string }>('PUT', `/v1/buckets/${bucket}`, { body: { copies: 1 } }))
  let filled = 0
  for (const count of [...steps.filter((step) => step < objects), objects]) {
    await node.stop()
    const { cpuSeconds } = await measured<Filled>([], [join(import.meta.dirname, 'fill.ts'), node.data, id, String(filled), String(count)])
    report.note(`${count - filled} rows were written, ${(cpuSeconds * 1e6 / (count - filled)).toFixed(0)} µs of processor time each`)
    filled = count
    await ofNode(node, count, { report })
  }
  await node.stop()
  await comparison(node, { report, folder })
}

async function ofNode (node: LocalNode, count: number, { report }: Pick<Bench, 'report'>): Promise<void> {
  const of = `of ${count} objects`
  await node.start(['start'], { timeoutMs: patienceMs })
  report.add(`start ${of} to ready, processor time`, cpuSecondsOf(node.pid), 's')
  await withClient(node, async (client) => {
    await until('listings are whole', patienceMs, async () => isListed(client))
    report.add(`start ${of} until listings are whole, processor time`, cpuSecondsOf(node.pid), 's')
    const [ownBytes, residentBytes] = [await node.memoryBytes('RssAnon') ?? Number.NaN, await node.memoryBytes('VmRSS') ?? Number.NaN]
    report.add(`memory ${of}, without files that are mapped`, ownBytes / 1e6, 'MB')
    report.add(`memory ${of}, with LevelDB's files, which it maps`, residentBytes / 1e6, 'MB')
    const content = randomBytes(putBytes)
    await warmedUp(client, content, count)
    const times: number[] = []
    const putting = await cpuOf(node, async () => {
      for (let i = 0; i < puts; i++) times.push(await secondsOf(async () => put(client, { bucket, key: `put/${count}/${randomBytes(8).toString('hex')}`, source: Readable.from([content]), sizeBytes: putBytes })))
    })
    report.add(`put of 1 KiB ${of}, processor time of the node`, putting * 1000 / puts, 'ms')
    report.add(`put of 1 KiB ${of}, p50`, median(times) * 1000, 'ms')
    const listing = await cpuOf(node, async () => { for (let i = 0; i < pages; i++) await page(client, { after: `filled/${randomBytes(1).toString('hex')}/` }) })
    report.add(`page of ${pageNames} names ${of}, processor time of the node`, listing * 1000 / pages, 'ms')
    const rolled = await cpuOf(node, async () => { for (let i = 0; i < pages; i++) await page(client, { prefix: 'filled/', delimiter: '/' }) })
    report.add(`page of 256 folders ${of}, processor time of the node`, rolled * 1000 / pages, 'ms')
    const walk = await cpuOf(node, async () => {
      await client.json('POST', '/v1/collect', { body: { action: 'now' } })
      await sleep(begunMs)
      await until('what is dead has been looked for', patienceMs, async () => isWalked(await client.json<CollectReport>('GET', '/v1/collect')))
    })
    report.add(`looking for what is dead ${of}, processor time`, walk, 's', { target: { atMost: 1 } })
    const idle = await cpuOf(node, async () => sleep(idleMs))
    report.add(`idle ${of}, share of a core`, 100 * idle / (idleMs / 1000), '%')
  })
  report.add(`peak memory ${of}`, (await node.memoryBytes('VmHWM') ?? Number.NaN) / 1e6, 'MB')
}

async function comparison ({ data }: LocalNode, { report, folder }: Pick<Bench, 'report' | 'folder'>): Promise<void> {
  const other = join(folder, 'scale-other')
  await cp(data, other, { recursive: true })
  const compared = await measured<Compared>([], [join(import.meta.dirname, 'compare.ts'), data, other, String(differing)])
  const told = (name: string, { bytes, questions, cpuSeconds }: Comparison): void => {
    report.add(`anti-entropy, ${name}: bytes of messages, both ways`, bytes / 1000, 'kB')
    report.add(`anti-entropy, ${name}: questions`, questions, '')
    report.add(`anti-entropy, ${name}: processor time of both`, cpuSeconds * 1000, 'ms')
  }
  told(`${differing} rows differ, first time after a start`, compared.first)
  told(`${differing} rows differ, later`, compared.again)
  told('none differs', compared.equal)
}

const sleep = async (durationMs: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, durationMs) })

async function withClient<T> (node: LocalNode, act: (client: LocalClient) => Promise<T>): Promise<T> {
  const client = await connectLocal(node.data)
  try {
    return await act(client)
  } finally {
    client.close()
  }
}

async function cpuOf (node: LocalNode, act: () => Promise<unknown>): Promise<number> {
  const before = cpuSecondsOf(node.pid)
  await act()
  return cpuSecondsOf(node.pid) - before
}

const page = async (client: LocalClient, query: Readonly<Record<string, string>>): Promise<unknown> => client.json('GET', `/v1/objects/${bucket}?${new URLSearchParams({ limit: String(pageNames), ...query }).toString()}`)

/** A member that starts says that too few replicas list until its own index is whole: it is the only one here. */
async function isListed (client: LocalClient): Promise<boolean> {
  try {
    await page(client, {})
    return true
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('lists every partition')) throw error
    await sleep(begunMs)
    return false
  }
}

async function warmedUp (client: LocalClient, content: Uint8Array, count: number): Promise<void> {
  for (let i = 0; i < puts; i++) await put(client, { bucket, key: `warm/${count}/${i}`, source: Readable.from([content]), sizeBytes: putBytes })
  for (let i = 0; i < pages; i++) await page(client, {})
}

const isWalked = ({ phase, publishing }: CollectReport): boolean => phase === 'waiting' && publishing?.phase === 'waiting'
