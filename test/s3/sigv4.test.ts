import { createHash, createHmac, type Hash } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import aws4 from 'aws4'
import { AwsV4Signer } from 'aws4fetch'
import { describe, expect, test } from 'vitest'
import { canonicalPath, canonicalPaths, encodedKey, type SignedRequest } from '../../src/api/s3/canonical.ts'
import { authenticate, type SigningRules } from '../../src/api/s3/sigv4.ts'

const accessKeyId = 'AKIAIOSFODNN7EXAMPLE'
const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const nowMs = Date.UTC(2013, 4, 24)
const rules: SigningRules = { nowMs, secretOf: async (id) => id === accessKeyId ? secret : undefined }

const rawOf = (headers: Readonly<Record<string, string>>): string[] => Object.entries(headers).flatMap(([name, value]) => [name, String(value)])
const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')
const request = (method: string, url: string, headers: Readonly<Record<string, string>>): SignedRequest => {
  const at = url.indexOf('?')
  return { method, path: at < 0 ? url : url.slice(0, at), query: at < 0 ? '' : url.slice(at + 1), rawHeaders: rawOf(headers) }
}
const codeOf = async (asked: SignedRequest, changed: Partial<SigningRules> = {}): Promise<string> => {
  try { await authenticate(asked, { ...rules, ...changed }) } catch (error) { return (error as { code: string }).code }
  return 'accepted'
}
const authorization = (signedHeaders: string, signature: string): string => `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signedHeaders},Signature=${signature}`
const empty = hashOf('')

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and sigv4-query-string-auth.html
const published: ReadonlyArray<readonly [string, SignedRequest]> = [
  ['GET with a range', request('GET', '/test.txt', {
    Host: 'examplebucket.s3.amazonaws.com', Range: 'bytes=0-9', 'x-amz-content-sha256': empty, 'x-amz-date': '20130524T000000Z',
    Authorization: authorization('host;range;x-amz-content-sha256;x-amz-date', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'),
  })],
  ['PUT with a storage class', request('PUT', '/test%24file.text', {
    Host: 'examplebucket.s3.amazonaws.com', Date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-content-sha256': hashOf('Welcome to Amazon S3.'), 'x-amz-date': '20130524T000000Z', 'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    Authorization: authorization('date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class', '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'),
  })],
  ['GET ?lifecycle', request('GET', '/?lifecycle', {
    Host: 'examplebucket.s3.amazonaws.com', 'x-amz-content-sha256': empty, 'x-amz-date': '20130524T000000Z',
    Authorization: authorization('host;x-amz-content-sha256;x-amz-date', 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'),
  })],
  ['a list', request('GET', '/?max-keys=2&prefix=J', {
    Host: 'examplebucket.s3.amazonaws.com', 'x-amz-content-sha256': empty, 'x-amz-date': '20130524T000000Z',
    Authorization: authorization('host;x-amz-content-sha256;x-amz-date', '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'),
  })],
  ['a presigned GET', request('GET', `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${accessKeyId}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`, {
    Host: 'examplebucket.s3.amazonaws.com',
  })],
]

describe('signatures that AWS has published', () => {
  test.each(published)('%s is accepted, and refused with one bit changed', async (_name, asked) => {
    expect(await authenticate(asked, rules)).toMatchObject({ accessKeyId, region: 'us-east-1' })
    const otherPath = { ...asked, path: `${asked.path}x` }
    expect(await codeOf(otherPath)).toBe('SignatureDoesNotMatch')
    expect(await codeOf({ ...asked, method: 'DELETE' })).toBe('SignatureDoesNotMatch')
    expect(await codeOf(asked, { secretOf: async () => `${secret}x` })).toBe('SignatureDoesNotMatch')
  })
})

const keys = ['plain.txt', 'b c+d=é', 'x&y?z#1', 'a/b%2Fc', 'tilde~star*paren(1)\'q\'!', '日本/語', 'a//b', 'dir/', '😀', '%41%zz', 'semi;colon:@$,', '../..', './x', 'ends with space ']

describe('what independent signers sign', () => {
  const region = 'eu-central-1'
  const atMs = Date.UTC(2026, 10, 5, 12, 30, 15)
  const date = new Date(atMs)
  const amzDate = '20261105T123015Z'
  const late = { nowMs: atMs }

  test.each(keys)('aws4: %j', async (key) => {
    const path = `/bucket/${encodedKey(key)}?uploadId=a%2Bb&partNumber=1&x-id=UploadPart`
    const signed = aws4.sign({ service: 's3', region, method: 'PUT', host: 'localhost:4202', path, body: 'hello', headers: { 'X-Amz-Date': amzDate, 'Content-Type': 'text/plain' } }, { accessKeyId, secretAccessKey: secret })
    expect(await authenticate(request('PUT', path, signed.headers as Record<string, string>), { ...rules, ...late })).toMatchObject({ region, payload: hashOf('hello'), isPresigned: false })
    const presigned = aws4.sign({ service: 's3', region, method: 'GET', host: 'localhost:4202', path: `/bucket/${encodedKey(key)}?X-Amz-Expires=300&X-Amz-Date=${amzDate}`, signQuery: true }, { accessKeyId, secretAccessKey: secret })
    expect(await authenticate(request('GET', presigned.path ?? '', { host: 'localhost:4202' }), { ...rules, ...late })).toMatchObject({ isPresigned: true, payload: 'UNSIGNED-PAYLOAD' })
  })

  class Sha256 {
    readonly #hash: Pick<Hash, 'update' | 'digest'>
    constructor (secretKey?: string | Uint8Array) { this.#hash = secretKey === undefined ? createHash('sha256') : createHmac('sha256', secretKey) as unknown as Hash }
    update (bytes: Uint8Array): void { this.#hash.update(bytes) }
    async digest (): Promise<Uint8Array> { return this.#hash.digest() }
  }

  test.each(keys)('@smithy/signature-v4: %j', async (key) => {
    const signer = new SignatureV4({ service: 's3', region, credentials: { accessKeyId, secretAccessKey: secret }, sha256: Sha256 as never, uriEscapePath: false, applyChecksum: true })
    const path = `/bucket/${encodedKey(key)}`
    const asked = { method: 'GET', protocol: 'http:', hostname: 'localhost', port: 4202, path, query: { 'list-type': '2', prefix: 'é +', delimiter: '' }, headers: { host: 'localhost:4202', 'x-amz-meta-a': '  two   spaces ' } }
    const query = 'list-type=2&prefix=%C3%A9%20%2B&delimiter='
    const signed = await signer.sign(asked, { signingDate: date })
    expect(await authenticate(request('GET', `${path}?${query}`, signed.headers), { ...rules, ...late })).toMatchObject({ region })
    const presigned = await signer.presign({ ...asked, headers: { host: 'localhost:4202', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }, { signingDate: date, expiresIn: 600 })
    const text = Object.entries(presigned.query ?? {}).map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`).join('&')
    expect(await authenticate(request('GET', `${path}?${text}`, presigned.headers), { ...rules, ...late })).toMatchObject({ isPresigned: true })
  })

  // it gives URLs to fetch, which resolves dots
  test.each(keys.filter((key) => !key.includes('./') && !key.includes('..')))('aws4fetch: %j', async (key) => {
    const signer = new AwsV4Signer({ method: 'GET', url: `http://localhost:4202/bucket/${encodedKey(key)}?prefix=a%20b`, accessKeyId, secretAccessKey: secret, service: 's3', region, datetime: amzDate })
    const { url, headers } = await signer.sign()
    const sent = { host: 'localhost:4202', ...Object.fromEntries(headers as unknown as Iterable<[string, string]>) }
    expect(await authenticate(request('GET', url.pathname + url.search, sent), { ...rules, ...late })).toMatchObject({ region })
  })
})

describe('what is refused, and in which words', () => {
  const [, ranged] = published[0] as readonly [string, SignedRequest]
  const [, presigned] = published[4] as readonly [string, SignedRequest]
  const withHeader = (asked: SignedRequest, name: string, value: string): SignedRequest => ({ ...asked, rawHeaders: [...asked.rawHeaders, name, value] })
  const replaced = (asked: SignedRequest, name: string, value: string): SignedRequest => ({ ...asked, rawHeaders: asked.rawHeaders.map((text, i) => asked.rawHeaders[i - 1] === name ? value : text) })

  test.each<readonly [string, SignedRequest, Partial<SigningRules>, string]>([
    ['an unknown key', ranged, { secretOf: async () => undefined }, 'InvalidAccessKeyId'],
    ['a clock that is 16 minutes off', ranged, { nowMs: nowMs + 16 * 60_000 }, 'RequestTimeTooSkewed'],
    ['a clock that is 16 minutes behind', ranged, { nowMs: nowMs - 16 * 60_000 }, 'RequestTimeTooSkewed'],
    ['another region', ranged, { region: 'garage' }, 'AuthorizationHeaderMalformed'],
    ['a presigned URL of another region', presigned, { region: 'garage' }, 'AuthorizationQueryParametersError'],
    ['a presigned URL that has expired', presigned, { nowMs: nowMs + 86_401_000 }, 'AccessDenied'],
    ['a presigned URL of tomorrow', presigned, { nowMs: nowMs - 86_400_000 }, 'AccessDenied'],
    ['a presigned URL for more than a week', { ...presigned, query: presigned.query.replace('86400', '604801') }, {}, 'AuthorizationQueryParametersError'],
    ['two signatures at once', withHeader(presigned, 'Authorization', 'AWS4-HMAC-SHA256 x'), {}, 'InvalidArgument'],
    ['a header x-amz-… that is not signed', withHeader(ranged, 'x-amz-acl', 'public-read'), {}, 'AccessDenied'],
    ['an unsigned host', replaced(ranged, 'Authorization', authorization('range;x-amz-content-sha256;x-amz-date', '00')), {}, 'AccessDenied'],
    ['a second Host', withHeader(ranged, 'Host', 'other'), {}, 'SignatureDoesNotMatch'],
    ['a signature of another length', replaced(ranged, 'Authorization', authorization('host;range;x-amz-content-sha256;x-amz-date', 'f0e8')), {}, 'SignatureDoesNotMatch'],
    ['another date in the credential', replaced(ranged, 'x-amz-date', '20130525T000000Z'), { nowMs: nowMs + 86_400_000 }, 'AuthorizationHeaderMalformed'],
    ['no date', replaced(ranged, 'x-amz-date', 'yesterday'), {}, 'AccessDenied'],
    ['a body without its hash', request('PUT', '/b/k', { Host: 'h', 'Content-Length': '4', 'x-amz-date': '20130524T000000Z', Authorization: authorization('host;x-amz-date', '00') }), {}, 'InvalidRequest'],
    ['Basic authorization', request('GET', '/', { Host: 'h', Authorization: 'Basic eDp5' }), {}, 'InvalidRequest'],
    ['a credential that is none', request('GET', '/', { Host: 'h', Authorization: 'AWS4-HMAC-SHA256 Credential=x,SignedHeaders=host,Signature=y' }), {}, 'AuthorizationHeaderMalformed'],
  ])('%s', async (_name, asked, changed, code) => {
    expect(await codeOf(asked, changed)).toBe(code)
  })

  test('Signature Version 2 is told what to set', async () => {
    const message = 'signature_version = s3v4'
    await expect(authenticate(request('GET', '/b/k?AWSAccessKeyId=A&Expires=1&Signature=x', { Host: 'h' }), rules)).rejects.toThrow(message)
    await expect(authenticate(request('GET', '/b/k', { Host: 'h', Authorization: 'AWS A:x' }), rules)).rejects.toThrow(message)
  })

  test('an encoded slash is signed as it stands, or as a slash', () => {
    expect(canonicalPaths('/b/x%2fy%2F')).toEqual(['/b/x%2Fy%2F', '/b/x/y/'])
    expect(canonicalPaths('/b/x/y')).toEqual(['/b/x/y'])
  })

  test('who signs nothing is nobody', async () => {
    expect(await authenticate(request('GET', '/b/k', { Host: 'h' }), rules)).toBeUndefined()
  })

  test('the canonical path normalises nothing', () => {
    expect(canonicalPath('/b//a/../%2e/%41+~é'.replace('é', '%C3%A9'))).toBe('/b//a/.././A%2B~%C3%A9')
  })
})
