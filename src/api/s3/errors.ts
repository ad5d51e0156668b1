import { DfsError, type ErrorCode, InvalidInput } from '../../base/errors.ts'
import { DeletedObject, DigestMismatch, NoSuchBucket, NoSuchRange, NoSuchUpload, NothingToMatch, PartTooSmall, QuotaExceeded, TooManyPuts, WithoutLocks, WrongPart, WrongPartOrder } from '../../objects/index.ts'

/**
 * What an S3 client is told: a code that it knows, the status that goes with it, and words for people. The codes and statuses are those of
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, so that clients retry what can be retried and nothing else.
 */
export class S3Error extends Error {
  override name = 'S3Error'
  readonly code: S3ErrorCode
  /** More elements of the answer, e.g. Region. */
  readonly fields: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  constructor (code: S3ErrorCode, message: string, { fields = {}, headers = {}, ...options }: ErrorOptions & { fields?: Readonly<Record<string, string>>, headers?: Readonly<Record<string, string>> } = {}) {
    super(message, options)
    this.code = code
    this.fields = fields
    this.headers = headers
  }

  get status (): number { return statuses[this.code] }
}

const statuses = {
  AccessDenied: 403, AuthorizationHeaderMalformed: 400, AuthorizationQueryParametersError: 400, BadDigest: 400, BucketAlreadyExists: 409, BucketAlreadyOwnedByYou: 409, BucketNotEmpty: 409,
  ConditionalRequestConflict: 409, EntityTooLarge: 400, EntityTooSmall: 400, IncompleteBody: 400, InsufficientStorage: 507, InternalError: 500, InvalidAccessKeyId: 403, InvalidArgument: 400,
  InvalidBucketAclWithObjectOwnership: 400, InvalidBucketName: 400, InvalidBucketState: 409, InvalidDigest: 400, InvalidPart: 400, InvalidPartNumber: 416, InvalidPartOrder: 400, InvalidPolicyDocument: 400, InvalidRange: 416, InvalidRequest: 400,
  InvalidTag: 400, InvalidURI: 400, KeyTooLongError: 400, MalformedPolicy: 400, MalformedPOSTRequest: 400, MalformedTrailerError: 400, MalformedXML: 400, MaxMessageLengthExceeded: 400, MaxPostPreDataLengthExceededError: 400, MetadataTooLarge: 400, MethodNotAllowed: 405,
  MissingContentLength: 411, MissingFields: 400, MissingSecurityHeader: 400, NoSuchBucket: 404, NoSuchBucketPolicy: 404, NoSuchCORSConfiguration: 404, NoSuchKey: 404, NoSuchLifecycleConfiguration: 404, NoSuchObjectLockConfiguration: 404,
  NoSuchPublicAccessBlockConfiguration: 404, NoSuchTagSet: 404, NoSuchUpload: 404, NoSuchVersion: 404, NoSuchWebsiteConfiguration: 404, NotImplemented: 501, NotModified: 304,
  ObjectLockConfigurationNotFoundError: 404, OperationAborted: 409, OwnershipControlsNotFoundError: 404, PreconditionFailed: 412, QuotaExceeded: 403, ReplicationConfigurationNotFoundError: 404,
  RequestTimeTooSkewed: 403, ServerSideEncryptionConfigurationNotFoundError: 404, ServiceUnavailable: 503, SignatureDoesNotMatch: 403, SlowDown: 503, Unreadable: 502,
  XAmzContentSHA256Mismatch: 400,
} as const

export type S3ErrorCode = keyof typeof statuses

const translated: Readonly<Record<ErrorCode, S3ErrorCode>> = {
  invalid: 'InvalidArgument', 'not-found': 'NoSuchKey', conflict: 'OperationAborted', refused: 'AccessDenied', unavailable: 'ServiceUnavailable', unknown: 'ServiceUnavailable', full: 'InsufficientStorage', corrupt: 'Unreadable',
}

const fieldCodes: Readonly<Record<string, S3ErrorCode>> = {
  range: 'InvalidRange', bucket: 'InvalidBucketName', metadata: 'MetadataTooLarge', size: 'IncompleteBody', copy: 'InvalidRequest', tags: 'InvalidTag', versioning: 'InvalidBucketState', 'object lock': 'InvalidBucketState',
}

/** The engine's error as a client's. What nobody expected is an InternalError without details; the log has them. */
export function s3ErrorOf (error: unknown, { isConditional = false, isHashSigned = false }: { isConditional?: boolean, isHashSigned?: boolean } = {}): S3Error {
  if (error instanceof S3Error) return error
  if (!(error instanceof DfsError)) return new S3Error('InternalError', 'something unexpected happened; the node\'s log has the details', { cause: error })
  const { message } = error
  if (error instanceof DeletedObject) {
    const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': error.isNullVersion ? 'null' : error.versionId }
    return new S3Error(error.wasNamed ? 'MethodNotAllowed' : 'NoSuchKey', message, { cause: error, headers })
  }
  if (error instanceof DigestMismatch && error.algorithm === 'sha256' && error.of === 'body' && isHashSigned) return new S3Error('XAmzContentSHA256Mismatch', 'the SHA-256 of the body is not the one in x-amz-content-sha256', { cause: error })
  if (error instanceof NoSuchRange) return new S3Error('InvalidRange', message, { cause: error, fields: { ActualObjectSize: String(error.sizeBytes) }, headers: { 'content-range': `bytes */${error.sizeBytes}` } })
  const special = specialCodeOf(error)
  if (special !== undefined) return new S3Error(special, message, { cause: error })
  if (error.code === 'conflict' && isConditional) return new S3Error('PreconditionFailed', message, { cause: error })
  // a 503 would be repeated by the client's library, find its own write, and be told as a condition that failed
  if (error.code === 'unknown' && isConditional) return new S3Error('ConditionalRequestConflict', message, { cause: error })
  return new S3Error(translated[error.code], message, { cause: error })
}

function specialCodeOf (error: DfsError): S3ErrorCode | undefined {
  // clients wait at it, and come again
  if (error instanceof TooManyPuts) return 'SlowDown'
  // not as of a full disk: a 5xx would be tried again and again
  if (error instanceof QuotaExceeded) return 'QuotaExceeded'
  if (error instanceof WithoutLocks) return 'InvalidRequest'
  // of a write; a deletion says it in its own way
  if (error instanceof NothingToMatch) return 'NoSuchKey'
  if (error instanceof NoSuchBucket) return 'NoSuchBucket'
  if (error instanceof NoSuchUpload) return 'NoSuchUpload'
  if (error instanceof DigestMismatch) return 'BadDigest'
  if (error instanceof PartTooSmall) return 'EntityTooSmall'
  if (error instanceof WrongPart) return 'InvalidPart'
  if (error instanceof WrongPartOrder) return 'InvalidPartOrder'
  return error instanceof InvalidInput ? fieldCodes[error.field] : undefined
}
