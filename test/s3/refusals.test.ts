import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PublicExchange } from '../../src/api/server/public-listener.ts'
import { s3Face } from '../../src/api/s3/face.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Conflict } from '../../src/base/errors.ts'
import { askS3, type S3Answer, type S3Ask } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'

/** What a request says is done or refused: each of these was passed over, and something else was done than what was said. */
let server: S3Server
beforeAll(async () => { server = await s3Server() })
afterAll(async () => { await server[Symbol.asyncDispose]() })

const ask = (method: string, path: string, options: S3Ask = {}): Promise<S3Answer> => askS3(server.port, method, path, { key: server.key, ...options })
const put = (path: string, body: string, headers: Record<string, string> = {}): Promise<S3Answer> => ask('PUT', path, { body, headers })
const contentOf = async (path: string): Promise<string> => (await ask('GET', path)).body

describe('a lifecycle rule', () => {
  const rule = (inner: string): string => `<LifecycleConfiguration><Rule>${inner}<Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>`
  const dated = (date: string): string => `<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Date>${date}</Date></Expiration></Rule></LifecycleConfiguration>`
  const of = (actions: string, filter = '<Filter/>'): string => `<LifecycleConfiguration><Rule>${filter}<Status>Enabled</Status>${actions}</Rule></LifecycleConfiguration>`

  test.each([
    ['text for a filter', rule('<Filter>logs/</Filter>')], ['text for And', rule('<Filter><And>logs/</And></Filter>')], ['an And of nothing', rule('<Filter><And/></Filter>')], ['elements in a prefix', rule('<Prefix><Value>logs/</Value></Prefix>')],
    ['no filter', rule('')], ['two prefixes', rule('<Filter><Prefix/><Prefix>logs/</Prefix></Filter>')], ['two filters', rule('<Filter/><Filter><Prefix>logs/</Prefix></Filter>')], ['a filter and a prefix', rule('<Filter/><Prefix>logs/</Prefix>')],
    ['text beside elements', rule('<Filter>logs/<Prefix/></Filter>')], ['several conditions without And', rule('<Filter><Prefix/><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>')], ['half a tag', rule('<Filter><Tag><Key>a</Key></Tag></Filter>')],
    ['something beside its rules', rule('<Filter/>').replace('<Rule>', '<Rules/><Rule>')], ['an element of JavaScript', rule('<Filter><constructor/></Filter>')],
    ['a number of days for a date', dated('365')], ['a year', dated('2030')], ['a day that is not in the calendar', dated('2030-02-30T00:00:00Z')], ['a date without its zone', dated('2030-01-02T00:00:00')],
  ])('with %s is refused, and not taken for one of everything', async (_name, body) => {
    expect(await ask('PUT', '/photos?lifecycle', { body })).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test.each([
    ['a date within a day', dated('2030-01-02T03:00:00Z')], ['abandoned uploads by size', of('<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>', '<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>')],
    ['delete markers by tags', of('<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>', '<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>')],
  ])('with %s is refused, as by AWS', async (_name, body) => {
    expect(await ask('PUT', '/photos?lifecycle', { body })).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })

  test.each([rule('<Filter/>'), rule('<Filter><Prefix>logs/</Prefix></Filter>'), rule('<Prefix>logs/</Prefix>'), rule('<Prefix/>'), dated('2030-01-02T00:00:00Z'), dated('2030-01-02T00:00:00.000Z'), dated('2030-01-02'), dated('2030-01-02T02:00:00+02:00')])('that says what it is of is taken: %s', async (body) => {
    await ask('PUT', '/expiring')
    expect((await ask('PUT', '/expiring?lifecycle', { body })).status).toBe(200)
  })
})

describe('a copy', () => {
  test('has no tags with it that who asks may not read: a bucket that is open to everybody shows none', async () => {
    await ask('PUT', '/open-tags', { headers: { 'x-amz-acl': 'public-read' } })
    await put('/open-tags/tagged', 'x', { 'x-amz-tagging': 'secret=plan' })
    await put('/open-tags/plain', 'x')
    await ask('PUT', '/own-tags')
    const key = await server.keyWith([{ bucket: 'own-tags', prefix: '', actions: ['read', 'write', 'list'] }])
    const copy = (name: string, headers: Record<string, string> = {}): Promise<S3Answer> => ask('PUT', `/own-tags/${name}`, { key, headers: { 'x-amz-copy-source': `/open-tags/${name}`, ...headers } })
    expect(await ask('GET', '/open-tags/tagged?tagging', { key })).toMatchObject({ status: 403 })
    expect(await copy('tagged')).toMatchObject({ status: 403, code: 'AccessDenied' })
    expect(await ask('HEAD', '/own-tags/tagged')).toMatchObject({ status: 404 })
    expect((await copy('plain')).status).toBe(200)
    expect((await copy('tagged', { 'x-amz-tagging-directive': 'REPLACE', 'x-amz-tagging': 'own=tag' })).status).toBe(200)
    expect((await ask('GET', '/own-tags/tagged?tagging', { key })).body).toMatch(/<Key>own</)
    expect((await ask('PUT', '/own-tags/admins', { headers: { 'x-amz-copy-source': '/open-tags/tagged' } })).status).toBe(200)
    expect((await ask('GET', '/own-tags/admins?tagging')).body).toMatch(/<Key>secret</)
  })

  test('is no redirect because its source is one, and is one where it says so, as at AWS', async () => {
    const redirectOf = async (path: string): Promise<unknown> => (await ask('HEAD', path)).headers['x-amz-website-redirect-location']
    await put('/photos/moved', '', { 'x-amz-website-redirect-location': '/there', 'x-amz-meta-a': 'b' })
    const copy = (path: string, source: string, headers: Record<string, string> = {}): Promise<S3Answer> => ask('PUT', path, { headers: { 'x-amz-copy-source': source, ...headers } })
    expect((await copy('/photos/not-moved', '/photos/moved')).status).toBe(200)
    expect((await ask('HEAD', '/photos/not-moved')).headers).toMatchObject({ 'x-amz-meta-a': 'b' })
    expect(await redirectOf('/photos/not-moved')).toBeUndefined()
    expect((await copy('/photos/moved-on', '/photos/moved', { 'x-amz-website-redirect-location': '/elsewhere' })).status).toBe(200)
    expect((await copy('/photos/not-moved', '/photos/not-moved', { 'x-amz-website-redirect-location': '/itself' })).status).toBe(200)
    expect([await redirectOf('/photos/moved'), await redirectOf('/photos/moved-on'), await redirectOf('/photos/not-moved')]).toEqual(['/there', '/elsewhere', '/itself'])
    expect(await copy('/photos/moved', '/photos/moved')).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect(await redirectOf('/photos/moved')).toBe('/there')
  })

  test('has none with it that who asks may not set', async () => {
    await ask('PUT', '/untagged')
    await put('/photos/with-tags', 'x', { 'x-amz-tagging': 'a=b' })
    await ask('PUT', '/untagged?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:PutObjectTagging', Resource: 'arn:aws:s3:::untagged/*' }] }) })
    expect(await ask('PUT', '/untagged/x', { headers: { 'x-amz-copy-source': '/photos/with-tags' } })).toMatchObject({ status: 403, code: 'AccessDenied' })
    await put('/photos/without-tags', 'x')
    expect((await ask('PUT', '/untagged/x', { headers: { 'x-amz-copy-source': '/photos/without-tags' } })).status).toBe(200)
  })
})

describe('a deletion', () => {
  test.each([
    ['a misspelt version', '<VersionID>x</VersionID>', 'MalformedXML'], ['a misspelt ETag', '<Etag>x</Etag>', 'MalformedXML'], ['a size', '<Size>1</Size>', 'NotImplemented'], ['a date', '<LastModifiedTime>x</LastModifiedTime>', 'NotImplemented'],
    ['two versions', '<VersionId/><VersionId>x</VersionId>', 'MalformedXML'],
  ])('of many with %s removes nothing', async (_name, more, code) => {
    await put('/photos/staying', 'x')
    expect(await ask('POST', '/photos?delete', { body: `<Delete><Object><Key>staying</Key>${more}</Object></Delete>` })).toMatchObject({ code })
    expect(await contentOf('/photos/staying')).toBe('x')
  })

  test('of many that a stranger asks for, who may remove none, is refused before its list is read: lists of 4 MiB, of as many strangers as there are, filled the memory', async () => {
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('POST /photos?delete HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\n<Delete>')
    const [answer] = await once(socket, 'data') as [Buffer]
    socket.destroy()
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 403 [^]*<Code>AccessDenied</)
    // nor is it told whether there is such a bucket
    expect(await ask('POST', '/no-such-bucket?delete', { key: undefined, body: '<Delete><Object><Key>x</Key></Object></Delete>' })).toMatchObject({ status: 403, code: 'AccessDenied' })
  })

  test('of many that a policy lets everybody ask for is done', async () => {
    await ask('PUT', '/anybodys')
    await put('/anybodys/x', 'x')
    await put('/anybodys/kept', 'x')
    await ask('PUT', '/anybodys?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:Delete*', Resource: 'arn:aws:s3:::anybodys/x' }] }) })
    const { body } = await ask('POST', '/anybodys?delete', { key: undefined, body: '<Delete><Object><Key>x</Key></Object><Object><Key>kept</Key></Object></Delete>' })
    expect(body).toMatch(/<Deleted><Key>x<\/Key><\/Deleted>/)
    expect(body).toMatch(/<Error><Key>kept<\/Key><Code>AccessDenied</)
  })

  test.each(['if-none-match', 'x-amz-if-match-size', 'x-amz-if-match-last-modified-time'])('with %s removes nothing', async (name) => {
    await put('/photos/staying', 'x')
    expect(await ask('DELETE', '/photos/staying', { headers: { [name]: '9' } })).toMatchObject({ status: 501, code: 'NotImplemented' })
    expect(await contentOf('/photos/staying')).toBe('x')
  })

  test('of an upload with a date that it was begun at gives nothing up', async () => {
    const [, id = ''] = /<UploadId>(\w+)</.exec((await ask('POST', '/photos/begun?uploads')).body) ?? []
    expect((await ask('DELETE', `/photos/begun?uploadId=${id}`, { headers: { 'x-amz-if-match-initiated-time': 'x' } })).status).toBe(501)
    expect((await ask('GET', `/photos/begun?uploadId=${id}`)).status).toBe(200)
  })
})

describe('a write', () => {
  test.each([
    ['an offset to append at', { 'x-amz-write-offset-bytes': '8' }, 'NotImplemented'], ['a range of the whole', { 'content-range': 'bytes 4-7/8' }, 'InvalidArgument'],
    ['a list of ETags', { 'if-none-match': '"a", "b"' }, 'NotImplemented'], ['a weak ETag', { 'if-none-match': 'W/"a"' }, 'NotImplemented'],
    ['a key of the client without its algorithm', { 'x-amz-server-side-encryption-customer-key': 'x' }, 'NotImplemented'],
  ])('with %s replaces nothing', async (_name, headers: Record<string, string>, code) => {
    await put('/photos/as-it-was', 'as it was')
    expect(await put('/photos/as-it-was', 'x', headers)).toMatchObject({ code })
    expect(await contentOf('/photos/as-it-was')).toBe('as it was')
  })

  test('of a part with a key of the client is refused', async () => {
    const [, id = ''] = /<UploadId>(\w+)</.exec((await ask('POST', '/photos/in-parts?uploads')).body) ?? []
    expect(await put(`/photos/in-parts?partNumber=1&uploadId=${id}`, 'x', { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' })).toMatchObject({ code: 'NotImplemented' })
  })
})

describe('a body that nobody signed', () => {
  const anybody = async (headers: Record<string, string>, body = 'hello'): Promise<S3Answer> => ask('PUT', '/dropbox/x', { key: undefined, headers, body })
  beforeAll(async () => {
    await ask('PUT', '/dropbox')
    await ask('PUT', '/dropbox?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:PutObject', Resource: 'arn:aws:s3:::dropbox/*' }] }) })
  })

  test('is held to the hash that it says it has', async () => {
    expect(await anybody({ 'x-amz-content-sha256': createHash('sha256').update('other').digest('hex') })).toMatchObject({ code: 'XAmzContentSHA256Mismatch' })
    expect((await anybody({ 'x-amz-content-sha256': createHash('sha256').update('hello').digest('hex') })).status).toBe(200)
    expect((await anybody({})).status).toBe(200)
  })

  test('comes in chunks as it says, and not in signed ones', async () => {
    const chunked = '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n'
    for (const mode of [{ 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }, {}] as ReadonlyArray<Record<string, string>>) {
      expect((await anybody({ ...mode, 'x-amz-trailer': 'x-amz-checksum-crc32', 'x-amz-decoded-content-length': '5', 'content-encoding': 'aws-chunked' }, chunked)).status).toBe(200)
      expect(await contentOf('/dropbox/x')).toBe('hello')
    }
    expect(await anybody({ 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' }, '5\r\nhello\r\n0\r\n\r\n')).toMatchObject({ code: 'AccessDenied' })
  })
})

describe('a checksum', () => {
  const begun = async (headers: Record<string, string>): Promise<S3Answer> => ask('POST', '/photos/summed?uploads', { headers })

  test('by an algorithm that is not known is refused', async () => {
    expect(await put('/photos/summed', 'x', { 'x-amz-checksum-md5': 'x' })).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect((await put('/photos/summed', 'x', { 'x-amz-checksum-algorithm': 'CRC32' })).status).toBe(200)
  })

  test.each([
    ['a size that is no number', { 'x-amz-mp-object-size': 'abc' }, 'InvalidArgument'], ['an unknown type', { 'x-amz-checksum-type': 'WHOLE' }, 'InvalidRequest'], ['two checksums', { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-crc32c': 'AAAAAA==' }, 'InvalidRequest'],
    ['a checksum of another number of parts', { 'x-amz-checksum-crc32': 'AAAAAA==-2' }, 'InvalidRequest'],
  ])('of an upload with %s completes nothing', async (_name, headers: Record<string, string>, code) => {
    const [, id = ''] = /<UploadId>(\w+)</.exec((await begun({ 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'COMPOSITE' })).body) ?? []
    const path = `/photos/summed?uploadId=${id}`
    const { headers: { etag = '' } } = await put(`${path}&partNumber=1`, 'x')
    expect(await ask('POST', path, { headers, body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>` })).toMatchObject({ code })
  })

  test('of no algorithm has no type', async () => {
    expect(await begun({ 'x-amz-checksum-type': 'FULL_OBJECT' })).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })
})

describe('who may write and not read', () => {
  test('is not told the ETag, which says what is in an object, nor whether it is one', async () => {
    const key = await server.keyWith([{ bucket: 'photos', prefix: 'dropped/', actions: ['write'] }])
    const status = async (method: string, headers: Record<string, string>, path = '/photos/dropped/x', body = 'x'): Promise<number> => (await ask(method, path, { key, headers, body })).status
    const { headers: { etag = '' } } = await put('/photos/dropped/x', 'x')
    expect([await status('PUT', { 'if-match': etag }), await status('PUT', { 'if-none-match': etag }), await status('DELETE', { 'if-match': etag }), await status('PUT', { 'if-none-match': '*' }), await status('PUT', { 'if-match': '*' })]).toEqual([403, 403, 403, 412, 200])
    const many = await ask('POST', '/photos?delete', { key, body: `<Delete><Object><Key>dropped/x</Key><ETag>${etag}</ETag></Object></Delete>` })
    expect(many.code).toBe('AccessDenied')
    // who may read is told that it is another, and asks for it
    expect((await put('/photos/dropped/x', 'x', { 'if-match': '"other"' })).body).not.toContain(etag.replaceAll('"', ''))
  })

  test('by a policy is not told by attributes either', async () => {
    await put('/photos/secret', 'x')
    await ask('PUT', '/photos?policy', { body: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::photos/secret' }] }) })
    expect((await ask('GET', '/photos/secret?attributes', { headers: { 'x-amz-object-attributes': 'ETag' } })).status).toBe(403)
    await ask('DELETE', '/photos?policy')
    expect((await ask('GET', '/photos/secret?attributes', { headers: { 'x-amz-object-attributes': 'ETag, ObjectSize' } })).status).toBe(200)
    expect(await ask('GET', '/photos/secret?attributes', { headers: { 'x-amz-object-attributes': 'ETag,Size' } })).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })
})

describe('an element that is not known', () => {
  const cors = (inner: string): string => `<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>${inner}</CORSRule></CORSConfiguration>`
  const website = (inner: string): string => `<WebsiteConfiguration>${inner}</WebsiteConfiguration>`
  const index = '<IndexDocument><Suffix>index.html</Suffix></IndexDocument>'

  test.each([
    ['cors', cors('<AllowedHeaders>x</AllowedHeaders>')], ['cors', cors('<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>2</MaxAgeSeconds>')], ['cors', cors('').replace('</CORSConfiguration>', '<Rule/></CORSConfiguration>')],
    ['website', website(`${index}<RedirectAllRequests><HostName>x</HostName></RedirectAllRequests>`)], ['website', website(`${index}<RedirectAllRequestsTo><Host>x</Host></RedirectAllRequestsTo>`)], ['website', website(`${index}<RedirectAllRequestsTo/>`)], ['website', website(`${index}<ErrorDocument/>`)],
    ['tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value><Values>c</Values></Tag></TagSet></Tagging>'], ['tagging', '<Tagging><TagSet/><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>'],
    ['versioning', '<VersioningConfiguration><Status>Enabled</Status><Status>Suspended</Status></VersioningConfiguration>'], ['versioning', '<VersioningConfiguration><Status>Enabled</Status><MFADelete>Enabled</MFADelete></VersioningConfiguration>'],
  ])('of a setting is refused: %s %s', async (name, body) => {
    await ask('PUT', '/set')
    expect(await ask('PUT', `/set?${name}`, { body })).toMatchObject({ status: 400, code: 'MalformedXML' })
    expect((await ask('GET', `/set?${name}`)).body).not.toMatch(/<Status>|https:|index\.html|<Value>/)
  })

  test('of an object\'s tags and locks is refused', async () => {
    await ask('PUT', '/holding', { headers: { 'x-amz-bucket-object-lock-enabled': 'true' } })
    await put('/holding/k', 'x')
    for (const [name, body] of [
      ['tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet><More/></Tagging>'], ['legal-hold', '<LegalHold><Status>ON</Status><Status>OFF</Status></LegalHold>'],
      ['retention', `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>${new Date(Date.now() + 9e8).toISOString()}</RetainUntilDate><RetainUntilDate>${new Date(Date.now() + 9e6).toISOString()}</RetainUntilDate></Retention>`],
    ] as const) expect(await ask('PUT', `/holding/k?${name}`, { body }), name).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test('of the parts that an upload is put together of is refused: the object would be without that part', async () => {
    const id = /<UploadId>(.*)<\/UploadId>/.exec((await ask('POST', '/photos/of-parts?uploads')).body)?.[1] ?? ''
    const { headers: { etag = '' } } = await ask('PUT', `/photos/of-parts?partNumber=1&uploadId=${id}`, { body: 'x' })
    const part = `<Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part>`
    for (const parts of [`${part}<part><PartNumber>2</PartNumber><ETag>${etag}</ETag></part>`, part.replace('</Part>', '<ChecksumCRC23>AAAAAA==</ChecksumCRC23></Part>'), part.replace('</Part>', `<ETag>${etag}</ETag></Part>`)]) {
      expect(await ask('POST', `/photos/of-parts?uploadId=${id}`, { body: `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>` }), parts).toMatchObject({ status: 400, code: 'MalformedXML' })
    }
    expect((await ask('POST', `/photos/of-parts?uploadId=${id}`, { body: `<CompleteMultipartUpload>${part}</CompleteMultipartUpload>` })).status).toBe(200)
  })
})

describe('a bucket', () => {
  test('has the tags that it is made with, and nothing is said that is not known', async () => {
    await ask('PUT', '/tagged', { body: '<CreateBucketConfiguration><LocationConstraint>garage</LocationConstraint><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>' })
    expect((await ask('GET', '/tagged?tagging')).body).toContain('<Key>a</Key><Value>b</Value>')
    expect(await ask('PUT', '/elsewhere', { body: '<CreateBucketConfiguration><Location><Name>x</Name></Location></CreateBucketConfiguration>' })).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test('whose owner alone shall have its objects is not made public', async () => {
    expect(await ask('PUT', '/enforced', { headers: { 'x-amz-object-ownership': 'BucketOwnerEnforced', 'x-amz-acl': 'public-read' } })).toMatchObject({ status: 400, code: 'InvalidBucketAclWithObjectOwnership' })
    expect((await ask('HEAD', '/enforced')).status).toBe(404)
  })

  test('that is open is not shut by an access list that says nothing', async () => {
    await ask('PUT', '/still-open', { headers: { 'x-amz-acl': 'public-read' } })
    expect((await ask('PUT', '/still-open?acl')).code).toBe('MissingSecurityHeader')
    expect((await ask('PUT', '/still-open?acl', { body: '<AccessControlPolicy/>' })).code).toBe('MalformedXML')
    expect((await ask('GET', '/still-open?acl')).body).toContain('AllUsers')
  })

  test('is not given two access lists at once, by header and by body: the header counted', async () => {
    await ask('PUT', '/listed')
    const { body } = await ask('GET', '/listed?acl')
    expect(await ask('PUT', '/listed?acl', { headers: { 'x-amz-acl': 'public-read' }, body })).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect((await ask('GET', '/listed?acl')).body).not.toContain('AllUsers')
    await put('/listed/k', 'x')
    expect(await ask('PUT', '/listed/k?acl', { headers: { 'x-amz-acl': 'private' }, body })).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect((await ask('PUT', '/listed/k?acl', { headers: { 'x-amz-acl': 'private' } })).status).toBe(200)
  })

  test('is not listed by a version of lists that there is not', async () => {
    expect(await ask('GET', '/photos?list-type=3')).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })
})

describe('a version', () => {
  test('that is named where none can be is refused: the current object was replaced, the bucket removed', async () => {
    await ask('PUT', '/unversioned')
    expect((await ask('DELETE', '/unversioned?versionId=null')).code).toBe('InvalidArgument')
    await put('/unversioned/x', 'x')
    expect((await put('/unversioned/x?versionId=null', 'y')).code).toBe('InvalidArgument')
    expect((await ask('POST', '/unversioned/x?uploads&versionId=null')).code).toBe('InvalidArgument')
    expect(await contentOf('/unversioned/x?versionId=null')).toBe('x')
    expect((await ask('PUT', `/unversioned/x?acl&versionId=${'0'.repeat(64)}`, { headers: { 'x-amz-acl': 'private' } })).status).toBe(404)
  })
})

describe('a copy', () => {
  test('with a range is refused', async () => {
    await put('/photos/source', 'content')
    expect((await ask('PUT', '/photos/copied', { headers: { 'x-amz-copy-source': '/photos/source', 'x-amz-copy-source-range': 'bytes=0-1' } })).status).toBeGreaterThanOrEqual(400)
    expect((await ask('HEAD', '/photos/copied')).status).toBe(404)
  })
})

describe('what a presigned query says', () => {
  test.each([['Łask', '%C5%81ask'], ['日本', '%E6%97%A5%E6%9C%AC'], ['é', '%C3%A9']])('is kept as it is: %s', async (text, encoded) => {
    expect((await ask('PUT', `/photos/said?x-amz-meta-who=${encoded}`, { presigned: 60, body: 'x' })).status).toBe(200)
    expect((await server.objects.head({ bucket: 'photos', key: 'said' })).metadata).toEqual({ who: text })
  })

  test('to be a condition is told as one that failed, by the engine too', () => {
    const face = s3Face({ node: { objects: server.objects, keys: server.keys }, clock: systemClock, region: undefined, hosts: [], allowInsecure: false })
    const statusOf = (rawQuery: string): number => face.refusalOf(new Conflict('the source has changed'), { id: 'x', request: { headers: {}, method: 'PUT' }, path: '/photos/x', rawQuery } as unknown as PublicExchange).status
    expect([statusOf('x-amz-copy-source=x&X-Amz-Copy-Source-If-Match=%22e%22'), statusOf('x-amz-copy-source=x')]).toEqual([412, 409])
  })
})

describe('a lock', () => {
  const enabled = (rule: string): string => `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>${rule}</ObjectLockConfiguration>`
  beforeAll(async () => { await ask('PUT', '/locking', { headers: { 'x-amz-bucket-object-lock-enabled': 'True' } }) })

  test.each([
    ['a misspelt rule', enabled('<Rules><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rules>')], ['no rule around it', enabled('<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention>')],
    ['no number of days', enabled('<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1e2</Days></DefaultRetention></Rule>')],
  ])('by default with %s is refused, and not taken for none', async (_name, body) => {
    expect(await ask('PUT', '/locking?object-lock', { body })).toMatchObject({ status: 400, code: 'MalformedXML' })
  })

  test.each(['45', '2045', 'January 2045'])('until "%s", which is no date, is refused', async (until) => {
    expect(await put('/locking/x', 'x', { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': until })).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })

  test('that a new bucket shall have is true or false', async () => {
    expect(await ask('PUT', '/locking-too', { headers: { 'x-amz-bucket-object-lock-enabled': 'yes' } })).toMatchObject({ status: 400, code: 'InvalidArgument' })
    expect((await ask('HEAD', '/locking-too')).status).toBe(404)
  })
})

describe('a policy', () => {
  const statement = (more: object): string => JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::judged/*', ...more }] })
  beforeAll(async () => { await ask('PUT', '/judged'); await put('/judged/x', 'x') })

  test.each([
    ['of users by a pattern', { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::123456789012:user/*' } }], ['of what objects do, about the bucket', { Action: 's3:DeleteObject', Resource: 'arn:aws:s3:::judged' }],
    ['of what the bucket does, about objects', { Action: ['s3:GetObject', 's3:ListBucket'] }], ['of what concerns no bucket', { Action: 's3:ListAllMyBuckets', Resource: '*' }], ['of a pattern of what objects do, about the bucket', { Action: 's3:*Object', Resource: 'arn:aws:s3:::judged' }],
  ])('%s is refused: it would hold for everybody, or never', async (_name, more) => {
    expect(await ask('PUT', '/judged?policy', { body: statement(more) })).toMatchObject({ status: 400, code: 'MalformedPolicy' })
  })

  test.each(['"Effect": "Allow"', '"\\u0045ffect": "Allow"', '"Condition": {"Bool": {"aws:SecureTransport": "true", "aws:SecureTransport": "false"}}'])('that says something twice is refused: the first was passed over (%s)', async (twice) => {
    const body = statement({}).replace('"Action"', `${twice},"Action"`)
    expect(await ask('PUT', '/judged?policy', { body })).toMatchObject({ status: 400, code: 'MalformedPolicy' })
  })

  test.each([{ Condition: { Bool: { 'aws:SecureTransport': 'false' } }, Sid: 'a": {"}' }, { Action: 's3:*', Resource: 'arn:aws:s3:::judged' }, { Action: ['s3:GetObject', 's3:ListBucket'], Resource: ['arn:aws:s3:::judged', 'arn:aws:s3:::judged/*'] }, { Action: 's3:ListBucket', Resource: 'arn:aws:s3:::judged*' }, { Action: '*', Resource: '*' }])('of what its resources have is taken (%#)', async (more) => {
    expect((await ask('PUT', '/judged?policy', { body: statement(more) })).status).toBe(204)
    expect((await ask('DELETE', '/judged?policy')).status).toBe(204)
  })

  test('of users by a pattern, that is there from before, lets nobody and denies everybody', async () => {
    const users = { AWS: 'arn:aws:iam::123456789012:user/*' }
    const holding = async (effect: string, path: string): Promise<S3Answer> => {
      await ask('DELETE', '/judged?policy')
      await server.objects.setBucketSettings('judged', { policy: statement({ Effect: effect, Principal: users }) })
      return ask('GET', path, effect === 'Allow' ? { key: undefined } : {})
    }
    expect((await holding('Allow', '/judged/x')).status).toBe(403)
    expect((await ask('GET', '/judged?policyStatus')).body).toContain('FALSE')
    expect((await holding('Deny', '/judged/x')).status).toBe(403)
    await ask('DELETE', '/judged?policy')
  })
})
