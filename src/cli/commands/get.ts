import { open, mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { hexOf } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { InvalidInput, Refused } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import { objectPath } from '../../client/index.ts'
import type { ObjectPage } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { durationText, sizeText } from '../output.ts'
import { type Progress, progressOf } from '../progress.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf, targetOf } from '../target.ts'

interface Sources { readonly local: number, readonly cache: number, readonly peers: Readonly<Record<string, number>> }
interface Download { readonly bucket: string, readonly key: string, readonly file: string, readonly range: string | undefined }

/** `dfs get BUCKET/KEY [FILE|-]`, or with -r everything below a prefix. */
export async function get (object: string, file: string | undefined, options: GivenOptions): Promise<void> {
  const range = options.range === undefined ? undefined : rangeOf(String(options.range))
  await withNode(options, async (context) => {
    if (options.recursive === true) {
      await getFolder(context, object, file ?? '.')
      return
    }
    const { bucket, key } = objectOf(object)
    await getOne(context, { bucket, key, file: file ?? (key.split('/').at(-1) || 'object'), range })
  })
}

/** @throws InvalidInput unless it is "first-last", "first-" or "-count" */
function rangeOf (text: string): string {
  if (!/^(\d+-\d*|-\d+)$/.test(text)) throw new InvalidInput('range', `range is "${text}"; it takes first-last, first- or -count, e.g. 0-1023`)
  return `bytes=${text}`
}

async function getFolder (context: CommandContext, object: string, folder: string): Promise<void> {
  const { bucket, key: prefix = '' } = targetOf(object)
  const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  for (let after: string | undefined, isLast = false; !isLast;) {
    const query = new URLSearchParams({ prefix, ...(after === undefined ? {} : { after }) })
    const page: ObjectPage = await context.client.json('GET', `${objectPath(bucket)}?${query.toString()}`, { signal: context.signal })
    for (const { key } of page.objects) {
      const file = insideOf(folder, key.slice(parent.length))
      await mkdir(dirname(file), { recursive: true })
      await getOne(context, { bucket, key, file, range: undefined })
    }
    after = page.next
    isLast = after === undefined
  }
}

/** A key is any text; as a path it must stay inside the folder. @throws Refused */
function insideOf (folder: string, key: string): string {
  const [top, file] = [resolve(folder), resolve(folder, key)]
  if (!file.startsWith(top === sep ? sep : top + sep) || key.includes('\0')) throw new Refused(`the key "${key}" would lie outside ${folder}; get it alone, under a name of your choice`)
  return file
}

async function getOne (context: CommandContext, download: Download): Promise<void> {
  const { bucket, key, file } = download
  const id = hexOf(systemRandom.bytes(8))
  const start = systemClock.monotonicMs()
  const { etag, sizeBytes } = file === '-' || download.range !== undefined
    ? await toStream(context, download, id)
    : await toFile(context, download, id)
  const seconds = (systemClock.monotonicMs() - start) / 1000
  const sources = await context.client.json<Sources>('GET', `/v1/transfers/${id}`).catch((): Sources => ({ local: 0, cache: 0, peers: {} })) // nothing was transferred: the part was whole already
  const bytesPerSecond = Math.round(sizeBytes / seconds)
  if (file === '-') return
  context.output.fact({ bucket, key, sizeBytes, etag, seconds, bytesPerSecond, sources, file }, `${file}  ${sizeText(sizeBytes)} in ${durationText(seconds)} (${sizeText(bytesPerSecond)}/s)`)
}

interface Got { readonly etag: string, readonly sizeBytes: number }

/** To standard output, or a range to a file: nothing to resume. */
async function toStream (context: CommandContext, { bucket, key, file, range }: Download, id: string): Promise<Got> {
  const headers = { 'x-dfs-transfer': id, ...(range === undefined ? {} : { range }) }
  const { headers: got, body } = await context.client.download(objectPath(bucket, key), { headers, signal: context.signal })
  const progress = progressOf({ label: key, totalBytes: Number(got['content-length']), clock: systemClock, terminal: file === '-' && process.stdout.isTTY ? {  write: () => true } : process.stderr })
  try {
    if (file === '-') {
      for await (const piece of body) {
        progress.add(piece.byteLength)
        if (!process.stdout.write(piece)) await new Promise((drained) => { process.stdout.once('drain', drained) })
      }
    } else {
      const part = `${file}.dfs-part-${id}`
      await append(part, body, progress)
      await settle(part, file)
    }
  } finally {
    progress.end()
  }
  return { etag: unquoted(got.etag), sizeBytes: Number(got['content-length']) }
}

/**
 * Into a part file that names the version, then synced and renamed: the final name never holds half a file, and a part that an earlier run left
 * is gone on with. A version that changes meanwhile is begun anew.
 */
async function toFile (context: CommandContext, { bucket, key, file }: Download, id: string): Promise<Got> {
  const path = objectPath(bucket, key)
  const head = await context.client.head(path, { signal: context.signal })
  const [etag, sizeBytes] = [unquoted(head.etag), Number(head['content-length'])]
  const part = `${file}.dfs-part-${etag}`
  const have = await partSize(part, sizeBytes)
  const progress = progressOf({ label: key, totalBytes: sizeBytes, clock: systemClock, terminal: process.stderr })
  progress.add(have)
  try {
    if (have === 0 || have < sizeBytes) {
      const headers = { 'x-dfs-transfer': id, 'if-match': `"${etag}"`, ...(have === 0 ? {} : { range: `bytes=${have}-` }) }
      const { body } = await context.client.download(path, { headers, signal: context.signal })
      await append(part, body, progress)
    }
  } finally {
    progress.end()
  }
  await settle(part, file)
  return { etag, sizeBytes }
}

async function partSize (part: string, sizeBytes: number): Promise<number> {
  const found = await stat(part).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return undefined; throw error })
  if (found === undefined || found.size <= sizeBytes) return found?.size ?? 0
  await rm(part)
  return 0
}

async function append (part: string, body: AsyncIterable<Uint8Array>, progress: Progress): Promise<void> {
  const handle = await open(part, 'a')
  try {
    for await (const piece of body) {
      // a file's write may take less than it is given
      for (let written = 0; written < piece.byteLength;) written += (await handle.write(piece, written)).bytesWritten
      progress.add(piece.byteLength)
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function settle (part: string, file: string): Promise<void> {
  await rename(part, file)
  const folder = await open(join(dirname(file)), 'r')
  try { await folder.sync() } finally { await folder.close() }
}

const unquoted = (etag: string | undefined): string => (etag ?? '').replaceAll('"', '')
