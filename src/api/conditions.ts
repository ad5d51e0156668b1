import type { IncomingHttpHeaders } from 'node:http'
import { InvalidInput } from '../base/errors.ts'
import type { ByteRange, ObjectInfo, ObjectName, ObjectReading, Objects, OfVersion } from '../objects/index.ts'
import { ApiError } from './errors.ts'

/** What conditions compare with. */
export interface Representation {
  /** Strong, without quotes. */
  readonly etag: string
  /** Whole seconds count: a date in a header has no more. */
  readonly modifiedMs: number
}

/** What the conditions of a GET or HEAD ask for, in the order of RFC 9110 §13.2.2. */
export function verdictOf (headers: IncomingHttpHeaders, { etag, modifiedMs }: Representation): 'send' | 'not-modified' | 'failed' {
  const seconds = Math.floor(modifiedMs / 1000)
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined) {
    if (!tagsIn(ifMatch).some(({ tag, isWeak }) => tag === '*' || (!isWeak && tag === etag))) return 'failed'
  } else if (seconds > (secondsIn(headers['if-unmodified-since']) ?? Infinity)) {
    return 'failed'
  }
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined) return tagsIn(ifNoneMatch).some(({ tag }) => tag === '*' || tag === etag) ? 'not-modified' : 'send'
  return seconds <= (secondsIn(headers['if-modified-since']) ?? -Infinity) ? 'not-modified' : 'send'
}

/** Whether If-Range lets a part be sent: the reader's other parts are of this very content. Dates are too coarse to be believed unless exact (RFC 9110 §13.1.5). */
export function mayBePart ({ 'if-range': ifRange }: IncomingHttpHeaders, { etag, modifiedMs }: Representation): boolean {
  if (ifRange === undefined) return true
  if (typeof ifRange !== 'string') return false
  return ifRange.includes('"') ? ifRange.trim() === `"${etag}"` : secondsIn(ifRange) === Math.floor(modifiedMs / 1000)
}

/** The one ETag of If-Match or If-None-Match of a write, without its quotes, which some clients forget, or '*'. Null: it is none, weak, or several. */
export function etagOfWrite (header: string | undefined): string | null | undefined {
  if (header === undefined) return undefined
  const [, quoted, bare] = /^\s*(?:"([^"]*)"|(\*|[\w-]+))\s*$/.exec(header) ?? []
  return quoted ?? bare ?? null
}

/** @throws ApiError for a condition that no engine could hold in the very write: passed over, it would write all the same (RFC 9110 §13.1.4) */
export function demandKnownConditions ({ 'if-unmodified-since': date }: IncomingHttpHeaders): void {
  if (date !== undefined) throw new ApiError(400, 'invalid', 'If-Unmodified-Since of a write is not understood here, so nothing was done; If-Match is')
}

export const representationOf = ({ etag, modified }: Pick<ObjectInfo, 'etag' | 'modified'>): Representation => ({ etag, modifiedMs: Date.parse(modified) })

/** `reading` is undefined where the object has no such bytes: conditions come first all the same, and then `failure`. */
export async function openedFor (objects: Pick<Objects, 'get' | 'head'>, target: ObjectName, { range, ...of }: OfVersion & { readonly range: ByteRange | undefined, readonly signal: AbortSignal }): Promise<{ info: ObjectInfo, reading: ObjectReading | undefined, failure?: InvalidInput }> {
  try {
    const reading = await objects.get(target, { ...of, range })
    return { info: reading.info, reading }
  } catch (error) {
    if (!(error instanceof InvalidInput && error.field === 'range')) throw error
    return { info: await objects.head(target, of), reading: undefined, failure: error }
  }
}

function tagsIn (header: string): ReadonlyArray<{ tag: string, isWeak: boolean }> {
  if (header.trim() === '*') return [{ tag: '*', isWeak: false }]
  return [...header.matchAll(/(W\/)?"([^"]*)"/g)].map(([, weak, tag = '']) => ({ tag, isWeak: weak !== undefined }))
}

/** Undefined: no date that HTTP knows, which counts as no condition. */
function secondsIn (header: string | undefined): number | undefined {
  const ms = header === undefined || !header.endsWith('GMT') ? NaN : Date.parse(header)
  return Number.isNaN(ms) ? undefined : ms / 1000
}
