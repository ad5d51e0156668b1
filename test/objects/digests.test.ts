import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, utf8 } from '../../src/base/bytes.ts'
import { type Digesting, digestsHere } from '../../src/base/checksums.ts'
import { Conflict, NotFound } from '../../src/base/errors.ts'
import { DigestMismatch, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'

async function * bytesOf (...texts: string[]): AsyncIterable<Uint8Array> { for (const text of texts) { await Promise.resolve(); yield utf8(text) } }
const [first, second] = ['more than ', 'eight bytes of content']
const digest = (algorithm: string): Uint8Array => new Uint8Array(createHash(algorithm).update(first + second).digest())
const target = { bucket: 'photos', key: 'k' }

async function worldWithBucket () {
  const world = objectWorld()
  const store = objectStore(world.parts)
  await store.createBucket('photos')
  return { world, store }
}

describe('digests of a put', () => {
  test('give the etag that S3 has, and a checksum, to whoever asks; nobody else pays for them', async () => {
    const { store } = await worldWithBucket()
    const info = await store.put(target, bytesOf(first, second), { wantsMd5: true, checksum: 'sha256' })
    expect(info.etag).toBe(hexOf(digest('md5')))
    expect(info.attributes.checksum).toEqual({ algorithm: 'sha256', value: digest('sha256'), type: 'FULL_OBJECT' })
    expect(await store.head(target)).toEqual(info)
    expect((await store.list('photos')).objects[0]).toMatchObject({ etag: info.etag, attributes: { checksum: info.attributes.checksum } })
    const plain = await store.put(target, bytesOf(first, second))
    expect(plain.attributes).toEqual({})
    expect(plain.etag).toBe(`${plain.versionId.slice(0, 32)}-1`)
  })

  test('an empty object has them too', async () => {
    const { store } = await worldWithBucket()
    expect((await store.put(target, bytesOf(), { wantsMd5: true })).etag).toBe('d41d8cd98f00b204e9800998ecf8427e')
  })

  test.each(['md5', 'sha256', 'sha1', 'crc32', 'crc32c', 'crc64nvme'] as const)('%s that is not the announced one stores nothing, of small objects and of large', async (algorithm) => {
    const { world, store } = await worldWithBucket()
    const wrong = { [algorithm]: new Uint8Array(4).fill(1) }
    for (const texts of [['abc'], [first, second]]) {
      const failure = await store.put(target, bytesOf(...texts), { expected: wrong }).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(DigestMismatch)
      expect(failure).toMatchObject({ field: 'digest', algorithm, code: 'invalid' })
    }
    await expect(store.head(target)).rejects.toThrow(NotFound)
    expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [expect.anything()] })
    expect(world.announced).toEqual([])
  })

  test('that are announced and right are taken, several at once, and are not kept unasked', async () => {
    const { store } = await worldWithBucket()
    const info = await store.put(target, bytesOf(first, second), { expected: { md5: digest('md5'), sha1: digest('sha1'), sha256: undefined } })
    expect(info.attributes).toEqual({})
  })

  test('are over however a put of an object or a part ends (a thread remembered those of puts that failed behind their last byte)', async () => {
    const { store } = await worldWithBucket()
    const begun: Array<'running' | 'over'> = []
    const digesting: Digesting = (algorithms) => {
      const running = digestsHere(algorithms)
      const i = begun.push('running') - 1
      const end = (): void => { expect(begun[i]).toBe('running'); begun[i] = 'over' }
      return { update: (bytes) => running.update(bytes), finish: async () => { end(); return running.finish() }, [Symbol.dispose]: end }
    }
    const wanted = { wantsMd5: true, digesting }
    await store.put(target, bytesOf(first), wanted)
    await expect(store.put(target, bytesOf(first), { ...wanted, sizeBytes: 3 })).rejects.toThrow('announced')
    await expect(store.put(target, (async function * () { yield * bytesOf(first); throw new Error('cut off') })(), wanted)).rejects.toThrow('cut off')
    const { uploadId } = await store.uploads.create(target, { wantsMd5: true })
    await expect(store.uploads.putPart(target, uploadId, 1, bytesOf(first), { digesting, sizeBytes: 3 })).rejects.toThrow('announced')
    expect(begun).toEqual(['over', 'over', 'over', 'over'])
  })

  test('may be announced behind the content', async () => {
    const { store } = await worldWithBucket()
    let hasEnded = false
    const source = (async function * () { yield * bytesOf(first, second); hasEnded = true })()
    const trailer = async () => { await Promise.resolve(); expect(hasEnded).toBe(true); return { sha1: digest('sha1') } }
    await store.put(target, source, { expected: trailer, digests: ['sha1'] })
    await expect(store.put(target, bytesOf('abc'), { expected: () => ({ sha1: digest('sha1') }), digests: ['sha1'] })).rejects.toThrow(DigestMismatch)
    // what was not asked for in time cannot be vouched for
    await expect(store.put(target, bytesOf(first, second), { expected: () => ({ sha1: digest('sha1') }) })).rejects.toThrow(DigestMismatch)
    await expect(store.put(target, bytesOf('abc'), { expected: () => { throw new Error('the trailer is missing') } })).rejects.toThrow('trailer is missing')
    expect((await store.head(target)).sizeBytes).toBe(32)
  })

  test('what is conditional on an etag sees the one that clients see', async () => {
    const { store } = await worldWithBucket()
    const { etag } = await store.put(target, bytesOf('abc'), { wantsMd5: true })
    expect(etag).toBe('900150983cd24fb0d6963f7d28e17f72')
    await expect(store.put(target, bytesOf('x'), { ifNoneMatch: etag })).rejects.toThrow(Conflict)
    await expect(store.get(target, { ifMatch: hexOf(fromHex(etag).toReversed()) })).rejects.toThrow(Conflict)
    await store.put(target, bytesOf('abcd'), { ifMatch: etag, wantsMd5: true })
    await expect(store.remove(target, { ifMatch: etag })).rejects.toThrow(Conflict)
  })
})
