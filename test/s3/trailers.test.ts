import { createHash, createHmac } from 'node:crypto'
import aws4 from 'aws4'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digesters } from '../../src/base/checksums.ts'
import { type ChecksumAlgorithm, checksumAlgorithms } from '../../src/objects/index.ts'
import { askS3, type S3Answer, sendS3 } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'

/**
 * Bodies whose checksum comes behind them, through the whole door. The request is signed by aws4, and what no library at hand signs, the chunks and the trailer, is signed here by
 * the letter of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html: nothing of the verifier is used.
 */

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

interface Chain { readonly signingKey: Buffer, readonly date: string, readonly scope: string, readonly signature: string }

const nextOf = ({ signingKey, date, scope, signature }: Chain, kind: 'PAYLOAD' | 'TRAILER', hashes: readonly string[]): string =>
  hmac(signingKey, [`AWS4-HMAC-SHA256-${kind}`, date, scope, signature, ...hashes].join('\n')).toString('hex')

/** The chunks, the empty one, and the trailer with its signature. */
function framed (chunks: readonly Uint8Array[], trailer: string, first: Chain, lineEnd = '\r\n'): Buffer {
  let chain = first
  const parts = [...chunks, new Uint8Array(0)].flatMap((chunk) => {
    chain = { ...chain, signature: nextOf(chain, 'PAYLOAD', [sha256(''), sha256(chunk)]) }
    return [Buffer.from(`${chunk.byteLength.toString(16)};chunk-signature=${chain.signature}\r\n`), chunk, ...(chunk.byteLength === 0 ? [] : [Buffer.from('\r\n')])]
  })
  return Buffer.concat([...parts, Buffer.from(`${trailer}${lineEnd}x-amz-trailer-signature:${nextOf(chain, 'TRAILER', [sha256(`${trailer}\n`)])}\r\n\r\n`)])
}

const unsigned = (chunks: readonly Uint8Array[], trailer: string): Buffer =>
  Buffer.concat([...chunks.flatMap((chunk) => [Buffer.from(`${chunk.byteLength.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]), Buffer.from(`0\r\n${trailer}\r\n\r\n`)])

const signingKeyOf = (secret: string, scope: string): Buffer => scope.split('/').reduce<Buffer | string>((key, part) => hmac(key, part), `AWS4${secret}`) as Buffer

test('what signs here gives what AWS has published', () => {
  const scope = '20130524/us-east-1/s3/aws4_request'
  const chain: Chain = { signingKey: signingKeyOf('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', scope), date: '20130524T000000Z', scope, signature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e' }
  const body = framed([Buffer.alloc(65_536, 'a'), Buffer.alloc(1024, 'a')], 'x-amz-checksum-crc32c:sOO8/Q==', chain).toString('latin1')
  for (const signature of ['b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2', '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7', '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992']) expect(body).toContain(`chunk-signature=${signature}\r\n`)
  expect(body).toContain('x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435')
})

let server: S3Server
beforeAll(async () => { server = await s3Server() })
afterAll(async () => { await server[Symbol.asyncDispose]() })

const chunks = [Buffer.alloc(65_536, 'abc'), Buffer.alloc(65_536, 'xyz'), Buffer.from('the end')]
const whole = Buffer.concat(chunks)
const checksumOf = (algorithm: ChecksumAlgorithm, bytes: Uint8Array = whole): string => {
  const digesting = digesters[algorithm]()
  digesting.update(bytes)
  return Buffer.from(digesting.digest()).toString('base64')
}
const crc32 = (): string => `x-amz-checksum-crc32:${checksumOf('crc32')}`

interface Sent {
  readonly algorithm?: ChecksumAlgorithm
  readonly isSigned?: boolean
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The body of it: as it should be, unless told otherwise. */
  readonly spoil?: (body: Buffer, chain: Chain) => Buffer
}

/** A PUT as a client sends it that learns the checksum while it sends. */
async function put (path: string, { algorithm = 'crc32', isSigned = true, headers = {}, spoil = (body) => body }: Sent = {}): Promise<S3Answer> {
  const { headers: signed = {} } = aws4.sign({
    service: 's3', region: 'us-east-1', method: 'PUT', host: `127.0.0.1:${server.port}`, path,
    headers: {
      'x-amz-content-sha256': isSigned ? 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER' : 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-trailer': `x-amz-checksum-${algorithm}`,
      'x-amz-decoded-content-length': String(whole.byteLength), 'content-encoding': 'aws-chunked', ...headers,
    },
  }, { accessKeyId: server.key.id, secretAccessKey: server.key.secret }) as { headers?: Record<string, string> }
  const [scope = '', signature = ''] = /Credential=[^/]+\/([^,]+),.*Signature=([0-9a-f]{64})/.exec(signed.Authorization ?? '')?.slice(1) ?? []
  const chain: Chain = { signingKey: signingKeyOf(server.key.secret, scope), date: signed['X-Amz-Date'] ?? '', scope, signature }
  const trailer = `x-amz-checksum-${algorithm}:${checksumOf(algorithm)}`
  const body = spoil(isSigned ? framed(chunks, trailer, chain) : unsigned(chunks, trailer), chain)
  return sendS3(server.port, 'PUT', path, { headers: { ...signed, 'content-length': String(body.byteLength) }, body })
}

const ask = (method: string, path: string, headers: Record<string, string> = {}): Promise<S3Answer> => askS3(server.port, method, path, { key: server.key, headers })
const replaced = (from: string, to: string) => (body: Buffer): Buffer => {
  const at = body.indexOf(from)
  if (at < 0) throw new Error(`the body has no ${from}`)
  return Buffer.concat([body.subarray(0, at), Buffer.from(to), body.subarray(at + from.length)])
}

describe.each([true, false])('a body with a trailer (chunks and trailer signed: %s)', (isSigned) => {
  test.each(checksumAlgorithms)('of %s is stored, with its checksum and without the framing', async (algorithm) => {
    const path = `/photos/${isSigned}-${algorithm}`
    expect(await put(path, { algorithm, isSigned })).toMatchObject({ status: 200, headers: { etag: `"${createHash('md5').update(whole).digest('hex')}"`, [`x-amz-checksum-${algorithm}`]: checksumOf(algorithm) } })
    const got = await ask('GET', path, { 'x-amz-checksum-mode': 'ENABLED' })
    expect([got.status, got.bytes.equals(whole), got.headers[`x-amz-checksum-${algorithm}`], got.headers['content-encoding']]).toEqual([200, true, checksumOf(algorithm), undefined])
  })

  test('as a part is stored too', async () => {
    const id = /<UploadId>([^<]*)</.exec((await ask('POST', `/photos/parts-${isSigned}?uploads=`, { 'x-amz-checksum-algorithm': 'CRC32' })).body)?.[1] ?? ''
    const part = await put(`/photos/parts-${isSigned}?partNumber=1&uploadId=${id}`, { isSigned })
    expect(part).toMatchObject({ status: 200, headers: { 'x-amz-checksum-crc32': checksumOf('crc32') } })
    const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.etag ?? ''}</ETag><ChecksumCRC32>${checksumOf('crc32')}</ChecksumCRC32></Part></CompleteMultipartUpload>`
    expect((await askS3(server.port, 'POST', `/photos/parts-${isSigned}?uploadId=${id}`, { key: server.key, body })).status).toBe(200)
    expect((await ask('GET', `/photos/parts-${isSigned}`)).bytes.equals(whole)).toBe(true)
  })

  const wrong: ReadonlyArray<readonly [string, Sent['spoil'], string]> = [
    ['another checksum than that of the content', isSigned ? (_, chain) => framed(chunks, `x-amz-checksum-crc32:${checksumOf('crc32', Buffer.from('x'))}`, chain) : replaced(crc32(), `x-amz-checksum-crc32:${checksumOf('crc32', Buffer.from('x'))}`), 'BadDigest'],
    ['no trailer, though one was announced', isSigned ? (body) => body.subarray(0, body.indexOf('x-amz-checksum')) : replaced(`${crc32()}\r\n`, ''), isSigned ? 'SignatureDoesNotMatch' : 'IncompleteBody'],
    ['a checksum of another kind than was announced', isSigned ? (_, chain) => framed(chunks, `x-amz-checksum-sha1:${checksumOf('sha1')}`, chain) : replaced(crc32(), `x-amz-checksum-sha1:${checksumOf('sha1')}`), 'MalformedTrailerError'],
    ['a checksum that is none', isSigned ? (_, chain) => framed(chunks, 'x-amz-checksum-crc32:AAAA', chain) : replaced(crc32(), 'x-amz-checksum-crc32:AAAA'), 'InvalidRequest'],
    ['a byte of the content changed', replaced('the end', 'the enD'), isSigned ? 'SignatureDoesNotMatch' : 'BadDigest'],
    ...(isSigned
      ? [
        ['a wrong signature of the trailer', (body: Buffer) => replaced(body.subarray(-10, -5).toString(), body.subarray(-10, -5).toString().replaceAll(/./g, (digit) => digit === '0' ? '1' : '0'))(body), 'SignatureDoesNotMatch'],
        ['a trailer that was changed after it was signed', replaced(crc32(), `x-amz-checksum-crc32:${checksumOf('crc32', Buffer.from('x'))}`), 'SignatureDoesNotMatch'],
        ['a trailer without a signature', (body: Buffer) => Buffer.concat([body.subarray(0, body.indexOf('x-amz-trailer-signature')), Buffer.from('\r\n')]), 'SignatureDoesNotMatch'],
        ['the signature of the last chunk as that of the trailer', (body: Buffer) => { const text = body.toString('latin1'); const last = /\r\n0;chunk-signature=([0-9a-f]{64})/.exec(text)?.[1] ?? ''; return Buffer.from(text.replace(/x-amz-trailer-signature:[0-9a-f]{64}/, `x-amz-trailer-signature:${last}`), 'latin1') }, 'SignatureDoesNotMatch'],
        ['chunks of another request', (_: Buffer, chain: Chain) => framed(chunks, crc32(), { ...chain, signature: sha256('another') }), 'SignatureDoesNotMatch'],
        ['chunks and trailer without any signature', () => unsigned(chunks, crc32()), 'SignatureDoesNotMatch'],
      ] as const
      : []),
  ]
  test.each(wrong)('with %s is refused, and nothing is stored', async (name, spoil, code) => {
    const path = `/photos/${encodeURIComponent(`${isSigned} ${name}`)}`
    const refused = await put(path, { isSigned, spoil })
    expect([refused.code, refused.status]).toEqual([code, code === 'SignatureDoesNotMatch' ? 403 : 400])
    expect((await ask('HEAD', path)).status).toBe(404)
    // what was there stays
    await askS3(server.port, 'PUT', path, { key: server.key, body: 'before' })
    expect((await put(path, { isSigned, spoil })).code).toBe(code)
    expect((await ask('GET', path)).body).toBe('before')
  })
})
