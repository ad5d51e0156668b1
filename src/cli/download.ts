import { once } from 'node:events'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { hexOf } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { Corrupt, InvalidInput } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { objectPath } from '../client/paths.ts'
import type { ByteRange } from '../objects/index.ts'
import { resolveRange } from '../objects/range.ts'
import type { CommandContext } from './context.ts'
import { fileError } from './file-errors.ts'
import { durationText, sizeText } from './output.ts'
import { Part, type PartOptions } from './part.ts'
import type { Place } from './place.ts'
import { progressOf } from './progress.ts'

export interface Download {
  readonly bucket: string
  readonly key: string
  readonly place: Place
  readonly range?: ByteRange
  /** The query that names one (lock-text.ts); empty: the current one. */
  readonly version?: string
  readonly partsIn?: PartOptions['partsIn']
}

/** What came: `fetchedBytes` of `sizeBytes` in this run, the rest was in a part of an earlier one. */
interface Got { readonly etag: string, readonly sizeBytes: number, readonly fetchedBytes: number }
interface Sources { readonly local: number, readonly cache: number, readonly peers: Readonly<Record<string, number>> }

/** Fetches one object, or a range of it, and prints what came, unless the object itself went to standard output. */
export async function download (context: CommandContext, wanted: Download): Promise<void> {
  const { bucket, key, place: { kind, path: file } } = wanted
  const id = hexOf(systemRandom.bytes(8))
  const start = systemClock.monotonicMs()
  const { etag, sizeBytes, fetchedBytes } = kind === 'stream' ? await toStream(context, wanted, id) : await toFile(context, wanted, id)
  if (file === '-') return
  const seconds = (systemClock.monotonicMs() - start) / 1000
  const sources = await context.client.json<Sources>('GET', `/v1/transfers/${id}`).catch((): Sources => ({ local: 0, cache: 0, peers: {} })) // nothing was transferred: the part was whole already
  const bytesPerSecond = Math.round(fetchedBytes / seconds)
  context.output.fact({ bucket, key, sizeBytes, fetchedBytes, etag, seconds, bytesPerSecond, sources, file },
    `${file}  ${sizeText(sizeBytes)}${fetchedBytes < sizeBytes ? `, the last ${sizeText(fetchedBytes)}` : ''} in ${durationText(seconds)} (${sizeText(bytesPerSecond)}/s)`)
}

/** As the bytes come: nothing to go on with. */
async function toStream (context: CommandContext, { bucket, key, place: { path }, range, version = '' }: Download, id: string): Promise<Got> {
  const headers = { 'x-dfs-transfer': id, ...(range === undefined ? {} : { range: rangeHeader(range) }) }
  const { headers: got, body } = await context.client.download(`${objectPath(bucket, key)}${version}`, { headers, signal: context.signal })
  const sizeBytes = Number(got['content-length'])
  // bytes on the terminal and a bar across them are of no use to anybody
  const isOnTerminal = path === '-' && process.stdout.isTTY
  const progress = progressOf({ label: key, totalBytes: sizeBytes, clock: systemClock, terminal: isOnTerminal ? { write: () => true } : process.stderr })
  try {
    for await (const piece of written(body, path, context.signal)) progress.add(piece.byteLength)
  } finally {
    progress.end()
  }
  return { etag: unquoted(got.etag), sizeBytes, fetchedBytes: sizeBytes }
}

async function * written (body: AsyncIterable<Uint8Array>, path: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
  if (path === '-') {
    for await (const piece of body) {
      if (!process.stdout.write(piece)) await once(process.stdout, 'drain', { signal })
      yield piece
    }
    return
  }
  const sink = await open(path, constants.O_WRONLY).catch(fileError(path))
  try {
    for await (const piece of body) {
      await sink.writeFile(piece).catch(fileError(path))
      yield piece
    }
  } finally {
    await sink.close()
  }
}

/** The final name never holds half a file, and what an earlier run has left of this version is gone on with. */
async function toFile (context: CommandContext, { bucket, key, place, range, version = '', partsIn }: Download, id: string): Promise<Got> {
  const path = `${objectPath(bucket, key)}${version}`
  const head = await context.client.head(path, { signal: context.signal })
  const etag = unquoted(head.etag)
  const { first, end } = resolveRange(range, Number(head['content-length']))
  await using part = await Part.open(place.path, { version: range === undefined ? etag : `${etag}-${first}-${end}`, totalBytes: end - first, partsIn })
  const haveBytes = part.sizeBytes
  const progress = progressOf({ label: key, totalBytes: end - first, doneBytes: haveBytes, clock: systemClock, terminal: process.stderr })
  try {
    if (first + haveBytes < end) {
      const headers = { 'x-dfs-transfer': id, 'if-match': `"${etag}"`, range: `bytes=${first + haveBytes}-${end - 1}` }
      const { status, body } = await context.client.download(path, { headers, signal: context.signal })
      if (status !== 206) throw new Corrupt(`the node was asked for bytes from ${first + haveBytes} and answered ${status}`)
      for await (const piece of body) {
        await part.append(piece)
        progress.add(piece.byteLength)
      }
    }
  } finally {
    progress.end()
  }
  await part.settle()
  return { etag, sizeBytes: end - first, fetchedBytes: end - first - haveBytes }
}

/** "first-last", "first-" or "-count". @throws InvalidInput */
export function rangeOf (text: string): ByteRange {
  const [, first = '', last = ''] = /^(\d*)-(\d*)$/.exec(text) ?? []
  const range = first === '' ? { first: -Number(last) } : { first: Number(first), last: last === '' ? undefined : Number(last) }
  const isSome = range.first < 0 || (first !== '' && range.first <= (range.last ?? Infinity))
  if (!isSome) throw new InvalidInput('range', `range is "${text}"; it takes first-last, first- or -count, e.g. 0-1023`)
  return range
}

const rangeHeader = ({ first, last }: ByteRange): string => first < 0 ? `bytes=${first}` : `bytes=${first}-${last ?? ''}`

const unquoted = (etag: string | undefined): string => (etag ?? '').replaceAll('"', '')
