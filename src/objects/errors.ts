import { Conflict, Corrupt, InvalidInput, NotFound, Refused, StoreFull, Unavailable } from '../base/errors.ts'
import type { DigestAlgorithm } from './index.ts'

/** What came is not what was announced: damaged on its way, or announced wrongly. Nothing was stored. */
export class DigestMismatch extends InvalidInput {
  override name = 'DigestMismatch'
  readonly algorithm: DigestAlgorithm
  /** The body of the request, or the object that is put together of parts which came before. */
  readonly of: 'body' | 'object'
  constructor (algorithm: DigestAlgorithm, { of = 'body' }: { of?: 'body' | 'object' } = {}) {
    super('digest', `the ${algorithm} of ${of === 'body' ? 'what came' : 'the parts together'} is not the one that was announced; nothing was stored`)
    this.algorithm = algorithm
    this.of = of
  }
}

/** The object has none of the bytes that are asked for. */
export class NoSuchRange extends InvalidInput {
  override name = 'NoSuchRange'
  /** Of the object. */
  readonly sizeBytes: number
  constructor (sizeBytes: number, message: string) { super('range', message); this.sizeBytes = sizeBytes }
}

/** There is no object of which a condition says what it must be. */
export class NothingToMatch extends Conflict {
  override name = 'NothingToMatch'
  constructor () { super('the object does not exist') }
}

/** The bucket does not let its versions be locked. */
export class WithoutLocks extends InvalidInput {
  override name = 'WithoutLocks'
  constructor (bucket: string) { super('object lock', `bucket "${bucket}" has no locks; "dfs bucket set ${bucket} --versioning enabled" and then "echo {} | dfs bucket lock ${bucket} -" allow them`) }
}

/** The node has no memory for one more put, or took back what a client that stood still had. Nothing was stored; again helps, later or elsewhere. */
export class TooManyPuts extends Unavailable {
  override name = 'TooManyPuts'
}

/** A majority says that there is no such bucket. */
export class NoSuchBucket extends NotFound {
  override name = 'NoSuchBucket'
  constructor (bucket: string) { super(`there is no bucket "${bucket}"; "dfs bucket ls" lists them`) }
}

/** There is a delete marker: the newest version, or the very one that was asked for. */
export class DeletedObject extends NotFound {
  override name = 'DeletedObject'
  /** Of the marker, hexadecimal. */
  readonly versionId: string
  readonly isNullVersion: boolean
  /** It was asked for by its id. */
  readonly wasNamed: boolean
  constructor (message: string, { versionId, isNullVersion, wasNamed }: { versionId: string, isNullVersion: boolean, wasNamed: boolean }) {
    super(message)
    this.versionId = versionId
    this.isNullVersion = isNullVersion
    this.wasNamed = wasNamed
  }
}

/** What stands beside a version that its object's row names is gone, as after the loss of a majority: it cannot be read, nor removed, for it may be locked. */
export class VersionLost extends Corrupt {
  override name = 'VersionLost'
  constructor (key: string) { super(`the row of a version of "${key}" is missing`) }
}

/** The version is held, or its retention has not ended. */
export class LockedVersion extends Refused {
  override name = 'LockedVersion'
  /** When that ends; undefined: by no date. */
  readonly endsMs: number | undefined
  constructor (message: string, { endsMs }: { endsMs?: number } = {}) {
    super(message)
    this.endsMs = endsMs
  }
}

/** The bucket has as much as it may have, by a count that is as exact as `Quotas` says. */
export class QuotaExceeded extends StoreFull {
  override name = 'QuotaExceeded'
}
