import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digesters } from '../../src/base/checksums.ts'
import { Corrupt, Refused, StoreFull, Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { confirmBucket } from '../../src/objects/commit.ts'
import { objectStore } from '../../src/objects/index.ts'
import { askS3, type S3Answer, type S3Ask } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'

let server: S3Server
beforeAll(async () => { server = await s3Server({ face: { hosts: ['s3.example.org', '*.s3.example.org'] }, listener: { hosts: ['s3.example.org', '*.s3.example.org'] } }) })
afterAll(async () => { await server[Symbol.asyncDispose]() })

const ask = (method: string, path: string, options: S3Ask = {}): Promise<S3Answer> => askS3(server.port, method, path, { key: server.key, ...options })
const put = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<S3Answer> => ask('PUT', path, { body, headers })
const texts = (xml: string, name: string): string[] => [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, text]) => text ?? '')

const crc32Of = (text: string): Uint8Array => { const sum = digesters.crc32(); sum.update(Buffer.from(text)); return sum.digest() }

describe('buckets', () => {
  test('are made, found, listed, located and removed, with a slash behind the name or without', async () => {
    for (const [name, path] of [['bare-bucket', '/bare-bucket'], ['slash-bucket', '/slash-bucket/']] as const) {
      expect(await ask('PUT', path)).toMatchObject({ status: 200, headers: { location: `/${name}` } })
      expect((await ask('HEAD', path)).status).toBe(200)
      expect((await ask('GET', `${path}?location`)).body).toContain('LocationConstraint')
      expect(texts((await ask('GET', '/')).body, 'Name')).toContain(name)
      expect((await ask('DELETE', path)).status).toBe(204)
      expect(await ask('HEAD', path)).toMatchObject({ status: 404, body: '', headers: { 'x-amz-error-code': 'NoSuchBucket' } })
      expect(await ask('GET', path)).toMatchObject({ status: 404, code: 'NoSuchBucket' })
    }
  })

  test('are listed by their beginning, page by page', async () => {
    for (const name of ['paged-a', 'paged-b', 'paged-c']) await ask('PUT', `/${name}`)
    const first = await ask('GET', '/?prefix=paged-&max-buckets=2')
    expect([texts(first.body, 'Name'), texts(first.body, 'Prefix')]).toEqual([['paged-a', 'paged-b'], ['paged-']])
    const rest = await ask('GET', `/?prefix=paged-&max-buckets=2&continuation-token=${texts(first.body, 'ContinuationToken')[0]}`)
    expect([texts(rest.body, 'Name'), texts(rest.body, 'ContinuationToken')]).toEqual([['paged-c'], []])
    expect((await ask('GET', '/?max-buckets=0')).status).toBe(400)
  })

  test('one that is there already is told as ours', async () => {
    expect(await ask('PUT', '/photos')).toMatchObject({ status: 409, code: 'BucketAlreadyOwnedByYou' })
    const other = await server.keyWith([{ bucket: 'mine', prefix: '', actions: ['admin'] }])
    expect(await ask('PUT', '/photos', { key: other })).toMatchObject({ status: 403, code: 'AccessDenied' })
  })

  test('are not removed with objects in them, and not named as they may not be', async () => {
    await ask('PUT', '/full-bucket')
    await put('/full-bucket/x', 'x')
    expect(await ask('DELETE', '/full-bucket')).toMatchObject({ status: 409, code: 'BucketNotEmpty' })
    expect(await ask('PUT', '/Upper')).toMatchObject({ status: 400, code: 'InvalidBucketName' })
  })

  test('a region that a client asks for is told again to it, and us-east-1 is empty', async () => {
    expect((await ask('GET', '/photos?location', { region: 'garage' })).body).toContain('>garage<')
    expect((await ask('GET', '/photos?location')).body).not.toContain('us-east-1')
  })
})

describe('objects', () => {
  test('are put, got, looked at and removed; absent is fine', async () => {
    const stored = await put('/photos/dir/a%20b%2Bc.txt', 'hello there', { 'content-type': 'text/plain', 'cache-control': 'no-cache', 'x-amz-meta-mtime': '12.5', 'x-amz-meta-upper': 'Ä' })
    expect(stored).toMatchObject({ status: 200, body: '' })
    expect(stored.headers.etag).toBe(`"${createHash('md5').update('hello there').digest('hex')}"`)
    expect(stored.headers).not.toHaveProperty('x-amz-version-id')
    const got = await ask('GET', '/photos/dir/a%20b%2Bc.txt')
    expect(got).toMatchObject({ status: 200, body: 'hello there', headers: { etag: stored.headers.etag, 'content-type': 'text/plain', 'accept-ranges': 'bytes', 'x-amz-meta-mtime': '12.5', 'x-amz-meta-upper': Buffer.from('Ä').toString('latin1'), 'content-length': '11' } })
    expect(got.headers['x-amz-request-id']).toBe(got.headers['x-request-id'])
    expect(await ask('HEAD', '/photos/dir/a%20b%2Bc.txt')).toMatchObject({ status: 200, body: '', headers: { 'content-length': '11', etag: stored.headers.etag } })
    expect((await ask('DELETE', '/photos/dir/a%20b%2Bc.txt')).status).toBe(204)
    expect((await ask('DELETE', '/photos/dir/a%20b%2Bc.txt')).status).toBe(204)
    expect(await ask('GET', '/photos/dir/a%20b%2Bc.txt')).toMatchObject({ status: 404, code: 'NoSuchKey' })
    expect(await ask('GET', '/photos/x?versionId=00')).toMatchObject({ code: expect.stringMatching(/NoSuchVersion|InvalidArgument/) as string })
    expect(await put('/nowhere/x', 'x')).toMatchObject({ status: 404, code: 'NoSuchBucket' })
  })

  test('give back what was said of them beside their metadata', async () => {
    const said = { 'cache-control': 'max-age=60', 'content-disposition': 'attachment; filename="a b.txt"', 'content-encoding': 'gzip', 'content-language': 'de, en', expires: 'Thu, 01 Dec 2033 16:00:00 GMT' }
    expect((await put('/photos/described', 'x', said)).status).toBe(200)
    for (const method of ['GET', 'HEAD']) expect(await ask(method, '/photos/described')).toMatchObject({ status: 200, headers: said })
    await ask('PUT', '/photos/described-too', { headers: { 'x-amz-copy-source': '/photos/described' } })
    expect((await ask('HEAD', '/photos/described-too')).headers).toMatchObject(said)
  })

  test('whose body is not hashed are taken from this machine, and from others not in the clear', async () => {
    const headers = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
    expect(await put('/photos/unhashed', 'x', headers)).toMatchObject({ status: 200 })
    await using afar = await s3Server({ isNear: false })
    expect(await askS3(afar.port, 'PUT', '/photos/unhashed', { key: afar.key, body: 'x', headers })).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect(await askS3(afar.port, 'PUT', '/photos/unhashed', { key: afar.key, body: 'x' })).toMatchObject({ status: 200 })
    await using trusting = await s3Server({ isNear: false, face: { allowInsecure: true } })
    expect(await askS3(trusting.port, 'PUT', '/photos/unhashed', { key: trusting.key, body: 'x', headers })).toMatchObject({ status: 200 })
  })

  test('of no bytes are objects', async () => {
    await put('/photos/empty', '')
    expect(await ask('GET', '/photos/empty')).toMatchObject({ status: 200, body: '', headers: { 'content-length': '0' } })
    expect(await ask('GET', '/photos/empty', { headers: { range: 'bytes=0-' } })).toMatchObject({ status: 416, code: 'InvalidRange' })
  })

  test.each([
    ['bytes=0-3', 206, '0123', 'bytes 0-3/20'], ['bytes=15-', 206, '56789', 'bytes 15-19/20'], ['bytes=-4', 206, '6789', 'bytes 16-19/20'], ['bytes=10-999', 206, '0123456789', 'bytes 10-19/20'],
    ['bytes=20-', 416, undefined, 'bytes */20'], ['bytes=-0', 416, undefined, 'bytes */20'], ['Bytes=0-3', 206, '0123', 'bytes 0-3/20'], ['bytes=5-2', 200, '01234567890123456789', undefined], ['lines=1-2', 200, '01234567890123456789', undefined], ['bytes=0-1,4-5', 200, '01234567890123456789', undefined],
  ])('range %s', async (range, status, body, contentRange) => {
    await put('/photos/ranged', '01234567890123456789')
    const got = await ask('GET', '/photos/ranged', { headers: { range } })
    expect(got.status).toBe(status)
    if (body !== undefined) expect(got.body).toBe(body)
    expect(got.headers['content-range']).toBe(contentRange)
    if (range === 'bytes=-0') expect(got.body).toContain('the range has no byte; the object has 20')
    expect((await ask('HEAD', '/photos/ranged', { headers: { range } })).status).toBe(status)
  })

  test('If-Range gives the rest of the same object, and the whole of another', async () => {
    const { headers: { etag = '' } } = await put('/photos/resumed', 'one and the same')
    expect(await ask('GET', '/photos/resumed', { headers: { range: 'bytes=4-6', 'if-range': etag } })).toMatchObject({ status: 206, body: 'and' })
    expect(await ask('GET', '/photos/resumed', { headers: { range: 'bytes=4-6', 'if-range': '"other"' } })).toMatchObject({ status: 200, body: 'one and the same' })
  })

  test('the first part of an object that was put whole is all of it', async () => {
    await put('/photos/whole', 'all of it')
    expect(await ask('GET', '/photos/whole?partNumber=1')).toMatchObject({ status: 206, body: 'all of it', headers: { 'content-range': 'bytes 0-8/9' } })
    expect(await ask('GET', '/photos/whole?partNumber=2')).toMatchObject({ status: 416, code: 'InvalidPartNumber' })
    expect(await ask('GET', '/photos/whole?partNumber=x')).toMatchObject({ status: 400 })
  })

  test('conditions of reads hold', async () => {
    const { headers: { etag = '' } } = await put('/photos/conditional', 'x')
    const at = async (headers: Record<string, string>): Promise<number> => (await ask('GET', '/photos/conditional', { headers })).status
    expect(await at({ 'if-match': etag })).toBe(200)
    expect(await at({ 'if-match': '"other"' })).toBe(412)
    expect(await at({ 'if-none-match': etag })).toBe(304)
    expect(await at({ 'if-none-match': '"a", *' })).toBe(304)
    expect(await at({ 'if-none-match': '"other"' })).toBe(200)
    expect(await at({ 'if-modified-since': new Date(Date.now() + 60_000).toUTCString() })).toBe(304)
    expect(await at({ 'if-modified-since': new Date(0).toUTCString() })).toBe(200)
    expect(await at({ 'if-unmodified-since': new Date(0).toUTCString() })).toBe(412)
    // a tag that matches counts more than a date
    expect(await at({ 'if-match': etag, 'if-unmodified-since': new Date(0).toUTCString() })).toBe(200)
    expect(await at({ 'if-none-match': '"other"', 'if-modified-since': new Date(Date.now() + 60_000).toUTCString() })).toBe(200)
    // and a condition more than a range
    expect(await at({ 'if-none-match': etag, range: 'bytes=99-' })).toBe(304)
    expect((await ask('HEAD', '/photos/conditional', { headers: { 'if-none-match': etag } }))).toMatchObject({ status: 304, headers: { etag } })
  })

  test('a part without the upload that it is of is no object', async () => {
    expect(await put('/photos/lost-part?partNumber=1', 'x')).toMatchObject({ status: 400, code: 'InvalidArgument' })
    expect((await ask('HEAD', '/photos/lost-part')).status).toBe(404)
  })

  test('what is to be a certain object, and is none, is told as missing, by a deletion as another', async () => {
    for (const etag of ['"a"', '*']) {
      expect(await put('/photos/none', 'x', { 'if-match': etag })).toMatchObject({ status: 404, code: 'NoSuchKey' })
      expect(await ask('DELETE', '/photos/none', { headers: { 'if-match': etag } })).toMatchObject({ status: 412, code: 'PreconditionFailed' })
    }
    const many = await ask('POST', '/photos?delete', { body: '<Delete><Object><Key>none</Key><ETag>a</ETag></Object></Delete>' })
    expect(texts(many.body, 'Code')).toEqual(['PreconditionFailed'])
  })

  test('conditions of writes have one winner', async () => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, async (_, i) => put('/photos/once', `writer ${i}`, { 'if-none-match': '*' })))
    expect(outcomes.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412, 412, 412, 412, 412, 412, 412])
    expect(outcomes.find(({ status }) => status === 412)?.code).toBe('PreconditionFailed')
    const { headers: { etag = '' } } = await ask('HEAD', '/photos/once')
    expect((await put('/photos/once', 'again', { 'if-match': etag })).status).toBe(200)
    expect((await put('/photos/once', 'again', { 'if-match': etag })).status).toBe(412)
    expect((await ask('DELETE', '/photos/once', { headers: { 'if-match': etag } })).status).toBe(412)
    expect((await ask('DELETE', '/photos/once', { headers: { 'if-match': '*' } })).status).toBe(204)
  })

  test('a link may say how it is to be opened, if it is signed', async () => {
    await put('/photos/link', 'x')
    const path = '/photos/link?response-content-disposition=attachment%3B%20filename%3D%22a.txt%22&response-content-type=text%2Fplain'
    expect(await ask('GET', path)).toMatchObject({ headers: { 'content-disposition': 'attachment; filename="a.txt"', 'content-type': 'text/plain' } })
    expect(await ask('GET', '/photos/link?response-content-type=a%0D%0Ab')).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })

  test.each([
    ['another hash than that of the body', { 'x-amz-content-sha256': createHash('sha256').update('other').digest('hex') }, 'XAmzContentSHA256Mismatch'],
    ['keys of a KMS', { 'x-amz-server-side-encryption': 'aws:kms' }, 'NotImplemented'],
    ['keys of the client', { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' }, 'NotImplemented'],
    ['an access list of its own', { 'x-amz-acl': 'public-read' }, 'NotImplemented'],
    ['a grant', { 'x-amz-grant-read': 'uri="http://acs.amazonaws.com/groups/global/AllUsers"' }, 'NotImplemented'],
    ['too much metadata', { 'x-amz-meta-long': 'x'.repeat(2100) }, 'MetadataTooLarge'],
    ['two checksums', { 'x-amz-checksum-crc32': 'NhCmhg==', 'x-amz-checksum-crc32c': 'mnG7TA==' }, 'InvalidRequest'],
    ['an MD5 that is none', { 'content-md5': 'AAAA' }, 'InvalidDigest'],
  ])('a put with %s stores nothing', async (_name, headers: Record<string, string>, code) => {
    expect(await put('/photos/refused', 'hello', headers)).toMatchObject({ code })
    expect((await ask('HEAD', '/photos/refused')).status).toBe(404)
  })

  test.each([
    ['signed whole', undefined, undefined], ['unsigned', 'UNSIGNED-PAYLOAD', 'the content'],
    ['in chunks, with a trailer', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', '4\r\nthe \r\n7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:SUM\r\n\r\n'],
  ])('a body %s is stored as it was meant', async (_name, payload, body) => {
    const sum = Buffer.from(crc32Of('the content')).toString('base64')
    const headers: Record<string, string> = payload === undefined ? {} : payload === 'UNSIGNED-PAYLOAD' ? { 'x-amz-content-sha256': payload } : { 'x-amz-content-sha256': payload, 'x-amz-trailer': 'x-amz-checksum-crc32', 'content-encoding': 'gzip,aws-chunked', 'x-amz-decoded-content-length': '11' }
    expect(await put('/photos/meant', (body ?? 'the content').replace('SUM', sum), headers)).toMatchObject({ status: 200 })
    expect(await ask('GET', '/photos/meant')).toMatchObject({ body: 'the content', headers: { etag: `"${createHash('md5').update('the content').digest('hex')}"` } })
    expect((await ask('GET', '/photos/meant')).headers['content-encoding']).toBe(payload?.startsWith('STREAMING') === true ? 'gzip' : undefined)
    if (payload?.startsWith('STREAMING') === true) expect(await put('/photos/meant', (body ?? '').replace('SUM', sum).replace('content', 'contend'), headers)).toMatchObject({ code: 'BadDigest' })
  })

  test('a body that ends early stores nothing', async () => {
    const socket = connect(server.port, '127.0.0.1')
    const presigned = (await import('aws4')).default.sign({ service: 's3', region: 'us-east-1', method: 'PUT', host: `127.0.0.1:${server.port}`, path: '/photos/half?X-Amz-Expires=60', signQuery: true }, { accessKeyId: server.key.id, secretAccessKey: server.key.secret })
    socket.write(`PUT ${presigned.path} HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\ncontent-length: 100\r\n\r\nonly this`)
    await expect.poll(() => server.logged.length).toBeGreaterThan(0)
    await new Promise<void>((resolve) => { socket.end(() => { resolve() }) })
    socket.destroy()
    await expect.poll(() => server.logged.some((line) => line.includes('PutObject') && line.includes('refused'))).toBe(true)
    expect((await ask('HEAD', '/photos/half')).status).toBe(404)
  })
})

describe('listings', () => {
  const keys = ['a', 'b/1', 'b/2', 'c d', 'e+f', 'é', 'z&<'].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  beforeAll(async () => {
    await ask('PUT', '/listed')
    for (const key of keys) await put(`/listed/${encodeURIComponent(key)}`, key)
  })
  const unescaped = (text: string): string => text.replaceAll('&amp;', '&').replaceAll('&lt;', '<')

  test('version 1 and 2 show all in byte order', async () => {
    for (const query of ['', '?list-type=2', '?delimiter=', '?list-type=2&delimiter=&fetch-owner=true']) {
      const { body, status } = await ask('GET', `/listed${query}`)
      expect([status, ...texts(body, 'Key').map(unescaped)]).toEqual([200, ...keys])
      expect(body.includes('<Owner>')).toBe(!query.includes('list-type') || query.includes('fetch-owner'))
    }
  })

  test('roll up what shares a prefix', async () => {
    const { body } = await ask('GET', '/listed?delimiter=/')
    expect(texts(body, 'Key').map(unescaped)).toEqual(keys.filter((key) => !key.startsWith('b/')))
    expect(body).toContain('<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>')
    expect(texts((await ask('GET', '/listed?list-type=2&prefix=b%2F&delimiter=%2F')).body, 'Key')).toEqual(['b/1', 'b/2'])
    expect(texts((await ask('GET', '/listed?list-type=2&start-after=b%2F1&prefix=b')).body, 'Key')).toEqual(['b/2'])
  })

  test('page by page, whichever way', async () => {
    const found: string[] = []
    for (let token = '', isLast = false; !isLast;) {
      const { body } = await ask('GET', `/listed?list-type=2&max-keys=2${token}`)
      found.push(...texts(body, 'Key').map(unescaped))
      const [next] = texts(body, 'NextContinuationToken')
      isLast = next === undefined
      expect(texts(body, 'IsTruncated')).toEqual([String(!isLast)])
      token = `&continuation-token=${encodeURIComponent(next ?? '')}`
    }
    expect(found).toEqual(keys)
    const first: string[] = []
    for (let marker = '', isLast = false; !isLast;) {
      const { body } = await ask('GET', `/listed?max-keys=3&marker=${encodeURIComponent(marker)}`)
      first.push(...texts(body, 'Key').map(unescaped))
      marker = unescaped(texts(body, 'NextMarker')[0] ?? '')
      isLast = texts(body, 'IsTruncated')[0] === 'false'
    }
    expect(first).toEqual(keys)
  })

  test('encoded for clients whose XML could not say a key', async () => {
    await put('/listed/%01%0A', 'control')
    const { body } = await ask('GET', '/listed?list-type=2&encoding-type=url')
    expect(texts(body, 'Key').map(decodeURIComponent)).toEqual(['\u0001\n', ...keys])
    await ask('DELETE', '/listed/%01%0A')
  })

  test.each([['max-keys=0', 200], ['max-keys=5000', 200], ['max-keys=-1', 400], ['max-keys=x', 400], ['encoding-type=base64', 400], ['list-type=2&continuation-token=nonsense', 400]])('%s is %i', async (query, status) => {
    const answer = await ask('GET', `/listed?${query}`)
    expect(answer.status).toBe(status)
    if (query === 'max-keys=0') expect([texts(answer.body, 'Key'), texts(answer.body, 'IsTruncated')]).toEqual([[], ['false']])
  })
})

describe('copies', () => {
  test('have the content of another, and what is beside it unless it is replaced', async () => {
    await put('/photos/origin%20%2B', 'to be copied', { 'content-type': 'text/plain', 'x-amz-meta-who': 'me', 'x-amz-tagging': 'a=b&c=d%20e' })
    const copied = await ask('PUT', '/photos/copied', { headers: { 'x-amz-copy-source': '/photos/origin%20%2B' } })
    expect([copied.status, texts(copied.body, 'ETag')]).toEqual([200, [`&quot;${createHash('md5').update('to be copied').digest('hex')}&quot;`]])
    expect(await ask('GET', '/photos/copied')).toMatchObject({ body: 'to be copied', headers: { 'content-type': 'text/plain', 'x-amz-meta-who': 'me', 'x-amz-tagging-count': '2' } })
    // onto itself, as clients change a time of modification
    const touched = await ask('PUT', '/photos/copied', { headers: { 'x-amz-copy-source': 'photos/copied', 'x-amz-metadata-directive': 'REPLACE', 'x-amz-meta-mtime': '7', 'content-type': 'a/b' } })
    expect(touched.status).toBe(200)
    const { headers } = await ask('HEAD', '/photos/copied')
    expect([headers['x-amz-meta-mtime'], headers['x-amz-meta-who'], headers['content-type']]).toEqual(['7', undefined, 'a/b'])
  })

  test.each(['x-amz-storage-class', 'x-amz-server-side-encryption'])('onto itself with %s, of which nothing is kept, leave it as it is', async (name) => {
    await put('/photos/renewed', 'as it is', { 'x-amz-meta-who': 'me', 'x-amz-tagging': 'a=b' })
    const copied = await ask('PUT', '/photos/renewed', { headers: { 'x-amz-copy-source': '/photos/renewed', [name]: name.endsWith('class') ? 'STANDARD_IA' : 'AES256' } })
    expect(copied.status).toBe(200)
    expect(await ask('GET', '/photos/renewed')).toMatchObject({ body: 'as it is', headers: { 'x-amz-meta-who': 'me', 'x-amz-tagging-count': '1' } })
  })

  test.each<readonly [string, Record<string, string>, string]>([
    ['of nothing', { 'x-amz-copy-source': '/photos/never-there' }, 'NoSuchKey'], ['of no bucket', { 'x-amz-copy-source': '/nowhere/x' }, 'NoSuchBucket'], ['of what is no name', { 'x-amz-copy-source': 'photos' }, 'InvalidArgument'],
    ['of another content', { 'x-amz-copy-source': '/photos/origin', 'x-amz-copy-source-if-match': '"other"' }, 'PreconditionFailed'],
    ['of what has not changed', { 'x-amz-copy-source': '/photos/origin', 'x-amz-copy-source-if-none-match': '*' }, 'PreconditionFailed'],
    ['of what has changed since', { 'x-amz-copy-source': '/photos/origin', 'x-amz-copy-source-if-unmodified-since': new Date(0).toUTCString() }, 'PreconditionFailed'],
    ['where there is one', { 'x-amz-copy-source': '/photos/origin', 'if-none-match': '*' }, 'PreconditionFailed'],
    ['onto itself that changes nothing', { 'x-amz-copy-source': '/photos/target' }, 'InvalidRequest'],
    ['with a directive that is none', { 'x-amz-copy-source': '/photos/origin', 'x-amz-metadata-directive': 'replace' }, 'InvalidArgument'],
    ['with a directive for tags that is none', { 'x-amz-copy-source': '/photos/origin', 'x-amz-tagging-directive': 'KEEP' }, 'InvalidArgument'],
    ['onto another than is there', { 'x-amz-copy-source': '/photos/origin', 'if-match': '"other"' }, 'PreconditionFailed'],
  ])('%s are refused', async (_name, headers, code) => {
    await put('/photos/origin', 'x')
    await put('/photos/target', 'y')
    expect(await ask('PUT', '/photos/target', { headers })).toMatchObject({ code })
    expect((await ask('GET', '/photos/target')).body).toBe('y')
  })
})

describe('uploads in parts', () => {
  const begin = async (path: string, headers: Record<string, string> = {}): Promise<string> => texts((await ask('POST', `${path}?uploads`, { headers })).body, 'UploadId')[0] ?? ''
  const complete = async (path: string, id: string, parts: ReadonlyArray<readonly [number, string]>, headers: Record<string, string> = {}): Promise<S3Answer> =>
    ask('POST', `${path}?uploadId=${id}`, { headers, body: `<CompleteMultipartUpload>${parts.map(([number, etag]) => `<Part><ETag>${etag}</ETag><PartNumber>${number}</PartNumber></Part>`).join('')}</CompleteMultipartUpload>` })

  test('are begun, filled, listed and put together', async () => {
    const id = await begin('/photos/in-parts', { 'content-type': 'a/b', 'x-amz-meta-who': 'me' })
    expect(texts((await ask('GET', '/photos?uploads')).body, 'UploadId')).toContain(id)
    const { headers: { etag = '' } } = await ask('PUT', `/photos/in-parts?partNumber=1&uploadId=${id}`, { body: 'the only part' })
    expect(etag).toBe(`"${createHash('md5').update('the only part').digest('hex')}"`)
    const listed = await ask('GET', `/photos/in-parts?uploadId=${id}`)
    expect([texts(listed.body, 'PartNumber'), texts(listed.body, 'Size')]).toEqual([['1'], ['13']])
    expect(texts((await ask('GET', `/photos/in-parts?uploadId=${id}&max-parts=0`)).body, 'PartNumber')).toEqual([])
    expect(texts((await ask('GET', '/photos?uploads&max-uploads=0')).body, 'UploadId')).toEqual([])
    const done = await complete('/photos/in-parts', id, [[1, etag]])
    const expected = `${createHash('md5').update(createHash('md5').update('the only part').digest()).digest('hex')}-1`
    expect([done.status, texts(done.body, 'ETag')]).toEqual([200, [`&quot;${expected}&quot;`]])
    expect(await ask('GET', '/photos/in-parts')).toMatchObject({ body: 'the only part', headers: { etag: `"${expected}"`, 'content-type': 'a/b', 'x-amz-meta-who': 'me' } })
    expect(await ask('HEAD', '/photos/in-parts?partNumber=1')).toMatchObject({ status: 206, headers: { 'x-amz-mp-parts-count': '1', 'content-length': '13' } })
    // a client that has not heard the answer asks again
    expect((await complete('/photos/in-parts', id, [[1, etag]])).status).toBe(200)
  })

  test('have checksums of parts, and of the whole', async () => {
    const id = await begin('/photos/summed', { 'x-amz-checksum-algorithm': 'CRC32' })
    const part = await ask('PUT', `/photos/summed?partNumber=1&uploadId=${id}`, { body: 'hello', headers: { 'x-amz-checksum-crc32': 'NhCmhg==' } })
    expect(part.headers['x-amz-checksum-crc32']).toBe('NhCmhg==')
    expect((await ask('PUT', `/photos/summed?partNumber=1&uploadId=${id}`, { body: 'hellp', headers: { 'x-amz-checksum-crc32': 'NhCmhg==' } })).code).toBe('BadDigest')
    const done = await complete('/photos/summed', id, [[1, part.headers.etag ?? '']])
    expect([texts(done.body, 'ChecksumType'), texts(done.body, 'ChecksumCRC32')[0]?.endsWith('-1')]).toEqual([['COMPOSITE'], true])
  })

  test('copy parts of other objects', async () => {
    await put('/photos/source', '0123456789')
    const id = await begin('/photos/composed')
    const part = await ask('PUT', `/photos/composed?partNumber=1&uploadId=${id}`, { headers: { 'x-amz-copy-source': '/photos/source', 'x-amz-copy-source-range': 'bytes=2-5' } })
    const [etag = ''] = texts(part.body, 'ETag')
    for (const range of ['bytes=5-10', 'bytes=5-2', 'bytes=99-100']) expect(await ask('PUT', `/photos/composed?partNumber=1&uploadId=${id}`, { headers: { 'x-amz-copy-source': '/photos/source', 'x-amz-copy-source-range': range } })).toMatchObject({ status: 400, code: 'InvalidArgument' })
    expect((await complete('/photos/composed', id, [[1, etag]])).status).toBe(200)
    expect((await ask('GET', '/photos/composed')).body).toBe('2345')
  })

  test('that are wrong are told how', async () => {
    const id = await begin('/photos/wrong')
    const { headers: { etag = '' } } = await ask('PUT', `/photos/wrong?partNumber=2&uploadId=${id}`, { body: 'small' })
    await ask('PUT', `/photos/wrong?partNumber=1&uploadId=${id}`, { body: 'small' })
    expect((await complete('/photos/wrong', id, [[1, '"other"']])).code).toBe('InvalidPart')
    expect((await complete('/photos/wrong', id, [[3, etag]])).code).toBe('InvalidPart')
    expect((await complete('/photos/wrong', id, [[2, etag], [1, etag]])).code).toBe('InvalidPartOrder')
    expect((await complete('/photos/wrong', id, [[1, etag], [2, etag]])).code).toBe('EntityTooSmall')
    expect((await complete('/photos/wrong', id, [])).code).toBe('MalformedXML')
    expect((await ask('PUT', `/photos/wrong?partNumber=0&uploadId=${id}`, { body: 'x' })).code).toBe('InvalidArgument')
    expect((await ask('PUT', `/photos/wrong?partNumber=10001&uploadId=${id}`, { body: 'x' })).code).toBe('InvalidArgument')
    await put('/photos/wrong', 'there already')
    expect(await complete('/photos/wrong', id, [[2, etag]], { 'if-none-match': '*' })).toMatchObject({ status: 412, code: 'PreconditionFailed' })
    expect((await ask('DELETE', `/photos/wrong?uploadId=${id}`)).status).toBe(204)
    for (const method of ['GET', 'DELETE']) expect(await ask(method, `/photos/wrong?uploadId=${id}`)).toMatchObject({ status: 404, code: 'NoSuchUpload' })
  })
})

describe('versions', () => {
  beforeAll(async () => {
    await ask('PUT', '/versioned', { headers: { 'x-amz-bucket-object-lock-enabled': 'true' } })
  })

  test('are kept, listed, read by their id, marked as deleted, and gone for good when they are named', async () => {
    const [one, two] = [(await put('/versioned/x', 'one')).headers['x-amz-version-id'], (await put('/versioned/x', 'two')).headers['x-amz-version-id']]
    expect(one).toMatch(/^[0-9a-f]{64}$/)
    expect((await ask('GET', `/versioned/x?versionId=${String(one)}`)).body).toBe('one')
    const removed = await ask('DELETE', '/versioned/x')
    expect(removed).toMatchObject({ status: 204, headers: { 'x-amz-delete-marker': 'true' } })
    expect(await ask('GET', '/versioned/x')).toMatchObject({ status: 404, code: 'NoSuchKey', headers: { 'x-amz-delete-marker': 'true' } })
    const marker = String(removed.headers['x-amz-version-id'])
    expect(await ask('GET', `/versioned/x?versionId=${marker}`)).toMatchObject({ status: 405, code: 'MethodNotAllowed' })
    const { body } = await ask('GET', '/versioned?versions&prefix=x')
    expect([texts(body, 'VersionId'), texts(body, 'IsLatest'), body.match(/<DeleteMarker>/g)?.length]).toEqual([[marker, two, one], ['true', 'false', 'false'], 1])
    // restored by taking the marker away
    expect((await ask('DELETE', `/versioned/x?versionId=${marker}`)).status).toBe(204)
    expect((await ask('GET', '/versioned/x')).body).toBe('two')
    expect((await ask('DELETE', `/versioned/x?versionId=${String(two)}`)).headers['x-amz-version-id']).toBe(two)
    expect((await ask('GET', '/versioned/x')).body).toBe('one')
    expect((await ask('GET', `/versioned/x?versionId=${String(two)}`)).code).toBe('NoSuchVersion')
  })

  test('one is brought back by a copy of it', async () => {
    const old = String((await put('/versioned/back', 'as it was')).headers['x-amz-version-id'])
    await put('/versioned/back', 'as it is')
    const copied = await ask('PUT', '/versioned/back', { headers: { 'x-amz-copy-source': `/versioned/back?versionId=${old}` } })
    expect(copied).toMatchObject({ status: 200, headers: { 'x-amz-copy-source-version-id': old } })
    expect((await ask('GET', '/versioned/back')).body).toBe('as it was')
    expect(texts((await ask('GET', '/versioned?versions&prefix=back')).body, 'VersionId')).toHaveLength(3)
  })

  test('one in compliance mode nobody removes, whatever right is shown', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const id = String((await put('/versioned/sealed', 'x', { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': until })).headers['x-amz-version-id'])
    const path = `/versioned/sealed?versionId=${id}`
    expect((await ask('DELETE', path, { headers: { 'x-amz-bypass-governance-retention': 'true' } })).status).toBe(403)
    const shorter = `<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>${new Date(Date.now() + 60_000).toISOString()}</RetainUntilDate></Retention>`
    expect((await ask('PUT', `${path}&retention`, { body: shorter, headers: { 'x-amz-bypass-governance-retention': 'true' } })).status).toBe(403)
    expect((await ask('GET', path)).body).toBe('x')
  })

  test('page by page', async () => {
    for (const body of ['1', '2', '3']) await put('/versioned/paged', body)
    const all = texts((await ask('GET', '/versioned?versions&prefix=paged')).body, 'VersionId')
    const found: string[] = []
    for (let marker = '', isLast = false; !isLast;) {
      const { body } = await ask('GET', `/versioned?versions&prefix=paged&max-keys=1${marker}`)
      found.push(...texts(body, 'VersionId'))
      isLast = texts(body, 'IsTruncated')[0] === 'false'
      marker = `&key-marker=${texts(body, 'NextKeyMarker')[0] ?? ''}&version-id-marker=${texts(body, 'NextVersionIdMarker')[0] ?? ''}`
    }
    expect(found).toEqual(all)
  })

  test('are rolled up once, page by page, a folder that is an object too (it came again as that)', async () => {
    for (const key of ['rolled/', 'rolled/a/', 'rolled/a/x', 'rolled/b']) for (const body of ['1', '2']) await put(`/versioned/${key}`, body)
    const shown = async (size: number): Promise<string[]> => {
      const found: string[] = []
      for (let marker = '', isLast = false; !isLast;) {
        const { body } = await ask('GET', `/versioned?versions&prefix=rolled/&delimiter=/&max-keys=${size}${marker}`)
        found.push(...texts(body, 'Key'), ...[...body.matchAll(/<CommonPrefixes><Prefix>([^<]*)/g)].map(([, prefix = '']) => prefix))
        isLast = texts(body, 'IsTruncated')[0] === 'false'
        marker = `&key-marker=${texts(body, 'NextKeyMarker')[0] ?? ''}&version-id-marker=${texts(body, 'NextVersionIdMarker')[0] ?? ''}`
      }
      return found.toSorted()
    }
    const all = ['rolled/', 'rolled/', 'rolled/a/', 'rolled/b', 'rolled/b']
    expect([await shown(1000), await shown(3), await shown(2), await shown(1)]).toEqual([all, all, all, all])
    // a marker of another client's making
    expect(texts((await ask('GET', '/versioned?versions&prefix=rolled/&delimiter=/&key-marker=rolled/a/&version-id-marker=null')).body, 'Key')).toEqual(['rolled/b', 'rolled/b'])
  })

  test.each([
    ['x?retention', '<Retention><Mode>COMPLIANCE</Mode></Retention>'], ['x?retention', '<Retention><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>'], ['x?retention', '<Retention><Modus>COMPLIANCE</Modus></Retention>'],
    ['?object-lock', '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><Retention><Mode>COMPLIANCE</Mode><Days>1</Days></Retention></Rule></ObjectLockConfiguration>'], ['x?tagging', '<Tagging><Tags/></Tagging>'],
  ])('half of a lock or of tags is refused, and not taken for none: %s %s', async (path, body) => {
    await put('/versioned/x', 'x')
    expect(await ask('PUT', `/versioned/${path}`, { body })).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test('are held by locks', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const locked = await put('/versioned/locked', 'x', { 'x-amz-object-lock-mode': 'GOVERNANCE', 'x-amz-object-lock-retain-until-date': until })
    const id = String(locked.headers['x-amz-version-id'])
    const path = `/versioned/locked?versionId=${id}`
    expect(await ask('HEAD', path)).toMatchObject({ headers: { 'x-amz-object-lock-mode': 'GOVERNANCE', 'x-amz-object-lock-retain-until-date': until } })
    const tooLong = '<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>'
    expect(await ask('PUT', `${path}&retention`, { body: tooLong })).toMatchObject({ status: 400, body: expect.stringMatching(/<Code>InvalidArgument<.*at most 100 years/s) as string })
    expect((await put('/versioned/too-long', 'x', { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': '2999-01-01T00:00:00Z' })).status).toBe(400)
    expect((await ask('GET', `${path}&retention`)).body).toContain(`<Mode>GOVERNANCE</Mode><RetainUntilDate>${until}</RetainUntilDate>`)
    expect(await ask('DELETE', path)).toMatchObject({ status: 403, code: 'AccessDenied' })
    const writer = await server.keyWith([{ bucket: 'versioned', prefix: '', actions: ['read', 'write', 'list'] }])
    expect((await ask('DELETE', path, { key: writer, headers: { 'x-amz-bypass-governance-retention': 'true' } })).status).toBe(403)
    expect((await ask('PUT', `${path}&legal-hold`, { body: '<LegalHold><Status>ON</Status></LegalHold>' })).status).toBe(200)
    expect((await ask('GET', `${path}&legal-hold`)).body).toContain('<Status>ON</Status>')
    expect((await ask('DELETE', path, { headers: { 'x-amz-bypass-governance-retention': 'true' } })).status).toBe(403)
    await ask('PUT', `${path}&legal-hold`, { body: '<LegalHold><Status>OFF</Status></LegalHold>' })
    expect((await ask('DELETE', path, { headers: { 'x-amz-bypass-governance-retention': 'true' } })).status).toBe(204)
  })
})

describe('what is beside the content', () => {
  test('a bucket that has no locks says so, whichever way one is asked for', async () => {
    await put('/photos/unlocked', 'x')
    for (const query of ['retention', 'legal-hold']) expect(await ask('GET', `/photos/unlocked?${query}`)).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect(await ask('PUT', '/photos/unlocked?legal-hold', { body: '<LegalHold><Status>ON</Status></LegalHold>' })).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect(await put('/photos/unlocked', 'y', { 'x-amz-object-lock-legal-hold': 'ON' })).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })

  test('tags are put, got and taken away', async () => {
    await put('/photos/tagged', 'x', { 'x-amz-tagging': 'one=1&two=%C3%A4' })
    expect((await ask('GET', '/photos/tagged?tagging')).body).toContain('<Tag><Key>one</Key><Value>1</Value></Tag><Tag><Key>two</Key><Value>ä</Value></Tag>')
    expect((await ask('PUT', '/photos/tagged?tagging', { body: '<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>' })).status).toBe(200)
    expect(await ask('HEAD', '/photos/tagged')).toMatchObject({ headers: { 'x-amz-tagging-count': '1' } })
    expect((await ask('DELETE', '/photos/tagged?tagging')).status).toBe(204)
    expect((await ask('GET', '/photos/tagged?tagging')).body).toContain('<TagSet/>')
    expect((await ask('PUT', '/photos/tagged?tagging', { body: `<Tagging><TagSet>${Array.from({ length: 11 }, (_, i) => `<Tag><Key>k${i}</Key><Value/></Tag>`).join('')}</TagSet></Tagging>` })).code).toBe('InvalidTag')
  })

  test('an object that another door has stored has an ETag that nobody takes for an MD5', async () => {
    const { etag } = await server.objects.put({ bucket: 'photos', key: 'by-another-door' }, (async function * () { yield Buffer.from('x') })())
    const { headers } = await ask('HEAD', '/photos/by-another-door')
    expect(headers.etag).toBe(`"${etag}"`)
    expect(etag).not.toMatch(/^[0-9a-f]{32}$/)
    expect((await ask('GET', '/photos/by-another-door', { headers: { 'if-match': String(headers.etag) } })).status).toBe(200)
    expect((await put('/photos/by-another-door', 'y', { 'if-match': String(headers.etag) })).headers.etag).toBe(`"${createHash('md5').update('y').digest('hex')}"`)
  })

  test('what another door has stored, and no header can say, breaks no answer', async () => {
    await server.objects.put({ bucket: 'photos', key: 'strange' }, (async function * () { yield Buffer.from('x') })(), { contentType: 'a/b\nc: d', metadata: { 'two words': 'x', plain: 'line\r\nbreak', 'ümlaut': 'y' } })
    const { status, headers } = await ask('GET', '/photos/strange')
    expect([status, headers['content-type'], headers['x-amz-meta-plain'], headers['x-amz-missing-meta']]).toEqual([200, 'a/b c: d', 'line  break', '2'])
  })

  test('checksums are told to who asks, for the whole alone', async () => {
    const stored = await put('/photos/summed-whole', 'hello', { 'x-amz-checksum-crc32': 'NhCmhg==' })
    expect(stored.headers['x-amz-checksum-crc32']).toBe('NhCmhg==')
    const at = async (headers: Record<string, string>): Promise<unknown> => (await ask('GET', '/photos/summed-whole', { headers })).headers['x-amz-checksum-crc32']
    expect(await at({ 'x-amz-checksum-mode': 'ENABLED' })).toBe('NhCmhg==')
    expect(await at({})).toBeUndefined()
    expect(await at({ 'x-amz-checksum-mode': 'ENABLED', range: 'bytes=0-1' })).toBeUndefined()
    expect(await put('/photos/summed-whole', 'hellp', { 'x-amz-checksum-crc32': 'NhCmhg==' })).toMatchObject({ status: 400, code: 'BadDigest' })
    const attributes = await ask('GET', '/photos/summed-whole?attributes', { headers: { 'x-amz-object-attributes': 'ETag,Checksum,ObjectSize,StorageClass' } })
    expect([texts(attributes.body, 'ETag'), texts(attributes.body, 'ChecksumCRC32'), texts(attributes.body, 'ObjectSize')]).toEqual([[createHash('md5').update('hello').digest('hex')], ['NhCmhg=='], ['5']])
  })
})

describe('checksums of every kind', () => {
  const algorithms = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
  const sumOf = (algorithm: typeof algorithms[number], text: string): string => { const sum = digesters[algorithm](); sum.update(Buffer.from(text)); return Buffer.from(sum.digest()).toString('base64') }

  test.each(algorithms)('%s: the right one is kept and told, another stores nothing', async (algorithm) => {
    const [path, name] = [`/photos/sum-${algorithm}`, `x-amz-checksum-${algorithm}`]
    expect(await put(path, 'hellp', { [name]: sumOf(algorithm, 'hello') })).toMatchObject({ status: 400, code: 'BadDigest' })
    expect((await ask('HEAD', path)).status).toBe(404)
    expect((await put(path, 'hello', { [name]: sumOf(algorithm, 'hello') })).headers[name]).toBe(sumOf(algorithm, 'hello'))
    expect((await ask('HEAD', path, { headers: { 'x-amz-checksum-mode': 'ENABLED' } })).headers).toMatchObject({ [name]: sumOf(algorithm, 'hello'), 'x-amz-checksum-type': 'FULL_OBJECT' })
  })

  // a node's parts are of 5 MiB at the least, of which these blocks of eight bytes would be many
  let uploads: S3Server['objects']['uploads']
  beforeAll(() => { uploads = server.objects.uploads; Object.assign(server.objects, { uploads: objectStore(server.world.parts, { minPartBytes: 1 }).uploads }) })
  afterAll(() => { Object.assign(server.objects, { uploads }) })

  test.each([
    ['crc32', 'FULL_OBJECT'], ['crc32c', 'FULL_OBJECT'], ['crc64nvme', 'FULL_OBJECT'], ['crc32', 'COMPOSITE'], ['crc32c', 'COMPOSITE'], ['sha1', 'COMPOSITE'], ['sha256', 'COMPOSITE'],
  ] as const)('%s of an upload in parts, %s: that of the completion is of the object, and what is told (it was taken for that of the list of parts)', async (algorithm, type) => {
    const [path, name] = [`/photos/parts-${algorithm}-${type}`, `x-amz-checksum-${algorithm}`]
    const part = 'the first part, '
    const begun = await ask('POST', `${path}?uploads`, { headers: { 'x-amz-checksum-algorithm': algorithm.toUpperCase(), 'x-amz-checksum-type': type } })
    const [id] = texts(begun.body, 'UploadId')
    const parts: string[] = []
    for (const [i, text] of [part, 'end'].entries()) {
      const { headers } = await ask('PUT', `${path}?partNumber=${i + 1}&uploadId=${id}`, { body: text, headers: { [name]: sumOf(algorithm, text) } })
      parts.push(`<Part><PartNumber>${i + 1}</PartNumber><ETag>${headers.etag}</ETag><Checksum${algorithm.toUpperCase()}>${headers[name] as string}</Checksum${algorithm.toUpperCase()}></Part>`)
    }
    const ofParts = (): string => { const sum = digesters[algorithm](); for (const text of [part, 'end']) sum.update(Buffer.from(sumOf(algorithm, text), 'base64')); return `${Buffer.from(sum.digest()).toString('base64')}-2` }
    const expected = type === 'FULL_OBJECT' ? sumOf(algorithm, `${part}end`) : ofParts()
    const complete = async (told: string): Promise<S3Answer> => ask('POST', `${path}?uploadId=${id}`, { headers: { [name]: told, 'x-amz-checksum-type': type }, body: `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>` })
    // of a SHA-256 too: that of the list, which is signed, was right
    expect((await complete(type === 'FULL_OBJECT' ? sumOf(algorithm, 'other') : `${sumOf(algorithm, 'other')}-2`)).code).toBe('BadDigest')
    expect(texts((await complete(expected)).body, `Checksum${algorithm.toUpperCase()}`)).toEqual([expected])
    expect((await ask('HEAD', path, { headers: { 'x-amz-checksum-mode': 'ENABLED' } })).headers).toMatchObject({ [name]: expected, 'x-amz-checksum-type': type })
  })
})

describe('many at once', () => {
  test('are deleted, and each that may not be is told', async () => {
    await put('/photos/d1', '1')
    await put('/photos/d&2', '2')
    const xml = '<Delete><Object><Key>d1</Key></Object><Object><Key>d&amp;2</Key></Object><Object><Key>never-there</Key></Object></Delete>'
    const answer = await ask('POST', '/photos?delete', { body: xml, headers: { 'content-md5': createHash('md5').update(xml).digest('base64') } })
    expect([answer.status, ...texts(answer.body, 'Key').toSorted()]).toEqual([200, 'd&amp;2', 'd1', 'never-there'])
    expect((await ask('HEAD', '/photos/d1')).status).toBe(404)
    const limited = await server.keyWith([{ bucket: 'photos', prefix: 'mine/', actions: ['write'] }])
    const denied = await ask('POST', '/photos?delete=', { key: limited, body: '<Delete><Quiet>true</Quiet><Object><Key>mine/x</Key></Object><Object><Key>yours</Key></Object></Delete>' })
    expect([texts(denied.body, 'Key'), texts(denied.body, 'Code')]).toEqual([['yours'], ['AccessDenied']])
    expect(await ask('POST', '/nowhere?delete', { body: '<Delete><Object><Key>x</Key></Object></Delete>' })).toMatchObject({ code: 'NoSuchBucket' })
  })

  test.each([
    ['not XML', 'x'], ['an XML bomb', '<!DOCTYPE d [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>'], ['no key', '<Delete/>'],
    ['1,001 keys', `<Delete>${'<Object><Key>k</Key></Object>'.repeat(1001)}</Delete>`],
  ])('%s is refused', async (_name, body) => {
    expect(await ask('POST', '/photos?delete', { body })).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test('a key goes only with the ETag that is named for it', async () => {
    const [{ headers: { etag = '' } }] = [await put('/photos/same', '1'), await put('/photos/changed', '2')]
    const answer = await ask('POST', '/photos?delete', { body: `<Delete>${['same', 'changed'].map((key) => `<Object><Key>${key}</Key><ETag>${etag}</ETag></Object>`).join('')}</Delete>` })
    expect([/<Deleted><Key>(\w+)/.exec(answer.body)?.[1], /<Error><Key>(\w+)/.exec(answer.body)?.[1], texts(answer.body, 'Code')]).toEqual(['same', 'changed', ['PreconditionFailed']])
    expect([(await ask('HEAD', '/photos/same')).status, (await ask('HEAD', '/photos/changed')).status]).toEqual([404, 200])
  })

  test('another MD5 or checksum than that of the list is refused', async () => {
    const body = '<Delete><Object><Key>x</Key></Object></Delete>'
    expect(await ask('POST', '/photos?delete', { body, headers: { 'content-md5': createHash('md5').update('x').digest('base64') } })).toMatchObject({ code: 'BadDigest' })
    expect(await ask('POST', '/photos?delete', { body, headers: { 'x-amz-checksum-crc32': 'AAAAAA==' } })).toMatchObject({ code: 'BadDigest' })
  })
})

describe('what there is not', () => {
  test.each([
    ['GET', '/photos?requestPayment'], ['GET', '/photos?logging'], ['PUT', '/photos?notification'], ['GET', '/photos?accelerate'], ['GET', '/photos/x?torrent'], ['POST', '/photos/x?restore'], ['POST', '/photos/x?select&select-type=2'], ['PUT', '/photos?encryption'],
  ])('%s %s is 501 with XML', async (method, path) => {
    expect(await ask(method, path)).toMatchObject({ status: 501, code: 'NotImplemented', headers: { 'content-type': 'application/xml' } })
  })

  test('is not taken for what is: the object is not replaced, nor the bucket removed (they were)', async () => {
    await ask('PUT', '/as-before')
    for (const [method, query] of [['DELETE', 'metadataConfiguration'], ['DELETE', 'retention'], ['PUT', 'legal-hold'], ['DELETE', 'abac']]) expect(await ask(String(method), `/as-before?${query}`, { body: '<x/>' })).toMatchObject({ status: 501, code: 'NotImplemented' })
    await put('/as-before/x', 'as before')
    for (const [method, query] of [['PUT', 'encryption'], ['PUT', 'lifecycle'], ['DELETE', 'policy'], ['PUT', 'versioning'], ['DELETE', 'cors']]) expect(await ask(String(method), `/as-before/x?${query}`, { body: '<x/>' })).toMatchObject({ status: 501, code: 'NotImplemented' })
    expect((await ask('GET', '/as-before/x')).body).toBe('as before')
  })

  test.each([['POST', '/photos/x'], ['PATCH', '/photos'], ['DELETE', '/']])('%s %s is 405', async (method, path) => {
    expect((await ask(method, path)).status).toBe(405)
  })

  test.each([
    ['cors', 'NoSuchCORSConfiguration'], ['policy', 'NoSuchBucketPolicy'], ['lifecycle', 'NoSuchLifecycleConfiguration'], ['tagging', 'NoSuchTagSet'], ['encryption', 'ServerSideEncryptionConfigurationNotFoundError'],
    ['website', 'NoSuchWebsiteConfiguration'], ['object-lock', 'ObjectLockConfigurationNotFoundError'], ['publicAccessBlock', 'NoSuchPublicAccessBlockConfiguration'], ['replication', 'ReplicationConfigurationNotFoundError'],
  ])('?%s of a bucket that has none is told as %s', async (name, code) => {
    expect(await ask('GET', `/photos?${name}`)).toMatchObject({ status: 404, code })
  })

  test('versioning that was never enabled is an empty configuration, and the access list is its owner\'s', async () => {
    expect((await ask('GET', '/photos?versioning')).body).toContain('<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
    expect((await ask('GET', '/photos?acl')).body).toContain('FULL_CONTROL')
  })
})

describe('settings of a bucket', () => {
  test.each([
    ['versioning', '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>', false],
    ['object-lock', '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>', false],
    ['cors', '<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>', true],
    ['lifecycle', '<LifecycleConfiguration><Rule><ID>old</ID><Filter><And><Prefix>tmp/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag><ObjectSizeGreaterThan>100</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><Expiration><Days>7</Days></Expiration></Rule></LifecycleConfiguration>', true],
    ['lifecycle', '<LifecycleConfiguration><Rule><ID>rest</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Disabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>5</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>', true],
    ['tagging', '<Tagging><TagSet><Tag><Key>team</Key><Value>a&amp;b</Value></Tag></TagSet></Tagging>', true],
    ['website', '<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>404.html</Key></ErrorDocument></WebsiteConfiguration>', true],
  ])('%s is kept as it was given', async (name, xml, isRemovable) => {
    await ask('PUT', '/with-settings')
    expect(await ask('PUT', `/with-settings?${name}`, { body: xml })).toMatchObject({ status: 200 })
    const body = (await ask('GET', `/with-settings?${name}`)).body.replace(/^<\?xml[^>]*>\n/, '').replace(/ xmlns="[^"]*"/, '')
    expect(body).toBe(xml)
    expect((await ask('DELETE', `/with-settings?${name}`)).status).toBe(isRemovable ? 204 : 405)
    if (isRemovable) expect((await ask('GET', `/with-settings?${name}`)).status).toBe(404)
  })

  test('a quota stores nothing beyond it, and says what may be', async () => {
    await ask('PUT', '/bounded')
    await server.objects.setBucketSettings('bounded', { quotaBytes: 10 })
    expect((await put('/bounded/x', '12345678')).status).toBe(200)
    expect(await put('/bounded/y', '123')).toMatchObject({ status: 403, code: 'QuotaExceeded', body: expect.stringContaining('may have 10 bytes') as string })
    expect((await ask('HEAD', '/bounded/y')).status).toBe(404)
  })

  test.each([
    ['lifecycle', '<LifecycleConfiguration><Rule><ID>x</ID><Filter/><Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>', 'NotImplemented'],
    ['lifecycle', '<LifecycleConfiguration><Rule><Filter><Prefx>tmp/</Prefx></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>', 'MalformedXML'],
    ['lifecycle', '<LifecycleConfiguration><Rule><Filter><Prefix>a</Prefix><And><Prefix>tmp/</Prefix></And></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>', 'MalformedXML'],
    ['lifecycle', '<LifecycleConfiguration><Rule><Filtre><Prefix>tmp/</Prefix></Filtre><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>', 'MalformedXML'],
    ['lifecycle', '<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule></LifecycleConfiguration>', 'MalformedXML'],
    ['lifecycle', '<LifecycleConfiguration/>', 'MalformedXML'],
    ['cors', '<CORSConfiguration/>', 'MalformedXML'],
    ['tagging', '<Tagging/>', 'MalformedXML'],
    ['acl', '<AccessControlPolicy><AccessControlList><Grant><Grantee><ID>somebody</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>', 'NotImplemented'],
    ['versioning', '<VersioningConfiguration><Status>On</Status></VersioningConfiguration>', 'MalformedXML'],
    ['policy', '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}', 'NotImplemented'],
    ['policy', '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"}]}', 'MalformedPolicy'],
    ['policy', '{"Statement":[{"Effect":"Deny","NotPrincipal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*"}]}', 'NotImplemented'],
    ['policy', '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*","Condition":{"Bool":{"aws:SecureTransport":["true","false"]}}}]}', 'NotImplemented'],
    ['policy', '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObjects","Resource":"arn:aws:s3:::photos/*"}]}', 'MalformedPolicy'],
    ['policy', '{"Statement":[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"s3:*","Resource":"arn:aws:s3:::photos/*"}]}', 'MalformedPolicy'],
    ['policy', '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/${aws:username}/*"}]}', 'NotImplemented'],
    ['policy', 'x', 'MalformedPolicy'],
  ])('%s that is not understood is not taken (%#)', async (name, body, code) => {
    expect(await ask('PUT', `/photos?${name}`, { body })).toMatchObject({ code })
  })
})

describe('who may', () => {
  test('nobody without a key, nor with an unknown, wrong, removed or expired one', async () => {
    await put('/photos/secret', 'x')
    expect(await ask('GET', '/photos/secret', { key: undefined })).toMatchObject({ status: 403, code: 'AccessDenied' })
    expect(await ask('GET', '/', { key: undefined })).toMatchObject({ status: 403, code: 'AccessDenied' })
    expect(await ask('GET', '/photos/secret', { key: { id: 'DFSAAAAAAAAAAAAAAAAA', secret: 'x' } })).toMatchObject({ status: 403, code: 'InvalidAccessKeyId' })
    expect(await ask('GET', '/photos/secret', { key: { ...server.key, secret: 'x' } })).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' })
    const expired = await server.keyWith([{ bucket: '*', prefix: '', actions: ['read'] }], 1000)
    expect(await ask('GET', '/photos/secret', { key: expired })).toMatchObject({ status: 403, code: 'AccessDenied', body: expect.stringContaining('expired') as string })
    const removed = await server.keyWith([{ bucket: '*', prefix: '', actions: ['read'] }])
    expect((await ask('GET', '/photos/secret', { key: removed })).status).toBe(200)
    await server.keys.remove(removed.id)
    expect(await ask('GET', '/photos/secret', { key: removed })).toMatchObject({ status: 403, code: 'InvalidAccessKeyId' })
  })

  test('nobody who means the bucket of another owner', async () => {
    await put('/photos/owned', 'x')
    for (const name of ['x-amz-expected-bucket-owner', 'x-amz-source-expected-bucket-owner']) {
      expect((await ask('GET', '/photos/owned', { headers: { [name]: '123456789012' } })).status).toBe(403)
      expect((await ask('GET', '/photos/owned', { headers: { [name]: 'dfs' } })).status).toBe(200)
    }
  })

  test('a key what its rights say, and no more', async () => {
    const reader = await server.keyWith([{ bucket: 'photos', prefix: 'cats/', actions: ['read', 'list'] }])
    await put('/photos/cats/1', 'meow')
    const status = async (method: string, path: string, body?: string, headers?: Record<string, string>): Promise<number> => (await ask(method, path, { key: reader, body, headers })).status
    expect(await status('GET', '/photos/cats/1')).toBe(200)
    expect(await status('GET', '/photos/dogs/1')).toBe(403)
    expect(await status('PUT', '/photos/cats/2', 'x')).toBe(403)
    expect(await status('DELETE', '/photos/cats/1')).toBe(403)
    expect(await status('GET', '/photos?prefix=cats/')).toBe(200)
    expect(await status('GET', '/photos?prefix=c')).toBe(403)
    expect(await status('GET', '/photos')).toBe(403)
    expect(await status('GET', '/photos?policy')).toBe(403)
    expect(await status('PUT', '/another-bucket')).toBe(403)
    expect(texts((await ask('GET', '/', { key: reader })).body, 'Name')).toEqual(['photos'])
    // a copy reads too
    const writer = await server.keyWith([{ bucket: 'photos', prefix: 'out/', actions: ['write'] }])
    expect((await ask('PUT', '/photos/out/x', { key: writer, headers: { 'x-amz-copy-source': '/photos/cats/1' } })).status).toBe(403)
  })

  test('anybody reads objects of a public bucket, and lists and writes nothing', async () => {
    await ask('PUT', '/open-bucket', { headers: { 'x-amz-acl': 'public-read' } })
    await put('/open-bucket/x', 'for all')
    const anybody = { key: undefined }
    expect(await ask('GET', '/open-bucket/x', anybody)).toMatchObject({ status: 200, body: 'for all' })
    expect((await ask('GET', '/open-bucket', anybody)).status).toBe(403)
    expect((await ask('PUT', '/open-bucket/y', { ...anybody, body: 'x' })).status).toBe(403)
    expect((await ask('GET', '/open-bucket/x?response-content-type=text/html', anybody)).status).toBe(400)
    expect((await ask('GET', '/open-bucket?acl')).body).toContain('AllUsers')
    expect((await ask('PUT', '/open-bucket?acl', { headers: { 'x-amz-acl': 'private' } })).status).toBe(200)
    expect((await ask('GET', '/open-bucket/x', anybody)).status).toBe(403)
  })

  test('a policy lets some, and denies before all', async () => {
    await ask('PUT', '/ruled')
    await put('/ruled/pub/x', 'x')
    await put('/ruled/private', 'x')
    const guest = await server.keyWith([])
    const policy = { Version: '2012-10-17', Statement: [
      { Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'], Resource: 'arn:aws:s3:::ruled/pub/*' },
      { Effect: 'Allow', Principal: { AWS: [`arn:aws:iam:::user/${guest.id}`] }, Action: 's3:List*', Resource: ['arn:aws:s3:::ruled'] },
      { Effect: 'Deny', Principal: '*', Action: 's3:DeleteObject', Resource: 'arn:aws:s3:::ruled/*' },
    ] }
    expect((await ask('PUT', '/ruled?policy', { body: JSON.stringify(policy) })).status).toBe(204)
    expect(JSON.parse((await ask('GET', '/ruled?policy')).body)).toEqual(policy)
    expect((await ask('GET', '/ruled?policyStatus')).body).toContain('TRUE')
    expect((await ask('GET', '/ruled/pub/x', { key: undefined })).status).toBe(200)
    expect((await ask('GET', '/ruled/private', { key: undefined })).status).toBe(403)
    expect((await ask('GET', '/ruled', { key: guest })).status).toBe(200)
    expect((await ask('GET', '/ruled/private', { key: guest })).status).toBe(403)
    expect(await ask('DELETE', '/ruled/private')).toMatchObject({ status: 403, code: 'AccessDenied' })
    // who may administer the bucket is not locked out by a policy
    await ask('PUT', '/ruled?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: '*', Resource: ['arn:aws:s3:::ruled', 'arn:aws:s3:::ruled/*'] }] }) })
    expect((await ask('GET', '/ruled')).status).toBe(403)
    expect((await ask('DELETE', '/ruled?policy')).status).toBe(204)
    expect((await ask('DELETE', '/ruled/private')).status).toBe(204)
  })
})

describe('what a bucket opens', () => {
  const [anybody, both] = [{ key: undefined }, (bucket: string): string[] => [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]]
  let old: string
  beforeAll(async () => {
    await ask('PUT', '/opened', { headers: { 'x-amz-bucket-object-lock-enabled': 'true', 'x-amz-acl': 'public-read' } })
    old = String((await put('/opened/x', 'what was taken back')).headers['x-amz-version-id'])
    await put('/opened/x', 'what is shown')
  })

  test('to everybody is what is current, and no way leads to what was', async () => {
    expect((await ask('GET', '/opened/x', anybody)).body).toBe('what is shown')
    expect((await ask('GET', `/opened/x?versionId=${old}`, anybody)).status).toBe(403)
    const guest = await server.keyWith([{ bucket: 'photos', prefix: 'guest/', actions: ['read', 'write'] }])
    const copied = async (source: string): Promise<number> => (await ask('PUT', '/photos/guest/copy', { key: guest, headers: { 'x-amz-copy-source': source } })).status
    expect([await copied('/opened/x'), await copied(`/opened/x?versionId=${old}`)]).toEqual([200, 403])
  })

  test('or shuts for versions by name is shut whichever request names them', async () => {
    const refused = ['s3:GetObjectVersion', 's3:DeleteObjectVersion', 's3:GetObjectVersionTagging', 's3:PutObjectVersionTagging']
    await ask('PUT', '/opened?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: refused, Resource: both('opened') }] }) })
    const path = `/opened/x?versionId=${old}`
    const statuses = [await ask('GET', path), await ask('HEAD', path), await ask('DELETE', path), await ask('GET', `${path}&tagging`), await ask('PUT', `${path}&tagging`, { body: '<Tagging><TagSet/></Tagging>' })].map(({ status }) => status)
    expect(statuses).toEqual([403, 403, 403, 403, 403])
    expect((await ask('GET', '/opened/x')).status).toBe(200)
    expect((await ask('DELETE', '/opened?policy')).status).toBe(204)
    expect((await ask('GET', path)).body).toBe('what was taken back')
  })

  test.each([
    ['PutLifecycleConfiguration', 'PUT', 'lifecycle', '<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>'], ['GetLifecycleConfiguration', 'GET', 'lifecycle', undefined],
    ['PutLifecycleConfiguration', 'DELETE', 'lifecycle', undefined], ['DeleteBucketWebsite', 'DELETE', 'website', undefined], ['PutBucketWebsite', 'PUT', 'website', '<WebsiteConfiguration/>'], ['GetBucketCORS', 'GET', 'cors', undefined],
    ['PutBucketTagging', 'DELETE', 'tagging', undefined], ['PutBucketVersioning', 'PUT', 'versioning', '<VersioningConfiguration/>'], ['GetBucketObjectLockConfiguration', 'GET', 'object-lock', undefined],
    ['GetEncryptionConfiguration', 'GET', 'encryption', undefined], ['GetReplicationConfiguration', 'GET', 'replication', undefined], ['GetBucketPublicAccessBlock', 'GET', 'publicAccessBlock', undefined],
  ])('or shuts by AWS\'s %s is shut: %s ?%s', async (action, method, query, body) => {
    await ask('PUT', '/opened?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: `s3:${action}`, Resource: 'arn:aws:s3:::opened' }] }) })
    expect(await ask(method, `/opened?${query}`, { body })).toMatchObject({ status: 403, code: 'AccessDenied' })
    expect((await ask('DELETE', '/opened?policy')).status).toBe(204)
  })

  test('or shuts for lists is shut whatever prefix is asked for', async () => {
    await ask('PUT', '/opened?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:ListBucket*', Resource: 'arn:aws:s3:::opened' }] }) })
    for (const query of ['', '?prefix=x', '?prefix=', '?versions&prefix=x', '?uploads&prefix=x', '?list-type=2&prefix=x']) expect((await ask('GET', `/opened${query}`)).status).toBe(403)
    await ask('PUT', '/opened?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:ListBucket', Resource: 'arn:aws:s3:::opened' }] }) })
    expect((await ask('GET', '/opened?prefix=x', anybody)).status).toBe(200)
    expect((await ask('GET', '/opened?versions&prefix=x', anybody)).status).toBe(403)
    await ask('DELETE', '/opened?policy')
  })

  test('for puts is not opened for locks and tags, with which one could be left that nobody removes', async () => {
    await ask('PUT', '/opened?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:PutObject', Resource: both('opened') }] }) })
    const [until, path] = [new Date(Date.now() + 3_600_000).toISOString(), '/opened/dropped']
    const status = async (headers: Record<string, string>, method = 'PUT', query = ''): Promise<number> => (await ask(method, path + query, { ...anybody, body: 'x', headers })).status
    expect(await status({})).toBe(200)
    const locked = { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': until }
    expect([await status(locked), await status({ 'x-amz-object-lock-legal-hold': 'ON' }), await status({ 'x-amz-tagging': 'a=b' }), await status(locked, 'POST', '?uploads')]).toEqual([403, 403, 403, 403])
    await ask('DELETE', '/opened?policy')
  })

  test('a hold is released by who may administer the bucket, not by who may write', async () => {
    const id = String((await put('/opened/held', 'x')).headers['x-amz-version-id'])
    const writer = await server.keyWith([{ bucket: 'opened', prefix: '', actions: ['read', 'write', 'list'] }])
    const path = `/opened/held?versionId=${id}`
    const set = async (status: string, key = server.key): Promise<number> => (await ask('PUT', `${path}&legal-hold`, { key, body: `<LegalHold><Status>${status}</Status></LegalHold>` })).status
    expect([await set('ON', writer), await set('OFF', writer)]).toEqual([200, 403])
    expect((await ask('DELETE', path)).status).toBe(403)
    expect(await set('OFF')).toBe(200)
    expect((await ask('DELETE', path)).status).toBe(204)
  })
})

describe('presigned', () => {
  test('URLs get and put without a header', async () => {
    expect((await ask('PUT', '/photos/by-link', { presigned: 60, body: 'linked' })).status).toBe(200)
    expect(await ask('GET', '/photos/by-link', { presigned: 60 })).toMatchObject({ status: 200, body: 'linked' })
  })

  test('a checksum in the query of a presigned PUT is of an empty body, and not held against it', async () => {
    expect((await ask('PUT', '/photos/by-sdk?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32', { presigned: 60, body: 'linked' })).status).toBe(200)
  })

  test('what a signed query says in the place of headers counts as one (a copy stored an empty object, a lock was none)', async () => {
    const at = async (method: string, path: string, body?: string, options: S3Ask = {}): Promise<S3Answer> => ask(method, path, { presigned: 60, body, ...options })
    await put('/photos/to-copy', 'to be copied')
    expect((await at('PUT', '/photos/copy-by-link?x-amz-copy-source=%2Fphotos%2Fto-copy&x-id=CopyObject')).body).toContain('CopyObjectResult')
    expect((await ask('GET', '/photos/copy-by-link')).body).toBe('to be copied')
    expect((await at('PUT', '/photos/said-by-link?x-amz-meta-who=me%20too&x-amz-tagging=a%3Db', 'x')).status).toBe(200)
    expect((await ask('HEAD', '/photos/said-by-link')).headers).toMatchObject({ 'x-amz-meta-who': 'me too', 'x-amz-tagging-count': '1' })
    for (const said of ['x-amz-acl=public-read', 'x-amz-grant-read=x', 'x-amz-server-side-encryption=aws%3Akms']) expect((await at('PUT', `/photos/refused-by-link?${said}`, 'x')).code).toBe('NotImplemented')
    const lock = `x-amz-object-lock-mode=COMPLIANCE&x-amz-object-lock-retain-until-date=${encodeURIComponent(new Date(Date.now() + 3_600_000).toISOString())}`
    expect((await at('PUT', `/photos/refused-by-link?${lock}`, 'x')).status).not.toBe(200)
    expect((await ask('HEAD', '/photos/refused-by-link')).status).toBe(404)
    // of a request that is signed in its headers, or not at all, it says nothing
    expect((await put('/photos/said-beside?x-amz-meta-who=me', 'x')).status).toBe(200)
    expect((await ask('HEAD', '/photos/said-beside')).headers).not.toHaveProperty('x-amz-meta-who')
  })

  test('Signature Version 2 is told what to do', async () => {
    expect(await ask('GET', `/photos/x?AWSAccessKeyId=${server.key.id}&Expires=9999999999&Signature=x`, { key: undefined })).toMatchObject({ status: 400, code: 'InvalidRequest', body: expect.stringContaining('s3v4') as string })
  })
})

describe('hosts', () => {
  test('a bucket may stand in the name', async () => {
    await put('/photos/hosted/x', 'hosted')
    for (const host of ['photos.localhost', `photos.localhost:${server.port}`, 'photos.s3.example.org']) expect(await ask('GET', '/hosted/x', { host })).toMatchObject({ status: 200, body: 'hosted' })
    expect(texts((await ask('GET', '/?prefix=hosted/', { host: 'photos.localhost' })).body, 'Key')).toEqual(['hosted/x'])
    for (const host of ['localhost', 's3.example.org']) expect((await ask('GET', '/photos/hosted/x', { host })).status).toBe(200)
    expect((await ask('GET', '/photos/hosted/x', { host: 'evil.example' })).status).toBe(421)
  })

  test('a region that is not ours is told ours, when there is one', async () => {
    await using other = await s3Server({ face: { region: 'garage' } })
    const answer = await askS3(other.port, 'GET', '/photos', { key: other.key })
    expect(answer).toMatchObject({ status: 400, code: 'AuthorizationHeaderMalformed', body: expect.stringContaining('<Region>garage</Region>') as string })
    expect((await askS3(other.port, 'GET', '/photos', { key: other.key, region: 'garage' })).status).toBe(200)
  })
})

describe('web pages', () => {
  beforeAll(async () => {
    await ask('PUT', '/crossed')
    await put('/crossed/x', 'x')
    await ask('PUT', '/crossed?cors', { body: '<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>content-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>' })
  })

  test('of an origin that the bucket allows may ask', async () => {
    const preflight = await ask('OPTIONS', '/crossed/x', { key: undefined, headers: { origin: 'https://a.example', 'access-control-request-method': 'PUT', 'access-control-request-headers': 'content-type' } })
    expect(preflight).toMatchObject({ status: 200, headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-allow-headers': 'content-type' } })
    expect(await ask('GET', '/crossed/x', { headers: { origin: 'https://a.example' } })).toMatchObject({ status: 200, headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-expose-headers': 'ETag' } })
  })

  test.each([['another origin', 'https://a.evil', 'PUT', 'content-type'], ['another method', 'https://a.example', 'DELETE', 'content-type'], ['another header', 'https://a.example', 'PUT', 'x-amz-date']])('with %s are refused', async (_name, origin, method, names) => {
    expect((await ask('OPTIONS', '/crossed/x', { key: undefined, headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': names } })).status).toBe(403)
  })

  test('of another origin read nothing of an answer', async () => {
    expect((await ask('GET', '/crossed/x', { headers: { origin: 'https://a.evil' } })).headers).not.toHaveProperty('access-control-allow-origin')
  })
})

describe('what is not known', () => {
  test('is 503, and under a condition what no library repeats by itself', async () => {
    const stored = server.objects.put.bind(server.objects)
    Object.assign(server.objects, { put: async () => { throw new UnknownOutcome('the change may have happened') } })
    try {
      expect(await put('/photos/unknown', 'x')).toMatchObject({ status: 503, code: 'ServiceUnavailable', headers: { 'retry-after': '1' } })
      expect(await put('/photos/unknown', 'x', { 'if-none-match': '*' })).toMatchObject({ status: 409, code: 'ConditionalRequestConflict' })
    } finally { Object.assign(server.objects, { put: stored }) }
  })

  test.each([[new Unavailable('no majority'), 503, 'ServiceUnavailable'], [new StoreFull('no room'), 507, 'InsufficientStorage'], [new Corrupt('rotten'), 502, 'Unreadable'], [new Refused('no'), 403, 'AccessDenied']])('%s', async (error, status, code) => {
    const get = server.objects.get.bind(server.objects)
    Object.assign(server.objects, { get: async () => { throw error } })
    try { expect(await ask('GET', '/photos/unknown')).toMatchObject({ status, code }) } finally { Object.assign(server.objects, { get }) }
  })
})

describe('a client that asks before it sends', () => {
  const expecting = (path: string, headers = ''): Promise<string> => new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1')
    let text = ''
    socket.on('data', (bytes) => { text += bytes.toString(); if (text.includes('100 Continue') && !text.includes('200 OK')) socket.write('hello') ; if (text.includes('RequestId') || text.includes('200 OK')) socket.end() })
    socket.on('close', () => { resolve(text) }).on('error', reject)
    socket.write(`PUT ${path} HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n${headers}\r\n`)
  })

  test('is told to go on when it may, and refused at once when it may not', async () => {
    const aws4 = (await import('aws4')).default
    const presigned = (path: string): string => aws4.sign({ service: 's3', region: 'us-east-1', method: 'PUT', host: `127.0.0.1:${server.port}`, path: `${path}?X-Amz-Expires=60`, signQuery: true }, { accessKeyId: server.key.id, secretAccessKey: server.key.secret }).path ?? ''
    expect(await expecting(presigned('/photos/expected'))).toMatch(/^HTTP\/1.1 100 Continue\r\n[^]*HTTP\/1.1 200 OK/)
    expect(await expecting('/photos/expected')).toMatch(/^HTTP\/1.1 403 Forbidden/)
    expect(await expecting(presigned('/nowhere/expected'))).toMatch(/^HTTP\/1.1 404 Not Found/)
  })
})

describe('tricks with paths', () => {
  const store = async (raw: string, key: string): Promise<void> => {
    expect(await put(`/photos/${raw}`, `content of ${raw}`)).toMatchObject({ status: 200 })
    expect(await server.objects.head({ bucket: 'photos', key })).toMatchObject({ key })
    expect(await ask('GET', `/photos/${raw}`)).toMatchObject({ status: 200, body: `content of ${raw}` })
    expect((await ask('DELETE', `/photos/${raw}`)).status).toBe(204)
  }

  test.each([
    ['dots', '../../etc/passwd', '../../etc/passwd'], ['encoded dots', '%2e%2e/%2E%2E/x', '../../x'], ['dots alone', '..', '..'], ['a dot', './x', './x'], ['an encoded slash', 'a%2Fb', 'a/b'], ['slashes', 'a//b///c', 'a//b///c'], ['a slash first', '/a', '/a'],
    ['a slash last', 'a/', 'a/'], ['NUL', 'a%00b', 'a\0b'], ['a line break', 'a%0D%0Ab', 'a\r\nb'], ['an encoded percent', '100%25', '100%'], ['twice encoded', '%252e', '%2e'], ['a backslash', 'a%5Cb', 'a\\b'], ['a plus', 'a%2Bb', 'a+b'],
    ['a question mark', 'a%3Fb', 'a?b'], ['a hash', 'a%23b', 'a#b'], ['an equals sign', 'a=b&c', 'a=b&c'], ['a tilde', '~x', '~x'], ['a colon', 'c:/x', 'c:/x'], ['a BOM', '%EF%BB%BFx', '\ufeffx'],
    ['a right-to-left mark', '%E2%80%8Fx', '\u200fx'], ['a decomposed letter', 'e%CC%81', 'e\u0301'],
  ])('%s are a key like another', async (_name, raw, key) => { await store(raw, key) })

  test.each(Array.from({ length: 17 }, (_, plane) => plane))('a character of plane %i is a key like another', async (plane) => {
    const character = String.fromCodePoint(plane * 0x10000 + 0xabc)
    await store(encodeURIComponent(`k${character}`), `k${character}`)
  })

  test('1,024 bytes are a key, 1,025 are not', async () => {
    await store('k'.repeat(1024), 'k'.repeat(1024))
    expect(await put(`/photos/${'k'.repeat(1025)}`, 'x')).toMatchObject({ status: 400, code: 'KeyTooLongError' })
    await store(encodeURIComponent('é'.repeat(512)), 'é'.repeat(512))
    expect(await put(`/photos/${encodeURIComponent('é'.repeat(513))}`, 'x')).toMatchObject({ status: 400, code: 'KeyTooLongError' })
  })

  test.each([['/photos/%zz'], ['/photos/%'], ['/photos/%ff'], ['/photos/%ed%a0%80'], ['/photos/%c0%ae'], ['/photos/x?prefix=%ff'], ['/%ff/x'], [`/photos/x?a=${'b'.repeat(9000)}`]])('%s is no path', async (path) => {
    // aws4 cannot sign what is no text
    expect(await askS3(server.port, 'GET', path)).toMatchObject({ status: 400, code: 'InvalidURI' })
  })
})

describe('the log', () => {
  test('has no secret, no signature and no key of an object', async () => {
    await put('/photos/very-private-name', 'x', { 'x-amz-meta-a': 'private-metadata' })
    await ask('GET', '/photos/very-private-name', { presigned: 60 })
    await ask('GET', '/photos/very-private-name-2')
    await ask('PUT', '/photos/very-private-name', { headers: { 'if-none-match': '*' } })
    await ask('PUT', '/photos/x', { headers: { 'x-amz-copy-source': '/photos/very-private-name-2' } })
    const get = server.objects.get.bind(server.objects)
    Object.assign(server.objects, { get: async () => { throw new Corrupt('the row of a version of "very-private-name" is missing') } })
    expect((await ask('GET', '/photos/very-private-name')).status).toBe(502)
    Object.assign(server.objects, { get })
    const unsure = { isActive: async () => { throw new Unavailable('no majority') } }
    await expect(confirmBucket(server.world.parts, unsure as never, { bucket: { name: 'very-private-name' } as never, key: 'very-private-name' }, {} as never)).rejects.toMatchObject({ code: 'unknown', message: expect.not.stringContaining('very-private-name') as string })
    const text = server.logged.join('\n')
    expect(text).toContain('"operation":"GetObject"')
    for (const secret of [server.key.secret, 'very-private-name', 'private-metadata', 'X-Amz-Signature']) expect(text).not.toContain(secret)
  })

  test('nothing that was known was a 500', () => {
    expect(server.logged.filter((line) => line.includes('"status":500'))).toEqual([])
  })
})
