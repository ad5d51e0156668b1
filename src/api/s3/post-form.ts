import { Readable } from 'node:stream'
import { Busboy, type BusboyFileStream, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { type AccessKey, checksumAlgorithms, type DigestAlgorithm, type Digests, systemHeaderNames } from '../../objects/index.ts'
import { tagsOf } from './bucket-settings.ts'
import { encodedKey } from './canonical.ts'
import { S3Error } from './errors.ts'
import { askedBy, type Demand, type S3Exchange, sendNothing, sourceOf } from './exchange.ts'
import { checksumHeaders, retentionIn, versionHeader } from './object-headers.ts'
import { demandKnownChecksums, digestIn } from './payload.ts'
import { type FormFields, type PostPolicy, verifyPost } from './post-policy.ts'
import { demandBeside, demandPlain } from './put-object.ts'
import { parseXml } from './xml-reader.ts'
import { element, plainDocument } from './xml.ts'

/** Uploads by a form in a web page, POST BUCKET with multipart/form-data: a signed policy says what may come (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html). */
export interface PostAccess {
  readonly secretOf: (accessKeyId: string) => Promise<string | undefined>
  readonly admitted: (accessKeyId: string) => Promise<AccessKey>
  readonly demand: (accessKey: AccessKey | undefined, what: Demand) => Promise<void>
  readonly region: string | undefined
}

export const formLimits = {
  maxFields: 64,
  maxFieldNameBytes: 256,
  /** A policy with its base64. */
  maxFieldBytes: 32 * 1024,
  /** All that stands before the file: whoever sends it may be nobody that is known. AWS takes 20 KB. */
  maxFormBytes: 64 * 1024,
} as const

export async function postObject (exchange: S3Exchange, access: PostAccess): Promise<void> {
  exchange.note({ operation: 'PostObject' })
  using form = await beginningOf(exchange)
  await stored(exchange, access, form)
}

async function stored (exchange: S3Exchange, access: PostAccess, { fields, file, fileName }: FormBeginning): Promise<void> {
  const { node: { objects }, bucket, signal, clock } = exchange
  const key = (fields.get('key') ?? '').replaceAll('${filename}', fileName)
  if (key === '') throw new S3Error('InvalidArgument', 'Bucket POST must contain a field named \'key\'.')
  const policy = await verifyPost(new Map([...fields, ['key', key], ['bucket', bucket]]), { nowMs: clock.wallMs(), secretOf: access.secretOf, region: access.region })
  const accessKey = policy === undefined ? undefined : await access.admitted(policy.accessKeyId)
  await access.demand(accessKey, { operation: 's3:PutObject', action: 'write', bucket, key })
  const acl = fields.get('acl')
  if (acl !== undefined && acl !== 'private') throw new S3Error('NotImplemented', 'objects have no access lists here; the field acl takes private')
  const header = (name: string): string | undefined => fields.get(name)
  demandPlain({ header, headers: Object.fromEntries(fields) })
  await demandBeside({ header, bucket, key, demand: async (what) => access.demand(accessKey, what) })
  const tagging = fields.get('tagging')
  if (tagging !== undefined) await access.demand(accessKey, { operation: 's3:PutObjectTagging', action: 'write', bucket, key })
  const tags = tagging === undefined ? undefined : tagsOf(parseXml(Buffer.from(tagging), 'Tagging'))
  const expected = digestsIn(fields)
  const metadata = [...fields].flatMap(([name, value]) => name.startsWith('x-amz-meta-') ? [[name.slice('x-amz-meta-'.length), value] as const] : [])
  const headers = systemHeaderNames.flatMap((name) => { const value = fields.get(name === 'website-redirect-location' ? `x-amz-${name}` : name); return value === undefined ? [] : [[name, value] as const] })
  const info = await objects.put({ bucket, key }, within(file, policy), {
    contentType: fields.get('content-type'), metadata: Object.fromEntries(metadata), headers: Object.fromEntries(headers), ...retentionIn({ header }), tags, wantsMd5: true,
    checksum: checksumAlgorithms.find((algorithm) => algorithm in expected), digests: Object.keys(expected) as DigestAlgorithm[], expected: () => expected, askedBy: askedBy({ accessKey }), signal,
  })
  answer(exchange, fields, { key, etag: `"${info.etag}"`, more: { ...versionHeader(info), ...checksumHeaders(info) } })
}

/** What the form says that the file's content has. @throws S3Error */
function digestsIn (fields: FormFields): Digests {
  demandKnownChecksums([...fields.keys()])
  const sums = checksumAlgorithms.flatMap((algorithm) => { const text = fields.get(`x-amz-checksum-${algorithm}`); return text === undefined ? [] : [[algorithm, digestIn(algorithm, text)] as const] })
  if (sums.length > 1) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- field. Multiple checksum types are not allowed.')
  const md5 = fields.get('content-md5')
  if (md5 !== undefined && Buffer.from(md5, 'base64').byteLength !== 16) throw new S3Error('InvalidDigest', 'Content-MD5 takes 16 bytes in base64')
  return { ...Object.fromEntries(sums), ...(md5 === undefined ? {} : { md5: Buffer.from(md5, 'base64') }) }
}

function answer (exchange: S3Exchange, fields: FormFields, { key, etag, more }: { key: string, etag: string, more: Record<string, string> }): void {
  const { bucket, response, header, isSecure } = exchange
  const location = `http${isSecure ? 's' : ''}://${header('host') ?? 'localhost'}/${bucket}/${encodedKey(key)}`
  const headers = { etag, location, ...more }
  const redirect = fields.get('success_action_redirect') ?? fields.get('redirect')
  if (redirect !== undefined && URL.canParse(redirect) && /^https?:/.test(redirect)) {
    const target = new URL(redirect)
    for (const [name, value] of Object.entries({ bucket, key, etag })) target.searchParams.set(name, value)
    sendNothing(exchange, 303, { ...headers, location: target.href })
  } else if (fields.get('success_action_status') === '201') {
    const body = Buffer.from(plainDocument('PostResponse', [element('Location', location), element('Bucket', bucket), element('Key', key), element('ETag', etag)]))
    response.writeHead(201, { ...headers, 'content-type': 'application/xml', 'content-length': body.byteLength }).end(body)
  } else sendNothing(exchange, fields.get('success_action_status') === '200' ? 200 : 204, headers)
}

async function * within (file: AsyncIterable<Uint8Array>, policy: PostPolicy | undefined): AsyncIterable<Uint8Array> {
  const { least, most } = policy?.range ?? { least: 0, most: Infinity }
  let length = 0
  try {
    for await (const piece of file) {
      length += piece.byteLength
      if (length > most) throw new S3Error('EntityTooLarge', `Your proposed upload exceeds the maximum allowed size of ${most} bytes`)
      yield piece
    }
  } catch (cause) {
    // the parser's own words: a file that is cut off is one
    throw cause instanceof S3Error ? cause : malformed('the file ends too early', cause)
  }
  if (length < least) throw new S3Error('EntityTooSmall', `Your proposed upload is smaller than the minimum allowed size of ${least} bytes`)
}

/** What stands before the file, and the file as it comes; nothing more of it is read once this is disposed. */
interface FormBeginning extends Disposable { readonly fields: FormFields, readonly file: AsyncIterable<Uint8Array>, readonly fileName: string }

/** What follows the file is not looked at. */
function beginningOf (exchange: S3Exchange): Promise<FormBeginning> {
  const { promise, resolve, reject } = Promise.withResolvers<FormBeginning>()
  const fields = new Map<string, string>()
  const form = parserOf(exchange)
  const source = Readable.from(sourceOf(exchange), { objectMode: false })
  let file: Readable | undefined
  let formBytes = 0
  const fail = (cause: unknown): void => {
    const error = cause instanceof S3Error ? cause : malformed('it ends too early', cause)
    file?.destroy(error)
    reject(error)
    source.unpipe(form)
  }
  form.on('field', (name: string, value: string, isNameCut: boolean, isValueCut: boolean) => {
    // what comes behind the file comes behind what was looked at
    if (file !== undefined) return
    formBytes += Buffer.byteLength(name) + Buffer.byteLength(value)
    if (isNameCut || isValueCut) fail(malformed('a field is too long'))
    else if (formBytes > formLimits.maxFormBytes) fail(new S3Error('MaxPostPreDataLengthExceededError', `the fields of a form before its file have at most ${formLimits.maxFormBytes} bytes together`))
    else fields.set(name.toLowerCase(), value)
  })
  form.on('fieldsLimit', () => { fail(malformed('it has too many fields')) })
  form.on('file', (_name: string, stream: BusboyFileStream, fileName: string) => {
    // of two the second is not looked at
    if (file !== undefined) { stream.resume(); return }
    file = stream
    // a form that is refused has its file read by nobody, and an error that nobody hears ends the node; whoever reads is told by fail, which destroys it
    stream.on('error', () => {})
    const end = (): void => { source.unpipe(form); source.destroy(); stream.destroy() }
    resolve({ [Symbol.dispose]: end, fields, file: stream, fileName: fileName.slice(Math.max(fileName.lastIndexOf('/'), fileName.lastIndexOf('\\')) + 1) })
  })
  form.on('finish', () => { reject(malformed('it has no file')) })
  form.on('error', fail)
  source.on('error', fail)
  source.pipe(form)
  return promise
}

function parserOf ({ request: { headers } }: S3Exchange): BusboyInstance {
  const { maxFields, maxFieldNameBytes, maxFieldBytes } = formLimits
  try {
    return new Busboy({ headers: headers as BusboyHeaders, limits: { fields: maxFields, fieldNameSize: maxFieldNameBytes, fieldSize: maxFieldBytes, files: 1, parts: maxFields + 2, headerPairs: 32 } })
  } catch (cause) { throw malformed('its boundary is missing', cause) }
}

const malformed = (why: string, cause?: unknown): S3Error => new S3Error('MalformedPOSTRequest', `the form is not well-formed multipart/form-data: ${why}`, { cause })
