import { createHash } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import { chunkLimits } from '../../src/api/s3/aws-chunked.ts'
import { digesters, type SpanDigesting, spansHere } from '../../src/base/checksums.ts'
import { DigestThread, digestThreadLimits } from '../../src/base/digest-thread.ts'
import { giveBack } from '../../src/base/lease.ts'
import { s3ErrorOf } from '../../src/api/s3/errors.ts'
import { payloadOf } from '../../src/api/s3/payload.ts'
import { emptyHash, nextSignature, payloads, type SignatureChain, signingKeyOf } from '../../src/api/s3/sigv4.ts'
import { wholeBody } from '../../src/api/s3/whole-body.ts'

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** In pieces of so many bytes: what is one chunk must not depend on what is one read. */
async function * pieces (bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size)
}

interface Asked { readonly body: string | Uint8Array, readonly payload: string, readonly headers?: Readonly<Record<string, string>>, readonly chain?: SignatureChain, readonly isProtected?: boolean, readonly isPresigned?: boolean, readonly pieceSize?: number, readonly digestingSpans?: SpanDigesting }

async function read ({ body, payload, headers = {}, chain = published.chain, isProtected = true, isPresigned = false, pieceSize = 1000, digestingSpans = spansHere }: Asked): Promise<Buffer> {
  const source = pieces(typeof body === 'string' ? Buffer.from(body, 'latin1') : body, pieceSize)
  return wholeBody(payloadOf({ header: (name) => headers[name], signed: { payload, chain, isPresigned }, isProtected, source, digestingSpans }), 1 << 22)
}

async function codeOf (asked: Asked): Promise<string> {
  try { await read(asked) } catch (error) { return s3ErrorOf(error, { isHashSigned: /^[0-9a-f]{64}$/.test(asked.payload) }).code }
  return 'accepted'
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and …/sigv4-streaming-trailers.html
const a65536 = 'a'.repeat(65536)
const a1024 = 'a'.repeat(1024)
const published: { readonly chain: SignatureChain, readonly body: string } = {
  chain: { signature: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9', signingKey: signingKeyOf('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', { date: '20130524', region: 'us-east-1' }), timestamp: '20130524T000000Z', scope: '20130524/us-east-1/s3/aws4_request' },
  body: `10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n${a65536}\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n${a1024}\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n`,
}
const withTrailer: { readonly chain: SignatureChain, readonly body: string, readonly headers: Readonly<Record<string, string>> } = {
  chain: { ...published.chain, signature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e' },
  body: `10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n${a65536}\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n${a1024}\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\nx-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n`,
  headers: { 'x-amz-trailer': 'x-amz-checksum-crc32c', 'x-amz-decoded-content-length': '66560' },
}
const signedChunks = { ...published, payload: payloads.signedChunks, headers: { 'x-amz-decoded-content-length': '66560' } }
const signedTrailer = { ...withTrailer, payload: payloads.signedChunksWithTrailer }
const unsignedTrailer = { payload: payloads.unsignedChunksWithTrailer, headers: { 'x-amz-trailer': 'x-amz-checksum-crc32' }, body: '5\r\nhello\r\n3\r\nyou\r\n0\r\nx-amz-checksum-crc32:h69zpQ==\r\n\r\n' }

/** Chunks signed one after the other. */
function bodyOf (texts: readonly string[]): string {
  let { chain } = published
  return texts.map((text) => {
    const signature = nextSignature(chain, 'PAYLOAD', sha256(text)).toString('hex')
    chain = { ...chain, signature }
    return `${text.length.toString(16)};chunk-signature=${signature}\r\n${text}\r\n`
  }).join('')
}

describe('chunk-signed bodies', () => {
  test.each([1, 7, 100, 65536, 1 << 20])('those that AWS has published come out, in pieces of %i bytes', async (pieceSize) => {
    expect(sha256(await read({ ...signedChunks, pieceSize }))).toBe(sha256(a65536 + a1024))
    expect(sha256(await read({ ...signedTrailer, pieceSize }))).toBe(sha256(a65536 + a1024))
  })

  test('several in one piece of memory: it is given back by the last', async () => {
    const piece = Uint8Array.from(Buffer.from(published.body, 'latin1'))
    const source = pieces(piece, piece.byteLength)
    const sizes: number[] = []
    for await (const part of payloadOf({ header: (name) => signedChunks.headers[name as 'x-amz-decoded-content-length'], signed: { payload: payloads.signedChunks, chain: published.chain, isPresigned: false }, isProtected: true, source })) {
      sizes.push(part.byteLength)
      giveBack(part)
    }
    expect(sizes).toEqual([65_536, 1024])
    expect(piece.byteLength).toBe(0)
  })

  test.each<readonly [string, Asked, string]>([
    ['a byte changed', { ...signedChunks, body: signedChunks.body.replace('aaaa\r\n400', 'aaab\r\n400') }, 'SignatureDoesNotMatch'],
    ['a chunk left out', { ...signedChunks, body: signedChunks.body.replace(/400;.*\r\na{1024}\r\n/, '') }, 'SignatureDoesNotMatch'],
    ['a chunk without its signature', { ...signedChunks, body: signedChunks.body.replace(/400;chunk-signature=[0-9a-f]{64}/, '400') }, 'SignatureDoesNotMatch'],
    ['the last chunk missing', { ...signedChunks, body: signedChunks.body.replace(/0;chunk-signature=b6.*/s, '') }, 'IncompleteBody'],
    ['the last chunk unsigned', { ...signedChunks, body: signedChunks.body.replace(/0;chunk-signature=b6\S+/, '0') }, 'SignatureDoesNotMatch'],
    ['cut in the middle', { ...signedChunks, body: signedChunks.body.slice(0, 50_000) }, 'IncompleteBody'],
    ['more behind the end', { ...signedChunks, body: `${signedChunks.body}more` }, 'IncompleteBody'],
    ['another length than announced', { ...signedChunks, headers: { 'x-amz-decoded-content-length': '66561' } }, 'IncompleteBody'],
    ['an endless chunk header', { ...signedChunks, body: '1'.repeat(chunkLimits.maxHeaderBytes + 1) }, 'IncompleteBody'],
    ['endless trailers', { ...signedTrailer, body: signedTrailer.body + 'x'.repeat(chunkLimits.maxTrailerBytes) }, 'IncompleteBody'],
    ['a chunk of a length beyond numbers', { ...signedChunks, body: 'fffffffffffffffff\r\n' }, 'IncompleteBody'],
    ['a chunk longer than its length', { ...signedChunks, body: signedChunks.body.replace('10000;', 'ffff;') }, 'SignatureDoesNotMatch'],
    ['another trailer than was signed', { ...signedTrailer, body: signedTrailer.body.replace('sOO8', 'sOO9') }, 'SignatureDoesNotMatch'],
    ['a trailer without its signature', { ...signedTrailer, body: signedTrailer.body.replace(/\r\nx-amz-trailer-signature.*/s, '\r\n\r\n') }, 'SignatureDoesNotMatch'],
  ])('%s is refused', async (_name, asked, code) => {
    expect(await codeOf(asked)).toBe(code)
  })

  test('a chain that is signed anew is accepted: the cases above fail for their reason alone', async () => {
    expect((await read({ ...signedChunks, headers: {}, body: bodyOf(['one', 'two', '']) })).toString()).toBe('onetwo')
  })

  describe('on the thread of digests', () => {
    const thread = new DigestThread()
    afterAll(async () => { await thread[Symbol.asyncDispose]() })
    const long = { ...signedChunks, digestingSpans: thread.digestingSpans, pieceSize: 60_000 }
    const texts = Array.from({ length: 40 }, (_, i) => String.fromCodePoint(0x30 + i).repeat(40_000 + 1000 * i))

    test.each<readonly [string, readonly string[]]>([['of forty lengths', texts], ['many and short', Array.from({ length: 100 }, () => texts.map((text) => text.slice(0, 100))).flat()]])('come out as here, %s, their length said or not', async (_, chunks) => {
      const [whole, body] = [chunks.join(''), bodyOf([...chunks, ''])]
      expect(whole.length).toBeGreaterThan(digestThreadLimits.shortBytes)
      expect(sha256(await read({ ...long, headers: {}, body }))).toBe(sha256(whole))
      expect(sha256(await read({ ...long, headers: { 'x-amz-decoded-content-length': String(whole.length) }, body }))).toBe(sha256(whole))
    })

    test('those that AWS has published, with the trailer that is signed after them', async () => {
      expect(sha256(await read({ ...signedTrailer, headers: { 'x-amz-trailer': 'x-amz-checksum-crc32c' }, digestingSpans: thread.digestingSpans }))).toBe(sha256(a65536 + a1024))
      expect(await codeOf({ ...signedTrailer, headers: { 'x-amz-trailer': 'x-amz-checksum-crc32c' }, digestingSpans: thread.digestingSpans, body: signedTrailer.body.replace('sOO8', 'sOO9') })).toBe('SignatureDoesNotMatch')
    })

    test.each([0, 20, 39])('that are not what was signed are refused, the one at %i of forty as well', async (index) => {
      const [body, byte] = [bodyOf([...texts, '']), texts[index]?.[0] ?? '']
      expect(await codeOf({ ...long, headers: {}, body: body.replace(byte.repeat(40_000), `!${byte.repeat(39_999)}`) })).toBe('SignatureDoesNotMatch')
      expect(await codeOf({ ...long, headers: {}, body })).toBe('accepted')
    })

    test('have other digests of what is in them taken along', async () => {
      const body = bodyOf([...texts, ''])
      const payload = payloadOf({ header: () => undefined, signed: { payload: payloads.signedChunks, chain: published.chain, isPresigned: false }, isProtected: true, source: pieces(Buffer.from(body, 'latin1'), 60_000), digestingSpans: thread.digestingSpans })
      const digests = payload.digesting?.(['md5', 'crc32'])
      for await (const piece of payload) await digests?.update(piece)
      const taken = digesters.crc32()
      taken.update(Buffer.from(texts.join('')))
      expect(await digests?.finish()).toEqual(new Map([['md5', new Uint8Array(createHash('md5').update(texts.join('')).digest())], ['crc32', taken.digest()]]))
    })

    test('are not read to the end when one was wrong', async () => {
      const first = bodyOf(['forged'.repeat(1000)]).replace('forged', 'Forged')
      let pieces = 0
      async function * endless (): AsyncIterable<Uint8Array> {
        yield Buffer.from(first)
        for (; pieces < 10_000; pieces++) yield Buffer.from(`10000;chunk-signature=${'0'.repeat(64)}\r\n${a65536}\r\n`)
      }
      const payload = payloadOf({ header: () => undefined, signed: { payload: payloads.signedChunks, chain: published.chain, isPresigned: false }, isProtected: true, source: endless(), digestingSpans: thread.digestingSpans })
      await expect(async () => { for await (const _ of payload); }).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' })
      expect(pieces).toBeLessThan(3 * digestThreadLimits.inFlightBytes / 65_536)
    })
  })
})

describe('unsigned chunks with a trailer', () => {
  test('the checksum of the trailer is what proves them', async () => {
    const crc = digesters.crc32()
    crc.update(Buffer.from('helloyou'))
    const body = unsignedTrailer.body.replace('h69zpQ==', Buffer.from(crc.digest()).toString('base64'))
    expect((await read({ ...unsignedTrailer, body })).toString()).toBe('helloyou')
    expect(await codeOf({ ...unsignedTrailer, body: body.replace('you', 'yon') })).toBe('BadDigest')
    expect(await codeOf({ ...unsignedTrailer, body: body.replace(/x-amz.*/s, '\r\n') })).toBe('IncompleteBody')
    expect(await codeOf({ ...unsignedTrailer, body, isProtected: false })).toBe('InvalidRequest')
  })

  test('a trailer that is not a checksum is not taken', async () => {
    expect(await codeOf({ ...unsignedTrailer, headers: { 'x-amz-trailer': 'x-evil' } })).toBe('InvalidRequest')
  })

  test('a trailer that was not announced is refused: nobody would hold the content against it', async () => {
    expect(await codeOf({ ...unsignedTrailer, headers: {} })).toBe('MalformedTrailerError')
    expect(await codeOf({ ...unsignedTrailer, headers: { 'x-amz-trailer': 'x-amz-checksum-crc32c' } })).toBe('MalformedTrailerError')
  })
})

describe('whole bodies', () => {
  const md5 = createHash('md5').update('hello').digest('base64')
  test.each<readonly [string, Asked, string]>([
    ['the right hash', { body: 'hello', payload: sha256('hello') }, 'accepted'],
    ['another hash', { body: 'hellp', payload: sha256('hello') }, 'XAmzContentSHA256Mismatch'],
    ['a body where none was signed', { body: 'x', payload: emptyHash }, 'XAmzContentSHA256Mismatch'],
    ['a hash that is none', { body: 'hello', payload: 'STREAMING-UNHEARD-OF' }, 'InvalidArgument'],
    ['no hash, protected', { body: 'hello', payload: payloads.unsigned }, 'accepted'],
    ['no hash, in the clear', { body: 'hello', payload: payloads.unsigned, isProtected: false }, 'InvalidRequest'],
    ['no hash, presigned', { body: 'hello', payload: payloads.unsigned, isProtected: false, isPresigned: true }, 'accepted'],
    ['the right MD5', { body: 'hello', payload: payloads.unsigned, headers: { 'content-md5': md5 } }, 'accepted'],
    ['another MD5', { body: 'hellp', payload: payloads.unsigned, headers: { 'content-md5': md5 } }, 'BadDigest'],
    ['an MD5 that is none', { body: 'hello', payload: payloads.unsigned, headers: { 'content-md5': 'AAAA' } }, 'InvalidDigest'],
    ['the right CRC32', { body: 'hello', payload: payloads.unsigned, headers: { 'x-amz-checksum-crc32': 'NhCmhg==' } }, 'accepted'],
    ['another CRC32', { body: 'hellp', payload: payloads.unsigned, headers: { 'x-amz-checksum-crc32': 'NhCmhg==' } }, 'BadDigest'],
    ['two checksums', { body: 'hello', payload: payloads.unsigned, headers: { 'x-amz-checksum-crc32': 'NhCmhg==', 'x-amz-checksum-crc32c': 'mnG7TA==' } }, 'InvalidRequest'],
    ['fewer bytes than announced', { body: 'hello', payload: payloads.unsigned, headers: { 'content-length': '6' } }, 'IncompleteBody'],
    ['more bytes than announced', { body: 'hello', payload: payloads.unsigned, headers: { 'content-length': '4' } }, 'IncompleteBody'],
  ])('%s', async (_name, asked, code) => {
    expect(await codeOf(asked)).toBe(code)
  })
})
