import { etagOfWrite } from '../conditions.ts'
import type { ObjectInfo } from '../../objects/index.ts'
import { S3Error } from './errors.ts'
import type { S3Exchange } from './exchange.ts'
import { etagIn } from './object-headers.ts'

type Header = S3Exchange['header']

/** Conditions of a read (RFC 9110 §13.2.2). @throws S3Error PreconditionFailed, NotModified */
export function checkReadConditions (header: Header, info: ObjectInfo, prefix = ''): void {
  const [ifMatch, ifNoneMatch] = [header(`${prefix}if-match`), header(`${prefix}if-none-match`)]
  const [since, notSince] = [dateIn(header(`${prefix}if-modified-since`)), dateIn(header(`${prefix}if-unmodified-since`))]
  const modifiedMs = Math.floor(Date.parse(info.modified) / 1000) * 1000
  const failed = (condition: string): S3Error => new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', { fields: { Condition: condition } })
  if (ifMatch !== undefined ? !names(ifMatch, info.etag) : notSince !== undefined && modifiedMs > notSince) throw failed(ifMatch === undefined ? 'If-Unmodified-Since' : 'If-Match')
  const isSame = ifNoneMatch !== undefined ? names(ifNoneMatch, info.etag) : since !== undefined && modifiedMs <= since
  if (!isSame) return
  // of a copy's source there is no "not modified"
  if (prefix !== '') throw failed(ifNoneMatch === undefined ? 'If-Modified-Since' : 'If-None-Match')
  throw new S3Error('NotModified', 'it has not been modified', { headers: { etag: `"${info.etag}"`, 'last-modified': new Date(info.modified).toUTCString() } })
}

export const hasReadConditions = (header: Header, prefix = ''): boolean => ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'].some((name) => header(prefix + name) !== undefined)

/** Conditions of a write, for the engine to hold in the very write. */
export function writeConditionsIn (header: Header): { ifMatch?: string, ifNoneMatch?: string } {
  const [ifMatch, ifNoneMatch] = [oneTagIn('If-Match', header('if-match')), oneTagIn('If-None-Match', header('if-none-match'))]
  return { ...(ifMatch === undefined ? {} : { ifMatch }), ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }) }
}

/** Whoever may ask whether an object has an ETag, which is the MD5 of its content, learns what is in it by guessing: so that takes leave to read, as at AWS. @throws S3Error AccessDenied */
export async function demandToldEtag ({ demand, bucket, key }: Pick<S3Exchange, 'demand' | 'bucket' | 'key'>, { ifMatch, ifNoneMatch }: { ifMatch?: string | undefined, ifNoneMatch?: string | undefined }): Promise<void> {
  if ((ifMatch ?? '*') !== '*' || (ifNoneMatch ?? '*') !== '*') await demand({ operation: 's3:GetObject', action: 'read', bucket, key })
}

/** Of several the engine would look for the list itself, which nothing has: an If-None-Match would always hold. @throws S3Error NotImplemented */
function oneTagIn (name: string, text: string | undefined): string | undefined {
  const tag = etagOfWrite(text)
  if (tag === null) throw new S3Error('NotImplemented', `${name} of a write takes * or one strong ETag`)
  return tag
}

const names = (list: string, etag: string): boolean => list.split(',').some((tag) => { const named = etagIn(tag); return named === '*' || named === etag })

function dateIn (text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '')
  return Number.isNaN(ms) ? undefined : ms
}
