import { create } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import { DfsError, type ErrorCode } from '../../base/errors.ts'
import { ApiError, TooMany } from '../errors.ts'
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from './generated/google/rpc/error_details_pb.ts'

const codes: Readonly<Record<ErrorCode, Code>> = {
  invalid: Code.InvalidArgument, 'not-found': Code.NotFound, conflict: Code.FailedPrecondition, refused: Code.PermissionDenied,
  // not DeadlineExceeded, which libraries repeat of themselves: the write may have happened
  unavailable: Code.Unavailable, unknown: Code.Unknown, full: Code.ResourceExhausted, corrupt: Code.DataLoss,
}

const statusCodes: ReadonlyMap<number, Code> = new Map([
  [400, Code.InvalidArgument], [401, Code.Unauthenticated], [403, Code.PermissionDenied], [404, Code.Unimplemented], [405, Code.Unimplemented], [413, Code.ResourceExhausted],
  [421, Code.PermissionDenied], [429, Code.ResourceExhausted], [499, Code.Canceled], [503, Code.Unavailable],
])

const retryAfterMs = 1000

/** An error with a code for programs, details (google.rpc.ErrorInfo, BadRequest, RetryInfo) and words for people. Undefined: nobody expected it, and it is told to nobody but the log. */
export function connectErrorOf (error: unknown): ConnectError | undefined {
  if (error instanceof ConnectError) return error
  if (error instanceof TooMany) return withRetry(connectErrorOfApi(error), error.waitMs)
  if (error instanceof ApiError) return connectErrorOfApi(error)
  if (!(error instanceof DfsError)) return undefined
  const field = 'field' in error && typeof error.field === 'string' ? error.field : undefined
  const code = field === 'range' ? Code.OutOfRange : codes[error.code]
  const told = withReason(new ConnectError(error.message, code), error.code)
  if (field !== undefined) told.details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: [{ field, description: error.message }] }) })
  return code === Code.Unavailable ? withRetry(told, retryAfterMs) : told
}

const connectErrorOfApi = (error: ApiError): ConnectError => withReason(new ConnectError(error.message, statusCodes.get(error.status) ?? Code.Unknown), error.code)

function withReason (told: ConnectError, code: string): ConnectError {
  told.details.push({ desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { reason: code.replaceAll('-', '_').toUpperCase(), domain: 'dfs' }) })
  return told
}

function withRetry (told: ConnectError, waitMs: number): ConnectError {
  told.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay: durationFromMs(Math.ceil(waitMs)) }) })
  return told
}

/** What stands for an error that nobody expected. */
export const unexpected = (): ConnectError => new ConnectError('something unexpected happened; the node\'s log has the details', Code.Internal)
