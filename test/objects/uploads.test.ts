import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { Conflict, InvalidInput, NotFound, Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { DigestMismatch, NoSuchUpload, type Objects, PartTooSmall, QuotaExceeded, WrongPart, WrongPartOrder } from '../../src/objects/index.ts'
import { tables } from '../../src/tables/index.ts'
import { registersWith } from '../support/other-registers.ts'
import { bytesOf, compositeEtag, md5, target, textIn, textOf, uploadWorld } from '../support/upload-nodes.ts'

const [one, two, three] = ['the first part, ', 'the second part, ', 'end']

async function begun (options: Parameters<Objects['uploads']['create']>[1] = { wantsMd5: true }) {
  const world = await uploadWorld()
  const node = world.node()
  const { uploadId } = await node.uploads.create(target, options)
  return { world, node, uploadId }
}

const put = async (node: Objects, uploadId: string, partNumber: number, text: string) => node.uploads.putPart(target, uploadId, partNumber, bytesOf(text))

/** As a client does: what putPart answered is what is named. */
async function putAll (node: Objects, uploadId: string, texts: readonly string[]): Promise<Array<{ partNumber: number, etag: string }>> {
  return Promise.all(texts.map(async (text, i) => put(node, uploadId, i + 1, text)))
}

describe('uploads in parts', () => {
  test('parts become one object, in order of their numbers, with the etag that S3 has, and nothing of it is seen before', async () => {
    const { world, node } = await begun()
    const { uploadId } = await node.uploads.create(target, { wantsMd5: true, contentType: 'text/plain', metadata: { who: 'me' }, headers: { 'cache-control': 'no-store' }, tags: [['a', 'b']] })
    const last = await put(node, uploadId, 7, three)
    const first = await put(node, uploadId, 2, one)
    const second = await put(node, uploadId, 3, two)
    expect(first).toMatchObject({ partNumber: 2, sizeBytes: one.length, etag: md5(one).toString('hex') })
    await expect(node.head(target)).rejects.toThrow(NotFound)
    expect((await node.list('photos')).objects).toEqual([])
    const info = await node.uploads.complete(target, uploadId, [first, second, last])
    expect(await textOf(node)).toBe(one + two + three)
    expect(info).toEqual(await node.head(target))
    expect(info).toMatchObject({
      etag: compositeEtag(one, two, three), versionId: uploadId, sizeBytes: one.length + two.length + three.length, contentType: 'text/plain', metadata: { who: 'me' },
      attributes: { headers: { 'cache-control': 'no-store' }, tags: [['a', 'b']], parts: { count: 3, sizes: [{ count: 1, sizeBytes: 16 }, { count: 1, sizeBytes: 17 }, { count: 1, sizeBytes: 3 }] } },
    })
    await expect.poll(() => world.announced.length).toBe(1)
  })

  test('what is stored at completion is a manifest and rows, no part again', async () => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one, two, three])
    const before = new Set(world.blocks.keys())
    await node.uploads.complete(target, uploadId, parts)
    expect([...world.blocks.keys()].filter((cid) => !before.has(cid))).toHaveLength(1)
  })

  test('the version stands in pending from before the first block until the object is there, and every block is put for it', async () => {
    const { world, node, uploadId } = await begun()
    expect(world.rowOf('k')).toMatchObject({ pending: [{ isMultipart: true, heartbeat: 0 }], current: undefined })
    const parts = await putAll(node, uploadId, [one, two])
    expect(world.rowOf('k')).toMatchObject({ pending: [{ isMultipart: true }], current: undefined })
    await node.uploads.complete(target, uploadId, parts)
    expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [], current: { hasBlocks: true } })
    expect([...world.versions.values()].every((id) => Buffer.from(id).toString('hex') === uploadId)).toBe(true)
  })

  test('parts are put through several nodes at once, and completed on another', async () => {
    const { world, node, uploadId } = await begun()
    const texts = Array.from({ length: 60 }, (_, i) => `part number ${i + 1}; `)
    const nodes = [node, world.node(), world.node()]
    const parts = await Promise.all(texts.map(async (text, i) => put(nodes[i % 3] as Objects, uploadId, i + 1, text)))
    await world.node().uploads.complete(target, uploadId, parts)
    expect(await textOf(node)).toBe(texts.join(''))
  })

  test('10,000 parts, the most there may be, and not one more', async () => {
    const { node, uploadId } = await begun()
    const texts = Array.from({ length: 10_000 }, (_, i) => String(i + 1).padStart(10, '0'))
    const parts = []
    for (let at = 0; at < texts.length; at += 500) parts.push(...await Promise.all(texts.slice(at, at + 500).map(async (text, i) => put(node, uploadId, at + i + 1, text))))
    await expect(put(node, uploadId, 10_001, one)).rejects.toThrow(InvalidInput)
    await expect(put(node, uploadId, 0, one)).rejects.toThrow(InvalidInput)
    await expect(node.uploads.complete(target, uploadId, [...parts, { partNumber: 10_001, etag: 'x' }])).rejects.toThrow('1 to 10000 parts')
    const info = await node.uploads.complete(target, uploadId, parts)
    expect(info).toMatchObject({ sizeBytes: 100_000, etag: compositeEtag(...texts), attributes: { parts: { count: 10_000, sizes: [{ count: 10_000, sizeBytes: 10 }] } } })
    expect(await textOf(node)).toBe(texts.join(''))
  })

  test('the last put of a number counts, and an etag from before it does not', async () => {
    const { world, node, uploadId } = await begun()
    const before = await put(node, uploadId, 1, one)
    const after = await put(world.node(), uploadId, 1, two)
    await expect(node.uploads.complete(target, uploadId, [before])).rejects.toThrow(WrongPart)
    await node.uploads.complete(target, uploadId, [{ partNumber: 1, etag: `"${after.etag}"` }])
    expect(await textOf(node)).toBe(two)
  })

  test('parts that are not named are forgotten', async () => {
    const { world, node, uploadId } = await begun()
    const [first, , third] = await putAll(node, uploadId, [one, two, three])
    await node.uploads.complete(target, uploadId, [first, third] as NonNullable<typeof first>[])
    expect(await textOf(node)).toBe(one + three)
    await expect.poll(() => world.uploadRows()).toEqual([])
  })

  test('a part that was never put, in the wrong place, twice, or too short before others is told apart', async () => {
    const { node, uploadId } = await begun()
    const [first, short, third] = await putAll(node, uploadId, [one, 'short', three]) as [{ partNumber: number, etag: string }, { partNumber: number, etag: string }, { partNumber: number, etag: string }]
    const complete = async (parts: ReadonlyArray<{ partNumber: number, etag: string }>) => node.uploads.complete(target, uploadId, parts)
    await expect(complete([first, { partNumber: 9, etag: first.etag }])).rejects.toMatchObject({ constructor: WrongPart, partNumber: 9 })
    await expect(complete([third, first])).rejects.toThrow(WrongPartOrder)
    await expect(complete([first, first])).rejects.toThrow(WrongPartOrder)
    await expect(complete([])).rejects.toThrow(InvalidInput)
    await expect(complete([first, short, third])).rejects.toMatchObject({ constructor: PartTooSmall, partNumber: 2, sizeBytes: 5, leastBytes: 10 })
    await complete([first, third])
  })

  test('one empty part is an empty object', async () => {
    const { node, uploadId } = await begun()
    await node.uploads.complete(target, uploadId, [await node.uploads.putPart(target, uploadId, 1, bytesOf())])
    expect(await textOf(node)).toBe('')
    expect(await node.head(target)).toMatchObject({ sizeBytes: 0, etag: compositeEtag('') })
  })

  test('a part that is not what was announced is not stored, and the one before stays', async () => {
    const { node, uploadId } = await begun()
    const before = await put(node, uploadId, 1, one)
    await expect(node.uploads.putPart(target, uploadId, 1, bytesOf(two), { expected: { md5: new Uint8Array(md5(one)) } })).rejects.toThrow(DigestMismatch)
    await expect(node.uploads.putPart(target, uploadId, 1, bytesOf(two), { sizeBytes: 3 })).rejects.toThrow('3 bytes were announced')
    expect((await node.uploads.listParts(target, uploadId)).parts).toEqual([before])
  })

  test('a bucket that is full takes no part, announced or not, and what it has taken it completes', async () => {
    const { node, uploadId } = await begun()
    await node.setBucketSettings('photos', { quotaBytes: 20 })
    await expect(node.uploads.putPart(target, uploadId, 1, bytesOf(one + two), { sizeBytes: one.length + two.length })).rejects.toThrow(QuotaExceeded)
    const parts = await putAll(node, uploadId, [one])
    await expect(put(node, uploadId, 2, two)).rejects.toThrow('it has 16 bytes in 0 objects and uploads that are under way (16), and may have 20 bytes')
    expect((await node.uploads.listParts(target, uploadId)).parts).toHaveLength(1)
    await node.uploads.complete(target, uploadId, parts)
    expect(await textOf(node)).toBe(one)
  })

  test('parts count against the quota of their bucket at every node, before and after their upload is completed alike, until it is aborted', async () => {
    const { world, node, uploadId } = await begun()
    await node.setBucketSettings('photos', { quotaBytes: 40 })
    const parts = await putAll(node, uploadId, [one, two])
    const { uploadId: never } = await node.uploads.create(target)
    for (const at of [node, world.node()]) {
      await expect(put(at, never, 1, 'x'.repeat(8))).rejects.toThrow(QuotaExceeded)
      await expect(at.put({ bucket: 'photos', key: 'other' }, bytesOf('x'.repeat(8)))).rejects.toThrow(QuotaExceeded)
    }
    await node.uploads.complete(target, uploadId, parts)
    for (const at of [node, world.node()]) await expect(put(at, never, 1, 'x'.repeat(8))).rejects.toThrow(QuotaExceeded)
    await put(node, never, 1, 'x'.repeat(7))
    await expect(node.put({ bucket: 'photos', key: 'other' }, bytesOf('x'))).rejects.toThrow(QuotaExceeded)
    await node.uploads.abort(target, never)
    await node.put({ bucket: 'photos', key: 'other' }, bytesOf('x'.repeat(7)))
  })

  test('a quota of objects counts an upload when it is completed', async () => {
    const { node, uploadId } = await begun()
    await node.setBucketSettings('photos', { quotaObjects: 1 })
    const parts = await putAll(node, uploadId, [one])
    await node.put({ bucket: 'photos', key: 'other' }, bytesOf('x'))
    await expect(node.uploads.complete(target, uploadId, parts)).rejects.toThrow(QuotaExceeded)
    await node.remove({ bucket: 'photos', key: 'other' })
    await node.uploads.complete(target, uploadId, parts)
  })

  test('conditions hold at the completion, and one that fails leaves the upload as it was', async () => {
    const { node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one])
    const other = await node.put(target, bytesOf(two))
    await expect(node.uploads.complete(target, uploadId, parts, { ifNoneMatch: '*' })).rejects.toThrow(Conflict)
    await expect(node.uploads.complete(target, uploadId, parts, { ifMatch: 'another' })).rejects.toThrow(Conflict)
    await expect(node.uploads.complete(target, uploadId, parts, { sizeBytes: 1 })).rejects.toThrow('1 bytes were announced')
    expect(await textOf(node)).toBe(two)
    await node.uploads.complete(target, uploadId, parts, { ifMatch: other.etag })
    expect(await textOf(node)).toBe(one)
  })

  test('of creators that race, by put and by complete, exactly one wins', async () => {
    const { node } = await begun()
    const uploads = await Promise.all(Array.from({ length: 5 }, async () => node.uploads.create(target)))
    const parts = await Promise.all(uploads.map(async ({ uploadId }, i) => [await put(node, uploadId, 1, `upload ${i}`)]))
    const race = await Promise.allSettled([
      ...uploads.map(async ({ uploadId }, i) => node.uploads.complete(target, uploadId, parts[i] as NonNullable<typeof parts[number]>, { ifNoneMatch: '*' })),
      ...uploads.map(async (_, i) => node.put(target, bytesOf(`more than eight bytes ${i}`), { ifNoneMatch: '*' })),
    ])
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(race.filter((outcome) => outcome.status === 'rejected' && outcome.reason instanceof Conflict)).toHaveLength(9)
  })

  test('a completion that is repeated is answered alike, also with other parts, until another object stands there', async () => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one, two])
    const info = await node.uploads.complete(target, uploadId, parts)
    expect(await world.node().uploads.complete(target, uploadId, parts)).toEqual(info)
    expect(await node.uploads.complete(target, uploadId, [{ partNumber: 1, etag: 'x' }])).toEqual(info)
    await node.put(target, bytesOf(three))
    await expect(node.uploads.complete(target, uploadId, parts)).rejects.toThrow(NoSuchUpload)
    expect(await textOf(node)).toBe(three)
  })

  test('of a complete and an abort that race, on two nodes, exactly one succeeds', async () => {
    let [completed, aborted] = [0, 0]
    for (let lead = 0; lead < 60; lead += 2) {
      const { world, node, uploadId } = await begun()
      const parts = await putAll(node, uploadId, [one, two])
      const turns = async (count: number): Promise<void> => { for (let i = 0; i < count; i++) await Promise.resolve() }
      const [complete, abort] = await Promise.allSettled([
        turns(0).then(async () => node.uploads.complete(target, uploadId, parts)),
        turns(lead).then(async () => world.node().uploads.abort(target, uploadId)),
      ])
      const [hasCompleted, hasAborted] = [complete.status === 'fulfilled', abort.status === 'fulfilled']
      expect(hasCompleted).toBe(!hasAborted)
      for (const outcome of [complete, abort]) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(NoSuchUpload)
      if (hasCompleted) expect(await textOf(node)).toBe(one + two)
      else await expect(node.head(target)).rejects.toThrow(NotFound)
      expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: hasCompleted ? [] : [expect.anything()] })
      await expect.poll(() => world.uploadRows()).toEqual([])
      completed += hasCompleted ? 1 : 0
      aborted += hasAborted ? 1 : 0
    }
    // both ways have been seen
    expect(Math.min(completed, aborted)).toBeGreaterThan(0)
  })

  test('after an abort nothing is left but a version to be collected, and every call says so', async () => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one, two])
    await node.uploads.abort(target, uploadId)
    expect(world.rowOf('k')).toMatchObject({ pending: [], current: undefined, dropped: [expect.anything()] })
    await expect.poll(() => world.uploadRows()).toEqual([])
    for (const call of [
      async () => node.uploads.abort(target, uploadId), async () => put(node, uploadId, 1, one), async () => node.uploads.complete(target, uploadId, parts),
      async () => node.uploads.listParts(target, uploadId), async () => node.uploads.append(target, uploadId, 0, bytesOf(one)), async () => node.uploads.offset(target, uploadId),
      async () => node.uploads.finish(target, uploadId), async () => put(node, 'no id at all', 1, one),
    ]) await expect(call()).rejects.toThrow(NoSuchUpload)
    expect(world.uploadRows()).toEqual([])
  })

  test('a complete whose client has gone before the end of it commits nothing, and may be repeated', async () => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one, two, three])
    const gone = new AbortController()
    // the manifest is the last that is written before the row
    const versions = world.versions as Map<Cid, Uint8Array>
    versions.set = function (...args) { gone.abort(new Error('the client went away')); return Map.prototype.set.apply(this, args) as typeof versions }
    await expect(node.uploads.complete(target, uploadId, parts, { signal: gone.signal })).rejects.toThrow('went away')
    expect(world.rowOf('k')).toMatchObject({ pending: [expect.anything()], current: undefined })
    await node.uploads.complete(target, uploadId, parts)
    expect(await textOf(node)).toBe(one + two + three)
  })

  test.each(['abort', 'complete'] as const)('a part that is under way at the %s fails, and leaves no row', async (end) => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one])
    const ended = Promise.withResolvers<void>()
    async function * slow (): AsyncIterable<Uint8Array> { yield utf8(two); await ended.promise; yield utf8(three) }
    const late = world.node().uploads.putPart(target, uploadId, 2, slow())
    if (end === 'abort') await node.uploads.abort(target, uploadId)
    else await node.uploads.complete(target, uploadId, parts)
    await expect.poll(() => world.uploadRows()).toEqual([])
    ended.resolve()
    await expect(late).rejects.toThrow(NoSuchUpload)
    expect(world.uploadRows()).toEqual([])
  })

  test('an upload of one key is no upload of another', async () => {
    const { node, uploadId } = await begun()
    const elsewhere = { bucket: 'photos', key: 'kk' }
    await expect(node.uploads.putPart(elsewhere, uploadId, 1, bytesOf(one))).rejects.toThrow(NoSuchUpload)
    await expect(node.uploads.abort(elsewhere, uploadId)).rejects.toThrow(NoSuchUpload)
    await put(node, uploadId, 1, one)
  })

  test('a part that cannot be stored fails, and the upload goes on', async () => {
    const { world, node, uploadId } = await begun()
    world.failure = new Unavailable('too few holders')
    await expect(put(node, uploadId, 1, one)).rejects.toThrow('too few holders')
    world.failure = undefined
    await node.uploads.complete(target, uploadId, await putAll(node, uploadId, [one]))
    expect(await textOf(node)).toBe(one)
  })

  test('a part that is stored as the majority goes is not told as one that is not: what stood there before is gone', async () => {
    let after: (table: number) => void = () => {}
    const world = await uploadWorld({ wrap: (registers) => registersWith(registers, { change: async (address, ...more) => {
      const outcome = await registers.change(address, ...more)
      after(address.table)
      return outcome
    } }) })
    const node = world.node()
    const { uploadId } = await node.uploads.create(target, { wantsMd5: true })
    await put(node, uploadId, 1, one)
    after = (table) => { world.registers.isUnavailable = table === tables.uploads }
    await expect(put(node, uploadId, 1, 'another part one')).rejects.toThrow(UnknownOutcome)
    after = () => {}
    world.registers.isUnavailable = false
    expect((await node.uploads.listParts(target, uploadId)).parts).toMatchObject([{ sizeBytes: 'another part one'.length }])
    await node.uploads.complete(target, uploadId, await putAll(node, uploadId, [one]))
    expect(await textOf(node)).toBe(one)
  })

  test('a part is copied from an object, whole or by range, if it is the one that is meant', async () => {
    const { node, uploadId } = await begun()
    const source = { bucket: 'photos', key: 'source' }
    const info = await node.put(source, bytesOf('0123456789abcdef'))
    const first = await node.uploads.copyPart(target, uploadId, 1, source, { range: { first: 2, last: 13 }, sourceIfMatch: info.etag })
    const second = await node.uploads.copyPart(target, uploadId, 2, source)
    expect(first).toMatchObject({ partNumber: 1, sizeBytes: 12, etag: md5('23456789abcd').toString('hex'), source: { versionId: info.versionId } })
    await expect(node.uploads.copyPart(target, uploadId, 3, source, { sourceIfMatch: 'another' })).rejects.toThrow(Conflict)
    await expect(node.uploads.copyPart(target, uploadId, 3, source, { sourceIfNoneMatch: info.etag })).rejects.toThrow(Conflict)
    await expect(node.uploads.copyPart(target, uploadId, 3, source, { range: { first: 16 } })).rejects.toThrow(InvalidInput)
    await expect(node.uploads.copyPart(target, uploadId, 3, { bucket: 'photos', key: 'nowhere' })).rejects.toThrow(NotFound)
    await node.uploads.complete(target, uploadId, [first, second])
    expect(await textOf(node)).toBe('23456789abcd0123456789abcdef')
  })

  test('what is whole of a copied part\'s range is shared with its source, and nothing of it is put; what is cut is put', async () => {
    const { world, node, uploadId } = await begun({})
    const source = { bucket: 'photos', key: 'source' }
    await node.put(source, bytesOf('0123456789abcdefghijklmnopqrstuvwxyz'))
    const before = new Set(world.blocks.keys())
    world.lookedFor.clear()
    // chunks are of eight bytes
    const whole = await node.uploads.copyPart(target, uploadId, 1, source, { range: { first: 8, last: 23 } })
    expect(world.events.filter((event) => event === 'adopted')).toHaveLength(2)
    expect([...world.blocks.keys()].filter((cid) => !before.has(cid))).toEqual([])
    // no digest is wanted, so no byte is read
    expect(world.lookedFor.size).toBe(0)
    const cut = await node.uploads.copyPart(target, uploadId, 2, source, { range: { first: 4, last: 35 } })
    expect(world.events.filter((event) => event === 'adopted')).toHaveLength(6)
    expect([...world.blocks.keys()].filter((cid) => !before.has(cid))).toHaveLength(1)
    await node.uploads.complete(target, uploadId, [whole, cut])
    await node.remove(source)
    expect(await textOf(node)).toBe('89abcdefghijklmn456789abcdefghijklmnopqrstuvwxyz')
  })

  test('a copied part has its digests, whether its blocks are shared or not; those that too few holders keep are put', async () => {
    const { world, node, uploadId } = await begun({ wantsMd5: true, checksum: { algorithm: 'crc32', type: 'FULL_OBJECT' } })
    const source = { bucket: 'photos', key: 'source' }
    await node.put(source, bytesOf('0123456789abcdefghijklmnopqrstuvwxyz'))
    for (const cid of [...world.blocks.keys()].slice(1, 3)) world.unadopted.add(cid)
    world.events.length = 0
    const part = await node.uploads.copyPart(target, uploadId, 1, source, { range: { first: 8, last: 35 } })
    expect(world.events.filter((event) => event === 'adopted')).toHaveLength(2)
    expect(world.events.filter((event) => event === 'block')).toHaveLength(2)
    expect(part).toMatchObject({ sizeBytes: 28, etag: md5('89abcdefghijklmnopqrstuvwxyz').toString('hex'), checksum: { algorithm: 'crc32' } })
    await node.uploads.complete(target, uploadId, [part])
    expect(await textOf(node)).toBe('89abcdefghijklmnopqrstuvwxyz')
  })

  test.each([
    ['another bucket', { from: {}, to: {}, isElsewhere: true, isShared: false }],
    ['another bucket, where content is one block over the cluster', { from: { dedup: 'cluster' }, to: { dedup: 'cluster' }, isElsewhere: true, isShared: true }],
    ['a private bucket', { from: { isPrivate: true }, to: {}, isElsewhere: false, isShared: false }],
    ['a bucket of shards, with the source in whole copies', { from: {}, to: { shards: '2+1' }, isElsewhere: false, isShared: false }],
    ['a bucket of shards', { from: { shards: '2+1' }, to: {}, isElsewhere: false, isShared: true }],
  ] as const)('a part copied into %s has the source\'s blocks only where they are alike', async (_, { from, to, isElsewhere, isShared }) => {
    const world = await uploadWorld()
    world.places = 3
    const node = world.node()
    await node.createBucket('from', from)
    await node.put({ bucket: 'from', key: 'source' }, bytesOf('0123456789abcdefghijklmnopqrstuvwxyz'))
    if (isElsewhere) await node.createBucket('elsewhere', to)
    else if ('shards' in to) await node.setRedundancy('from', to)
    const place = { bucket: isElsewhere ? 'elsewhere' : 'from', key: 'k' }
    const { uploadId } = await node.uploads.create(place)
    const part = await node.uploads.copyPart(place, uploadId, 1, { bucket: 'from', key: 'source' }, { range: { first: 8 } })
    await node.uploads.complete(place, uploadId, [part])
    expect(world.events.includes('adopted')).toBe(isShared)
    expect(await textOf(node, place)).toBe('89abcdefghijklmnopqrstuvwxyz')
  })

  test('a copied part that cannot be stored fails, whichever half of it does', async () => {
    const { world, node, uploadId } = await begun()
    const source = { bucket: 'photos', key: 'source' }
    await node.put(source, bytesOf('0123456789abcdefghijklmnopqrstuvwxyz'))
    world.failure = new Unavailable('too few holders')
    await expect(node.uploads.copyPart(target, uploadId, 1, source, { range: { first: 4 } })).rejects.toThrow('too few holders')
    world.failure = undefined
    // all its chunks are shared, and one cannot be read for its digest
    const [, , cid] = world.blocks.keys()
    world.unreadable.add(cid as never)
    await expect(node.uploads.copyPart(target, uploadId, 1, source)).rejects.toThrow('no block')
    expect((await node.uploads.listParts(target, uploadId)).parts).toEqual([])
  })

  test('parts keep the redundancy that the bucket had when the upload was begun', async () => {
    const world = await uploadWorld()
    world.places = 6
    const node = world.node()
    await node.createBucket('shards', { shards: '4+2' })
    const to = { bucket: 'shards', key: 'k' }
    const { uploadId } = await node.uploads.create(to)
    const first = await node.uploads.putPart(to, uploadId, 1, bytesOf(one))
    await node.setRedundancy('shards', { copies: 2 })
    const second = await node.uploads.putPart(to, uploadId, 2, bytesOf(two))
    await node.uploads.complete(to, uploadId, [first, second])
    expect(world.rowOf('k')?.current?.redundancy).toEqual({ k: 4, m: 2 })
    // the manifest alone is in whole copies
    expect([...world.put.values()].filter(({ k }) => k === 1)).toEqual([{ k: 1, m: 2 }])
    expect(await textOf(node, to)).toBe(one + two)
    expect([...world.lookedFor.values()].every((redundancy) => redundancy?.k === 4)).toBe(true)
  })

  test('in a bucket that keeps versions the completion replaces, and what was there is kept', async () => {
    const world = await uploadWorld()
    const node = world.node()
    await node.setBucketSettings('photos', { versioning: 'enabled' })
    const before = await node.put(target, bytesOf(three))
    const { uploadId } = await node.uploads.create(target)
    await node.uploads.complete(target, uploadId, await putAll(node, uploadId, [one, two]))
    expect((await node.listVersions('photos')).versions.map(({ versionId }) => versionId)).toEqual([uploadId, before.versionId])
    expect(await textIn((await node.get(target, { versionId: before.versionId })).body)).toBe(three)
  })
})

describe('the count by which an upload is known to be alive', () => {
  test('is not raised by a small upload, and by each node at most once an hour', async () => {
    const { world, node, uploadId } = await begun()
    const count = (): number | undefined => world.rowOf('k')?.pending[0]?.heartbeat
    await putAll(node, uploadId, [one, two, three])
    expect(count()).toBe(0)
    world.advance(61 * 60_000)
    await putAll(node, uploadId, [one, two, three])
    await expect.poll(count).toBe(1)
    const other = world.node()
    await putAll(other, uploadId, [one, two, three])
    await expect.poll(count).toBe(2)
    world.advance(59 * 60_000)
    await putAll(node, uploadId, [one])
    await putAll(other, uploadId, [one])
    expect(count()).toBe(2)
  })

  test('is raised while one part takes hours', async () => {
    const { world, node, uploadId } = await begun()
    const end = Promise.withResolvers<void>()
    async function * slow (): AsyncIterable<Uint8Array> { yield utf8(two); await end.promise }
    const part = node.uploads.putPart(target, uploadId, 1, slow())
    await expect.poll(() => world.timers()).toBeGreaterThan(0)
    for (let hour = 1; hour <= 3; hour++) {
      world.advance(61 * 60_000)
      await expect.poll(() => world.rowOf('k')?.pending[0]?.heartbeat).toBe(hour)
    }
    end.resolve()
    await part
    expect(world.timers()).toBe(0)
  })
})

describe('checksums of uploads', () => {
  const sum = (text: string): Uint8Array => new Uint8Array(md5(text)).subarray(0, 4)

  test('a part\'s is kept and compared, of what has come and of what is named', async () => {
    const { node, uploadId } = await begun({ checksum: { algorithm: 'crc32', type: 'FULL_OBJECT' } })
    const part = await put(node, uploadId, 1, '123456789')
    expect(part.checksum).toEqual({ algorithm: 'crc32', value: Uint8Array.of(0xcb, 0xf4, 0x39, 0x26) })
    await expect(node.uploads.putPart(target, uploadId, 1, bytesOf(one), { expected: { crc32: sum(one) } })).rejects.toThrow(DigestMismatch)
    await expect(node.uploads.complete(target, uploadId, [{ ...part, checksum: { algorithm: 'crc32', value: sum(one) } }])).rejects.toThrow(WrongPart)
    await expect(node.uploads.complete(target, uploadId, [{ ...part, checksum: { algorithm: 'crc32c', value: sum(one) } }])).rejects.toThrow(WrongPart)
    await expect(node.uploads.complete(target, uploadId, [part], { checksum: { algorithm: 'crc32', type: 'FULL_OBJECT', value: sum(one) } })).rejects.toThrow(DigestMismatch)
    await expect(node.uploads.complete(target, uploadId, [part], { checksum: { algorithm: 'sha1', type: 'COMPOSITE', value: sum(one) } })).rejects.toThrow('begun with crc32')
    const info = await node.uploads.complete(target, uploadId, [part], { checksum: { algorithm: 'crc32', type: 'FULL_OBJECT', value: Uint8Array.of(0xcb, 0xf4, 0x39, 0x26) } })
    expect(info.attributes.checksum).toEqual({ algorithm: 'crc32', type: 'FULL_OBJECT', value: Uint8Array.of(0xcb, 0xf4, 0x39, 0x26) })
  })

  test('an upload that was begun without one compares none, and names its parts by their etags', async () => {
    const { node, uploadId } = await begun()
    const part = await put(node, uploadId, 1, one)
    await node.uploads.complete(target, uploadId, [{ ...part, checksum: { algorithm: 'crc32', value: sum(one) } }])
  })

  test.each([['sha256', 'FULL_OBJECT'], ['sha1', 'FULL_OBJECT'], ['crc64nvme', 'COMPOSITE']] as const)('%s of %s cannot be had', async (algorithm, type) => {
    const world = await uploadWorld()
    await expect(world.node().uploads.create(target, { checksum: { algorithm, type } })).rejects.toThrow(InvalidInput)
    expect(world.rowOf('k')).toBeUndefined()
  })
})

describe('lists of uploads and parts', () => {
  test('parts come by pages in order of their numbers', async () => {
    const { node, uploadId } = await begun()
    for (const number of [300, 2, 1, 256, 10_000]) await put(node, uploadId, number, one)
    const first = await node.uploads.listParts(target, uploadId, { limit: 3 })
    expect(first).toMatchObject({ upload: { uploadId, key: 'k' }, next: 256 })
    expect(first.parts.map(({ partNumber }) => partNumber)).toEqual([1, 2, 256])
    const second = await node.uploads.listParts(target, uploadId, { after: 256 })
    expect(second.parts.map(({ partNumber }) => partNumber)).toEqual([300, 10_000])
    expect(second.next).toBeUndefined()
    await expect(node.uploads.listParts(target, uploadId, { limit: 1001 })).rejects.toThrow(InvalidInput)
  })

  test('uploads come in byte order of keys, by prefix, delimiter and page, and an object in the way changes nothing', async () => {
    const world = await uploadWorld()
    const node = world.node()
    const keys = ['a', 'a\0b', 'a/1', 'a/2', 'ab', 'b', 'c/x/y', 'ä', 'c/', 'x'.repeat(1024), '\0'.repeat(1024)]
    const ids = new Map<string, string>()
    for (const key of keys) ids.set(key, (await node.uploads.create({ bucket: 'photos', key })).uploadId)
    await node.put({ bucket: 'photos', key: 'a' }, bytesOf(one))
    const all = await node.uploads.list('photos')
    expect(all.uploads.map(({ key, uploadId }) => [key, uploadId])).toEqual(keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).map((key) => [key, ids.get(key)]))
    expect(all.next).toBeUndefined()
    expect(await node.uploads.list('photos', { delimiter: '/' })).toMatchObject({ prefixes: ['a/', 'c/'], next: undefined })
    expect((await node.uploads.list('photos', { prefix: 'a/', delimiter: '/' })).uploads.map(({ key }) => key)).toEqual(['a/1', 'a/2'])
    for (const delimiter of ['', '/']) {
      const [seen, whole] = [[] as string[], await node.uploads.list('photos', { delimiter })]
      let after: Parameters<Objects['uploads']['list']>[1] = {}
      for (let page = await node.uploads.list('photos', { delimiter, limit: 1 }); ; page = await node.uploads.list('photos', { delimiter, limit: 1, ...after })) {
        seen.push(...page.uploads.map(({ key }) => key), ...page.prefixes)
        if (page.next === undefined) break
        after = { after: page.next }
      }
      expect(seen.toSorted()).toEqual([...whole.uploads.map(({ key }) => key), ...whole.prefixes].toSorted())
    }
    expect((await node.uploads.list('photos', { after: { key: 'a' }, limit: 1 })).uploads.map(({ key }) => key)).toEqual(['a\0b'])
  })

  test('several uploads of one key are told apart, and listed by pages', async () => {
    const world = await uploadWorld()
    const node = world.node()
    const ids = await Promise.all(Array.from({ length: 5 }, async () => (await node.uploads.create(target)).uploadId))
    const first = await node.uploads.list('photos', { limit: 3 })
    const second = await node.uploads.list('photos', { after: first.next })
    expect(first.uploads).toHaveLength(3)
    expect([...first.uploads, ...second.uploads].map(({ uploadId }) => uploadId).toSorted()).toEqual(ids.toSorted())
  })

  test('an upload is listed until it is completed or aborted, and no longer', async () => {
    const { world, node, uploadId } = await begun()
    const other = await node.uploads.create(target)
    expect((await world.node().uploads.list('photos')).uploads).toHaveLength(2)
    await node.uploads.complete(target, uploadId, await putAll(node, uploadId, [one]))
    expect((await world.node().uploads.list('photos')).uploads.map((upload) => upload.uploadId)).toEqual([other.uploadId])
    await node.uploads.abort(target, other.uploadId)
    expect((await world.node().uploads.list('photos')).uploads).toEqual([])
  })
})

describe('buckets with uploads under way', () => {
  test('are removed, and the uploads with them', async () => {
    const { world, node, uploadId } = await begun()
    const parts = await putAll(node, uploadId, [one])
    await node.uploads.create({ bucket: 'photos', key: 'other' })
    await node.removeBucket('photos')
    for (const key of ['k', 'other']) expect(world.rowOf(key)).toMatchObject({ pending: [], current: undefined, dropped: [expect.anything()] })
    await expect.poll(() => world.uploadRows()).toEqual([])
    await expect(node.uploads.complete(target, uploadId, parts)).rejects.toThrow(NotFound)
    // made again under the same name it is another bucket
    await node.createBucket('photos')
    await expect(put(node, uploadId, 1, one)).rejects.toThrow(NoSuchUpload)
  })

  test('that are not empty stay, and the uploads too', async () => {
    const { node, uploadId } = await begun()
    await node.put({ bucket: 'photos', key: 'object' }, bytesOf(one))
    await expect(node.removeBucket('photos')).rejects.toThrow(Conflict)
    await node.uploads.complete(target, uploadId, await putAll(node, uploadId, [one]))
  })

  test('an upload that is begun while its bucket is removed is refused, and leaves nothing', async () => {
    let removing: (() => void) | undefined
    const world = await uploadWorld({ wrap: (registers) => ({
      read: async (...args) => registers.read(...args), list: async (...args) => registers.list(...args),
      async change (address, change, options) {
        const result = await registers.change(address, change, options)
        // the head of the upload stands; its bucket was listed before
        if (address.table === tables.uploads) { removing?.(); removing = undefined }
        return result
      },
    }) })
    const node = world.node()
    removing = () => { world.registers.erase({ table: tables.buckets, scope: new Uint8Array(16), key: utf8('photos') }) }
    await expect(node.uploads.create(target)).rejects.toThrow(Conflict)
    expect(world.uploadRows()).toEqual([])
    expect(world.rowOf('k')?.pending).toEqual([])
  })
})
