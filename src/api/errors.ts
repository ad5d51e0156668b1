import { DfsError, type ErrorCode } from '../base/errors.ts'

export interface ErrorAnswer {
  readonly status: number
  readonly body: { readonly error: { readonly code: string, readonly message: string, readonly field?: string } }
}

const statuses: Readonly<Record<ErrorCode, number>> = {
  invalid: 400, 'not-found': 404, conflict: 409, refused: 403, unavailable: 503, unknown: 504, full: 507, corrupt: 502,
}

/** An error as an answer: what the user can do something with, and no more. What nobody expected is a 500 without details; the log has them. */
export function errorAnswerOf (error: unknown, { isConditional = false }: { isConditional?: boolean } = {}): ErrorAnswer {
  if (error instanceof ApiError) return { status: error.status, body: { error: { code: error.code, message: error.message } } }
  if (!(error instanceof DfsError)) return { status: 500, body: { error: { code: 'internal', message: 'something unexpected happened; the node\'s log has the details' } } }
  const field = 'field' in error && typeof error.field === 'string' ? error.field : undefined
  const status = error.code === 'conflict' && isConditional ? 412 : field === 'range' ? 416 : statuses[error.code]
  return { status, body: { error: { code: error.code, message: error.message, ...(field === undefined ? {} : { field }) } } }
}

/** The error for a header, where there is no body (HEAD): the same JSON in printable ASCII, of bounded length. */
export function errorHeaderOf ({ error }: ErrorAnswer['body']): string {
  const json = JSON.stringify({ ...error, message: error.message.slice(0, errorLimits.headerMessage) })
  return json.replaceAll(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Why a request was refused, for the log: names of buckets and keys, which messages hold, are sealed on disk. Undefined: nobody expected it. */
export function loggedReasonOf (error: unknown): string | undefined {
  if (error instanceof ApiError) return error.code
  if (!(error instanceof DfsError)) return undefined
  return error.code === 'unavailable' || error.code === 'unknown' || error.code === 'full' ? error.message : error.code
}

export const errorLimits = {
  /** Characters; a header has few KiB. */
  headerMessage: 1000,
} as const

/** A request that HTTP itself refuses. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly status: number
  readonly code: string
  constructor (status: number, code: string, message: string) { super(message); this.status = status; this.code = code }
}

/** Repeat it later. */
export class TooMany extends ApiError {
  override name = 'TooMany'
  readonly waitMs: number
  constructor (waitMs: number, what: string) { super(429, 'too-many', `${what}; try again in ${Math.ceil(waitMs / 1000)} s`); this.waitMs = waitMs }
}
