import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { S3Exchange } from '../../src/api/s3/exchange.ts'
import { formLimits, postObject } from '../../src/api/s3/post-form.ts'
import { signingKeyOf } from '../../src/api/s3/sigv4.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { PutOptions, SecretAccessKey } from '../../src/objects/index.ts'
import { type S3Answer, sendS3 } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'

let server: S3Server
beforeAll(async () => { server = await s3Server() })
afterAll(async () => { await server[Symbol.asyncDispose]() })

const timestamp = (): string => new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
type Fields = Readonly<Record<string, string>>

/** A form signed for what it has. */
function signed (conditions: readonly unknown[], fields: Fields, { expiresMs = 60_000, expiration = new Date(Date.now() + expiresMs).toISOString(), secret = server.key.secret, id = server.key.id }: { expiresMs?: number, expiration?: string, secret?: string, id?: string } = {}): Fields {
  const at = timestamp()
  const date = at.slice(0, 8)
  const own = { 'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-credential': `${id}/${date}/us-east-1/s3/aws4_request`, 'x-amz-date': at }
  const policy = Buffer.from(JSON.stringify({ expiration, conditions: [...conditions, ...Object.entries(own).map(([name, value]) => ({ [name]: value }))] })).toString('base64')
  return { ...fields, ...own, policy, 'x-amz-signature': createHmac('sha256', signingKeyOf(secret, { date, region: 'us-east-1' })).update(policy).digest('hex') }
}

function post (fields: Fields, file: string | undefined = 'the file', { path = '/photos', boundary = 'XXboundaryXX', cut = 0, port = server.port }: { path?: string, boundary?: string, cut?: number, port?: number } = {}): Promise<S3Answer> {
  const part = (name: string, value: string, more = ''): string => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
  const body = Object.entries(fields).map(([name, value]) => part(name, value)).join('') + (file === undefined ? '' : part('file', file, '; filename="C:\\dir\\cat.jpg"\r\nContent-Type: image/jpeg')) + `--${boundary}--\r\n`
  return sendS3(port, 'POST', path, { headers: { host: `127.0.0.1:${port}`, 'content-type': `multipart/form-data; boundary=${boundary}` }, body: cut === 0 ? body : body.slice(0, -cut) })
}

const usual = [{ bucket: 'photos' }, ['starts-with', '$key', 'up/'], ['starts-with', '$Content-Type', 'image/'], { success_action_status: '201' }, ['content-length-range', 1, 20]]
const usualFields = { key: 'up/${filename}', 'Content-Type': 'image/jpeg', success_action_status: '201' }

describe('a form in a web page', () => {
  test('stores a file under a signed policy, and is told where', async () => {
    const answer = await post(signed(usual, usualFields))
    expect(answer).toMatchObject({ status: 201, headers: { location: `http://127.0.0.1:${server.port}/photos/up/cat.jpg` } })
    expect(answer.body).toContain('<Key>up/cat.jpg</Key>')
    expect(await server.objects.head({ bucket: 'photos', key: 'up/cat.jpg' })).toMatchObject({ sizeBytes: 8, contentType: 'image/jpeg' })
  })

  test('has the signature of the example that AWS has published, and with another policy has not', async () => {
    const policy = Buffer.from([
      '{ "expiration": "2015-12-30T12:00:00.000Z",', '  "conditions": [', '    {"bucket": "sigv4examplebucket"},', '    ["starts-with", "$key", "user/user1/"],', '    {"acl": "public-read"},',
      '    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},', '    ["starts-with", "$Content-Type", "image/"],', '    {"x-amz-meta-uuid": "14365123651274"},',
      '    {"x-amz-server-side-encryption": "AES256"},', '    ["starts-with", "$x-amz-meta-tag", ""],', '', '    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},',
      '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},', '    {"x-amz-date": "20151229T000000Z" }', '  ]', '}',
    ].join('\r\n')).toString('base64')
    const fields = {
      key: 'user/user1/${filename}', acl: 'public-read', success_action_redirect: 'http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html', 'Content-Type': 'image/jpeg', 'x-amz-meta-uuid': '14365123651274',
      'x-amz-server-side-encryption': 'AES256', 'x-amz-credential': 'AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request', 'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-date': '20151229T000000Z', 'x-amz-meta-tag': '', policy,
      'x-amz-signature': '8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e',
    }
    const { keys, key } = server
    const then: Clock = { ...systemClock, wallMs: () => Date.UTC(2015, 11, 29, 1) }
    const examples = async (): ReturnType<typeof keys.find> => ({ ...await keys.find(key.id) as SecretAccessKey, id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' })
    await using at = await s3Server({ face: { node: { objects: server.objects, keys: { ...keys, find: examples } }, clock: then } })
    // it asks for what is not there, which is looked at behind the signature
    expect(await post(fields, 'the file', { port: at.port, path: '/sigv4examplebucket' })).toMatchObject({ status: 501, code: 'NotImplemented' })
    const other = Buffer.from(Buffer.from(policy, 'base64').toString().replace('user/user1/', 'user/user2/')).toString('base64')
    expect((await post({ ...fields, key: 'user/user2/x', policy: other }, 'x', { port: at.port, path: '/sigv4examplebucket' })).code).toBe('SignatureDoesNotMatch')
  })

  test('is not taken by a policy whose expiration is no date, and every length that it says holds', async () => {
    for (const expiration of ['45', '2999', 'Thu, 01 Jan 2999 00:00:00 GMT', '2999-01-01T00:00:00', '2999-02-30T00:00:00Z']) expect((await post(signed(usual, usualFields, { expiration }))).code, expiration).toBe('InvalidPolicyDocument')
    expect((await post(signed(usual, usualFields, { expiration: '2999-01-01T00:00:00Z' }))).status).toBe(201)
    expect((await post(signed([...usual, ['content-length-range', 0, 1000]], usualFields), 'more than twenty bytes of it')).code).toBe('EntityTooLarge')
    expect((await post(signed([['content-length-range', 10, 1000], ...usual], usualFields), 'short')).code).toBe('EntityTooSmall')
  })

  test('of a stranger is not kept in memory: what stands before the file is little, all fields together', async () => {
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('POST /photos HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 9999999\r\n\r\n')
    for (let i = 0; i < 4; i++) socket.write(`--x\r\ncontent-disposition: form-data; name="x-ignore-${i}"\r\n\r\n${'y'.repeat(formLimits.maxFieldBytes - 1)}\r\n`)
    const [answer] = await once(socket, 'data') as [Buffer]
    socket.destroy()
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 [^]*<Code>MaxPostPreDataLengthExceededError</)
  })

  test('is sent where the policy lets it be sent', async () => {
    const fields = { key: 'up/x', success_action_redirect: 'https://a.example/done?x=1' }
    const answer = await post(signed([{ bucket: 'photos' }, ['eq', '$key', 'up/x'], ['eq', '$success_action_redirect', fields.success_action_redirect]], fields))
    expect(answer).toMatchObject({ status: 303, headers: { location: expect.stringMatching(/^https:\/\/a\.example\/done\?x=1&bucket=photos&key=up%2Fx&etag=/) as string } })
  })

  test('may hold metadata, when the policy says so', async () => {
    expect((await post(signed([...usual, { 'x-amz-meta-who': 'me' }], { ...usualFields, 'x-amz-meta-who': 'me', key: 'up/meta' }))).status).toBe(201)
    expect((await server.objects.head({ bucket: 'photos', key: 'up/meta' })).metadata).toEqual({ who: 'me' })
  })

  const more = (fields: Fields, file?: string): Promise<S3Answer> => post(signed([...usual, ...Object.entries(fields).map(([name, value]) => ({ [name]: value }))], { ...usualFields, ...fields, key: 'up/more' }), file)

  test('is held to what it says of its file', async () => {
    const [right, sum] = [createHash('md5').update('the file').digest('base64'), createHash('sha256').update('the file').digest('base64')]
    expect((await more({ 'Content-MD5': right, 'x-amz-checksum-sha256': sum })).status).toBe(201)
    expect((await server.objects.head({ bucket: 'photos', key: 'up/more' })).attributes.checksum?.algorithm).toBe('sha256')
  })

  test('may tag what it stores, as XML', async () => {
    expect((await more({ tagging: '<Tagging><TagSet><Tag><Key>a</Key><Value>b + c</Value></Tag></TagSet></Tagging>' })).status).toBe(201)
    expect((await server.objects.head({ bucket: 'photos', key: 'up/more' })).attributes.tags).toEqual([['a', 'b + c']])
  })

  test('may lock what it stores, where the bucket has locks', async () => {
    await server.objects.createBucket('locked', { settings: { versioning: 'enabled', objectLock: {} } })
    const lock = { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': new Date(Date.now() + 3_600_000).toISOString() }
    const conditions = [{ bucket: 'locked' }, ...usual.slice(1), ...Object.entries(lock).map(([name, value]) => ({ [name]: value }))]
    expect((await post(signed(conditions, { ...usualFields, ...lock }), 'the file', { path: '/locked' })).status).toBe(201)
    expect((await server.objects.head({ bucket: 'locked', key: 'up/cat.jpg' })).attributes.retention?.mode).toBe('compliance')
  })

  test.each<readonly [string, () => Promise<S3Answer>, string]>([
    ['another MD5 than it says', async () => more({ 'Content-MD5': createHash('md5').update('x').digest('base64') }), 'BadDigest'],
    ['an MD5 that is none', async () => more({ 'Content-MD5': 'x' }), 'InvalidDigest'],
    ['another checksum than it says', async () => more({ 'x-amz-checksum-crc32': 'AAAAAA==' }), 'BadDigest'],
    ['tags that are no XML', async () => more({ tagging: 'a=b' }), 'MalformedXML'],
    ['an access list', async () => more({ acl: 'public-read' }), 'NotImplemented'],
    ['a checksum that is not known', async () => more({ 'x-amz-checksum-md5': 'x' }), 'InvalidRequest'],
    ['several types, of which the policy allows the first alone', async () => post(signed(usual, { ...usualFields, 'Content-Type': 'image/png,text/html' })), 'AccessDenied'],
    ['two checksums', async () => more({ 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-crc32c': 'AAAAAA==' }), 'InvalidRequest'],
    ['keys of a KMS', async () => more({ 'x-amz-server-side-encryption': 'aws:kms' }), 'NotImplemented'],
    ['keys of the client', async () => more({ 'x-amz-server-side-encryption-customer-algorithm': 'AES256' }), 'NotImplemented'],
    ['a lock where there are none', async () => more({ 'x-amz-object-lock-legal-hold': 'ON' }), 'InvalidRequest'],
    ['no signature', async () => post({ key: 'up/x' }), 'AccessDenied'],
    ['another secret', async () => post(signed(usual, usualFields, { secret: 'x' })), 'SignatureDoesNotMatch'],
    ['a policy that has expired', async () => post(signed(usual, usualFields, { expiresMs: -1000 })), 'AccessDenied'],
    ['another key', async () => post(signed(usual, { ...usualFields, key: 'down/x' })), 'AccessDenied'],
    ['another bucket', async () => post(signed([{ bucket: 'other' }, ...usual.slice(1)], usualFields)), 'AccessDenied'],
    ['a field that the policy does not name', async () => post(signed(usual, { ...usualFields, 'x-amz-meta-a': 'b' })), 'AccessDenied'],
    ['a file that is too long', async () => post(signed(usual, usualFields), 'x'.repeat(21)), 'EntityTooLarge'],
    ['a file that is too short', async () => post(signed(usual, usualFields), ''), 'EntityTooSmall'],
    ['no key', async () => post(signed([{ bucket: 'photos' }], {})), 'InvalidArgument'],
    ['a policy that is none', async () => post({ ...signed(usual, usualFields), policy: 'x' }), 'SignatureDoesNotMatch'],
    ['a field without end', async () => post({ key: 'x'.repeat(formLimits.maxFieldBytes + 1) }), 'MalformedPOSTRequest'],
    ['fields without end', async () => post(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`field-${i}`, 'x']))), 'MalformedPOSTRequest'],
    ['an end that does not come', async () => post(signed(usual, { ...usualFields, key: 'up/cut' }), 'the file', { cut: 20 }), 'MalformedPOSTRequest'],
    ['a form of Signature Version 2', async () => post({ key: 'up/x', AWSAccessKeyId: 'x', policy: 'x', signature: 'x' }), 'InvalidRequest'],
  ])('with %s stores nothing', async (_name, send, code) => {
    const before = await server.objects.list('photos')
    expect((await send()).code).toBe(code)
    expect(await server.objects.list('photos')).toEqual(before)
  })

  test('says nothing behind its file: what comes while the policy is looked at is not under it', async () => {
    const fields = signed([{ bucket: 'photos' }, ['eq', '$key', 'up/x'], ['eq', '$Content-Type', 'image/jpeg']], { key: 'up/x', 'Content-Type': 'image/jpeg' })
    const part = (name: string, value: string, more = ''): string => `--B\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
    const [asked, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const body = Readable.from((async function * () {
      yield Buffer.from(Object.entries(fields).map(([name, value]) => part(name, value)).join('') + part('file', 'the file', '; filename="x"'))
      await asked.promise
      yield Buffer.from(`${part('Content-Type', 'text/html')}${part('x-amz-meta-a', 'b')}--B--\r\n`)
      // asked for more: that has been read
      late.resolve()
    })())
    const puts: PutOptions[] = []
    const objects = { put: async (_: unknown, file: AsyncIterable<Uint8Array>, options: PutOptions) => { puts.push(options); for await (const _piece of file); return { etag: 'e', versionId: 'v', isNullVersion: true, attributes: {} } } }
    const request = Object.assign(body, { headers: { 'content-type': 'multipart/form-data; boundary=B' } })
    const response = { writeHead: () => response, end: () => response }
    const exchange = { node: { objects }, bucket: 'photos', request, response, header: () => undefined, note () {}, goOn () {}, clock: systemClock } as unknown as S3Exchange
    await postObject(exchange, { region: undefined, admitted: async () => server.key, demand: async () => {}, secretOf: async () => { asked.resolve(); await late.promise; return server.key.secret } })
    expect(puts).toMatchObject([{ contentType: 'image/jpeg', metadata: {} }])
  })

  test.each(['the connection ends there', 'the rest comes later, and is none'] as const)('that is refused before its file has come does not end the node, when %s', async (how) => {
    const thrown: unknown[] = []
    const uncaught = (error: unknown): void => { thrown.push(error) }
    process.prependListener('uncaughtException', uncaught)
    try {
      const socket = connect(server.port, '127.0.0.1')
      const half = '--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
      let answer = ''
      const closed = once(socket, 'close')
      socket.on('data', (bytes) => { answer += bytes.toString() }).on('error', () => {})
      socket.write(`POST /photos HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: ${half.length + 20}\r\n\r\n${half}`)
      await expect.poll(() => answer).toContain('403 Forbidden')
      if (how === 'the connection ends there') socket.destroy()
      else socket.end('\r\n--B-'.padEnd(20, 'x'))
      await closed
      await server.objects.list('photos')
      expect((await post({ key: 'up/x' })).code).toBe('AccessDenied')
      expect(thrown).toEqual([])
    } finally {
      process.off('uncaughtException', uncaught)
    }
  })

  test('that breaks off while its policy is looked at is not stored as far as it came', async () => {
    const fields = signed([{ bucket: 'photos' }, ['eq', '$key', 'up/x']], { key: 'up/x' })
    const [asked, broken] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const body = Readable.from((async function * () {
      yield Buffer.from(`${Object.entries(fields).map(([name, value]) => `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`).join('')}--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nthe fi`)
      await asked.promise
    })()).once('close', () => { setImmediate(broken.resolve) })
    const objects = { put: async (_: unknown, file: AsyncIterable<Uint8Array>) => { for await (const _piece of file); throw new Error('it was taken for whole') } }
    const exchange = { node: { objects }, bucket: 'photos', request: Object.assign(body, { headers: { 'content-type': 'multipart/form-data; boundary=B' } }), header: () => undefined, note () {}, goOn () {}, signal: new AbortController().signal, clock: systemClock } as unknown as S3Exchange
    const posted = postObject(exchange, { region: undefined, admitted: async () => server.key, demand: async () => {}, secretOf: async () => { asked.resolve(); await broken.promise; return server.key.secret } })
    await expect(posted).rejects.toMatchObject({ code: 'MalformedPOSTRequest' })
  })

  test('shows wrong secrets as often as any other request', async () => {
    await using other = await s3Server({ listener: { rates: { failures: { perSecond: 0.001, burst: 2 } } } })
    const wrong = async (): Promise<string | undefined> => (await post(signed(usual, usualFields, { secret: 'x', id: other.key.id }), 'the file', { port: other.port })).code
    expect([await wrong(), await wrong(), await wrong()]).toEqual(['SignatureDoesNotMatch', 'SignatureDoesNotMatch', 'SlowDown'])
  })

  test('without a file is not well-formed', async () => {
    const boundary = 'B'
    const answer = await sendS3(server.port, 'POST', '/photos', { headers: { host: `127.0.0.1:${server.port}`, 'content-type': `multipart/form-data; boundary=${boundary}` }, body: `--${boundary}\r\nContent-Disposition: form-data; name="key"\r\n\r\nx\r\n--${boundary}--\r\n` })
    expect(answer.code).toBe('MalformedPOSTRequest')
    const without = await sendS3(server.port, 'POST', '/photos', { headers: { host: `127.0.0.1:${server.port}`, 'content-type': 'multipart/form-data' }, body: 'x' })
    expect(without.code).toBe('MalformedPOSTRequest')
  })
})
