/**
 * Errors sorted by what the caller does next. A part extends the class whose answer is its own and adds fields;
 * faces translate the `code` (HTTP status, exit code, gRPC status) and nothing else.
 */
export abstract class DfsError extends Error {
  abstract readonly code: ErrorCode
}

export type ErrorCode = 'invalid' | 'not-found' | 'conflict' | 'refused' | 'unavailable' | 'unknown' | 'full' | 'corrupt'

/** Tell the user: the request itself is wrong. `field` names what, as the user wrote it. */
export class InvalidInput extends DfsError {
  override name = 'InvalidInput'
  readonly code = 'invalid'
  readonly field: string
  constructor (field: string, message: string, options?: ErrorOptions) { super(message, options); this.field = field }
}

/** Tell the user: proven not to exist (a majority said so), never "could not be read". */
export class NotFound extends DfsError {
  override name = 'NotFound'
  readonly code = 'not-found'
}

/** Tell the user: exists already, or a precondition (if-match, if-none-match) does not hold. Nothing changed. */
export class Conflict extends DfsError {
  override name = 'Conflict'
  readonly code = 'conflict'
}

/** Tell the user: not allowed, or not in this state of the cluster. Nothing changed; repeating it does not help. */
export class Refused extends DfsError {
  override name = 'Refused'
  readonly code = 'refused'
}

/** Retry later: too few peers answered. Nothing is known to have changed. */
export class Unavailable extends DfsError {
  override name = 'Unavailable'
  readonly code = 'unavailable'
}

/** The write may or may not have happened; read to find out. Never reported as a failed precondition. */
export class UnknownOutcome extends DfsError {
  override name = 'UnknownOutcome'
  readonly code = 'unknown'
}

/** Make room: a disk, a quota or a budget is full. */
export class StoreFull extends DfsError {
  override name = 'StoreFull'
  readonly code = 'full'
}

/** Ask another holder, and repair: what was read is not what was written. */
export class Corrupt extends DfsError {
  override name = 'Corrupt'
  readonly code = 'corrupt'
}
