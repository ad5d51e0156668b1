import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { systemClock } from '../../base/clock.ts'
import { InvalidInput, NotFound } from '../../base/errors.ts'
import { objectPath } from '../../client/index.ts'
import type { ObjectInfo } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { durationText, sizeText } from '../output.ts'
import { progressOf } from '../progress.ts'
import type { GivenOptions } from '../settings.ts'
import { targetOf } from '../target.ts'

const readBytes = 1024 * 1024

/** `dfs put FILE|- BUCKET[/KEY]`, or with -r a folder. */
export async function put (file: string, target: string, options: GivenOptions): Promise<void> {
  const { bucket, key } = targetOf(target)
  await withNode(options, async (context) => {
    if (options.recursive === true) {
      await putFolder(context, file, { bucket, prefix: key ?? '' }, options)
      return
    }
    if (file === '-' && (key ?? '') === '') throw new InvalidInput('object', 'standard input has no name; write BUCKET/KEY')
    // "BUCKET" and "BUCKET/folder/" take the file's name, as cp does
    const name = key === undefined || key === '' || key.endsWith('/') ? `${key ?? ''}${basename(file)}` : key
    await putOne(context, file, { bucket, key: name }, options)
  })
}

async function putFolder (context: CommandContext, folder: string, { bucket, prefix }: { bucket: string, prefix: string }, options: GivenOptions): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(noSuchFile(folder))
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const start = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
  for (const file of files.toSorted()) {
    const path = file.slice(folder.replace(/\/+$/, '').length + 1)
    await putOne(context, file, { bucket, key: `${start}${path}` }, options)
  }
  if (files.length === 0) context.output.note(`${folder} holds no files`)
}

async function putOne (context: CommandContext, file: string, { bucket, key }: { bucket: string, key: string }, options: GivenOptions): Promise<void> {
  const sizeBytes = file === '-' ? undefined : await sizeOfFile(file)
  const progress = progressOf({ label: key, totalBytes: sizeBytes, clock: systemClock, terminal: process.stderr })
  const source = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: readBytes })
  const start = systemClock.monotonicMs()
  try {
    const info = await context.client.upload<ObjectInfo>(objectPath(bucket, key), counted(source, (bytes) => { progress.add(bytes) }), { headers: headersOf(options, sizeBytes), signal: context.signal })
    const seconds = (systemClock.monotonicMs() - start) / 1000
    progress.end()
    const bytesPerSecond = Math.round(info.sizeBytes / seconds)
    context.output.fact({ ...info, seconds, bytesPerSecond }, `${bucket}/${key}  ${sizeText(info.sizeBytes)} in ${durationText(seconds)} (${sizeText(bytesPerSecond)}/s)  etag ${info.etag}`)
  } finally {
    progress.end()
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

async function * counted (source: AsyncIterable<Uint8Array>, add: (bytes: number) => void): AsyncIterable<Uint8Array> {
  for await (const piece of source) {
    yield piece
    add(piece.byteLength)
  }
}

async function sizeOfFile (file: string): Promise<number> {
  const found = await stat(file).catch(noSuchFile(file))
  if (found.isDirectory()) throw new InvalidInput('file', `${file} is a folder; -r stores folders`)
  return found.size
}

function noSuchFile (file: string): (cause: NodeJS.ErrnoException) => never {
  return (cause) => {
    if (cause.code === 'ENOENT') throw new NotFound(`there is no file ${file}`, { cause })
    throw cause
  }
}
