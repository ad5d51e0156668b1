import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Readable } from 'node:stream'
import { systemClock } from '../../base/clock.ts'
import { Conflict, InvalidInput } from '../../base/errors.ts'
import { objectPath } from '../../client/paths.ts'
import type { ObjectInfo } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { each } from '../each.ts'
import { fileError } from '../file-errors.ts'
import { durationText, type Output, sizeText } from '../output.ts'
import { progressOf } from '../progress.ts'
import type { GivenOptions } from '../settings.ts'
import { targetOf } from '../target.ts'
import { filesBelow, type LeftOut } from '../tree.ts'

const readBytes = 1024 * 1024

/** `dfs put FILE|- BUCKET[/KEY]`, or with -r a folder. */
export async function put (file: string, target: string, options: GivenOptions): Promise<void> {
  const { bucket, key } = targetOf(target)
  await withNode(options, async (context) => {
    if (options.recursive === true) {
      await putFolder(context, file, { bucket, prefix: key ?? '' }, options)
      return
    }
    // "BUCKET" and "BUCKET/folder/" take the file's name, as cp does
    const isFolder = key === undefined || key === '' || key.endsWith('/')
    if (file === '-' && isFolder) throw new InvalidInput('object', 'standard input has no name; write BUCKET/KEY')
    await putOne(context, file, { bucket, key: isFolder ? `${key ?? ''}${basename(file)}` : key }, options)
  })
}

async function putFolder (context: CommandContext, folder: string, { bucket, prefix }: { bucket: string, prefix: string }, options: GivenOptions): Promise<void> {
  const { client, output, signal } = context
  if (!(await stat(folder).catch(fileError(folder))).isDirectory()) throw new InvalidInput('file', `${folder} is no folder; -r stores folders`)
  // once, and not for every file
  await client.json('GET', `/v1/buckets/${encodeURIComponent(bucket)}`, { signal })
  const start = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
  const leftOut: LeftOut = { 'symbolic links': 0, 'empty folders': 0, 'special files': 0 }
  const count = await each(filesBelow(folder, leftOut), async (entry) => {
    if ('error' in entry) throw entry.error
    await putOne(context, entry.file, { bucket, key: start + entry.path }, options)
  }, { output, what: 'files were not stored' }).finally(() => { warnOf(leftOut, output) })
  if (count === 0) output.note(`${folder} holds no files`)
}

function warnOf (leftOut: LeftOut, output: Output): void {
  const kinds = Object.entries(leftOut).filter(([, count]) => count > 0).map(([kind, count]) => `${kind} (${count})`)
  if (kinds.length > 0) output.warn(`left out: ${kinds.join(', ')}`)
}

async function putOne (context: CommandContext, file: string, { bucket, key }: { bucket: string, key: string }, options: GivenOptions): Promise<void> {
  const { stream, sizeBytes } = file === '-' ? { stream: process.stdin } : await sourceOf(file)
  const progress = progressOf({ label: key, totalBytes: sizeBytes, clock: systemClock, terminal: process.stderr })
  const start = systemClock.monotonicMs()
  try {
    const source = counted({ file, stream, sizeBytes, add: (bytes) => { progress.add(bytes) } })
    const info = await context.client.upload<ObjectInfo>(objectPath(bucket, key), source, { headers: headersOf(options, sizeBytes), signal: context.signal })
    const seconds = (systemClock.monotonicMs() - start) / 1000
    progress.end()
    const bytesPerSecond = Math.round(info.sizeBytes / seconds)
    context.output.fact({ ...info, seconds, bytesPerSecond }, `${bucket}/${key}  ${sizeText(info.sizeBytes)} in ${durationText(seconds)} (${sizeText(bytesPerSecond)}/s)  etag ${info.etag}`)
  } finally {
    progress.end()
    // a terminal or a pipe that is still read would keep an interrupted put from ending
    stream.destroy()
  }
}

function headersOf (options: GivenOptions, sizeBytes: number | undefined): Record<string, string> {
  return {
    ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }),
    ...(typeof options.contentType === 'string' ? { 'content-type': options.contentType } : {}),
    ...(options.ifNoneMatch === true ? { 'if-none-match': '*' } : {}),
    ...(typeof options.ifMatch === 'string' ? { 'if-match': `"${options.ifMatch}"` } : {}),
  }
}

interface Source {
  readonly stream: Readable
  /** Undefined: whatever comes. */
  readonly sizeBytes?: number
}

/** The size counts for regular files alone: that of a pipe or a device is 0, as is that of what the system makes up as it is read (/proc). */
async function sourceOf (file: string): Promise<Source> {
  const found = await stat(file).catch(fileError(file))
  if (found.isDirectory()) throw new InvalidInput('file', `${file} is a folder; -r stores folders`)
  if (!found.isFile() || found.size === 0) return { stream: createReadStream(file, { highWaterMark: readBytes }) }
  // of a file that grows meanwhile, what it was
  return { stream: createReadStream(file, { highWaterMark: readBytes, end: found.size - 1 }), sizeBytes: found.size }
}

/** @throws Conflict if fewer bytes come than were announced: the node would wait for the rest */
async function * counted ({ file, stream, sizeBytes, add }: Source & { file: string, add: (bytes: number) => void }): AsyncIterable<Uint8Array> {
  let readBytes = 0
  try {
    for await (const piece of stream as AsyncIterable<Uint8Array>) {
      yield piece
      readBytes += piece.byteLength
      add(piece.byteLength)
    }
  } catch (error) {
    fileError(file)(error as NodeJS.ErrnoException)
  }
  if (sizeBytes !== undefined && readBytes < sizeBytes) throw new Conflict(`${file} became shorter while it was read, ${readBytes} bytes of ${sizeBytes}; nothing is stored`)
}
