import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { median, mebibyte, mib, noise } from './measure.ts'
import { type BenchNodes, put } from './nodes.ts'

const mostBytes = 100 * mebibyte
const insertedBytes = 100
const restMs = 500

/** What the same file costs the second time, and what it costs with 100 bytes more at its front: all files of all data folders, measured on the disk. */
export async function deduplication ({ report, rounds, sizeBytes }: Bench, nodes: BenchNodes): Promise<void> {
  const client = await nodes.client(0)
  const bytes = Math.min(sizeBytes, mostBytes)
  const size = `${mib(bytes)} MiB`
  for (const chunking of ['content', 'content-small']) {
    const bucket = `chunks-${chunking}`
    await client.json('PUT', `/v1/buckets/${bucket}`, { body: { copies: 1, chunking } })
    const shares: { again: number[], edited: number[] } = { again: [], edited: [] }
    for (let round = 0; round < rounds; round++) {
      const seed = randomBytes(16)
      const stored = async (key: string, front: Uint8Array): Promise<number> => {
        const before = await settledOnDisk(nodes)
        await put(client, { bucket, key: `${key}/${round}`, source: after(front, noise(bytes, { seed })), sizeBytes: bytes + front.byteLength })
        return await settledOnDisk(nodes) - before
      }
      const first = await stored('first', new Uint8Array())
      shares.again.push(await stored('again', new Uint8Array()) / first * 100)
      shares.edited.push(await stored('edited', randomBytes(insertedBytes)) / first * 100)
    }
    report.add(`the same ${size} again, more on disk (${chunking})`, median(shares.again), '%', { target: { atMost: 1 } })
    report.add(`${insertedBytes} bytes inserted at its front, more on disk (${chunking})`, median(shares.edited), '%', { target: { atMost: 3 } })
  }
}

async function * after (front: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  if (front.byteLength > 0) yield front
  yield * rest
}

/** When two looks in a row see the same: last copies of earlier puts may still be on their way. */
async function settledOnDisk (nodes: BenchNodes): Promise<number> {
  let [before, now] = [Number.NaN, await onDisk(nodes)]
  await until('the disk comes to rest', 60_000, async () => {
    await sleep(restMs);
    [before, now] = [now, await onDisk(nodes)]
    return before === now
  })
  return now
}

async function onDisk (nodes: BenchNodes): Promise<number> {
  const folders = await Promise.all(nodes.all.map(async ({ data }) => (await readdir(data, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())))
  const sizes = await Promise.all(folders.flat().map(async (file) => (await stat(join(file.parentPath, file.name)).catch(ifGone))?.size ?? 0))
  return sizes.reduce((sum, size) => sum + size, 0)
}

// LevelDB and the stores rename and remove while we look
function ifGone (error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
