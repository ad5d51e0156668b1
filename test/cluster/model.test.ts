import { join } from 'node:path'
import { expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { concat } from '../../src/base/bytes.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { type ByteRange, createNode, type CreateNodeOptions, type EmbeddedNode, type Objects } from '../../src/index.ts'
import { BucketModel, type ModelVersion } from '../support/bucket-model.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** Three nodes, through which one client puts, copies, uploads, deletes, lists and changes buckets, and a few maps that must answer the same. */

const settings = { listen: ['/ip4/127.0.0.1/tcp/0'], apiPort: 0, reserveBytes: 0, collectAfterMs: 1000, cacheBytes: 0 } as const satisfies CreateNodeOptions['settings']
const [seed, steps] = [Number(process.env.MODEL_SEED ?? 1), Number(process.env.MODEL_STEPS ?? 400)]
const [kib, mib] = [1024, 1024 * 1024]
const keys = ['a', 'a/', 'a/b', 'a/b/c', 'a//b', 'a\u0000', 'ab', '/', '//', 'é', 'e\u0301', '\uffff', '😀', '😀/x', '\u{10ffff}', 'z'.repeat(1024), 'dir', 'dir/', 'dir/sub/1', 'dir/sub/2', 'dir/sub2', 'dir-x', '%2F', '..', '../x', 'null']
const sizes = [0, 1, 100, 4 * kib - 1, 4 * kib, 4 * kib + 1, 32 * kib, 32 * kib + 1, 256 * kib - 1, 256 * kib, mib, mib + 1, 5 * mib + 3]
const options = [{}, { isPrivate: true }, { chunking: 'fixed' }, { chunking: 'content-small' }, { dedup: 'cluster' }, { dedup: 'cluster', compression: 'off' }] as const
const redundancies = [{ copies: 1 }, { copies: 2 }, { copies: 3 }, { shards: '2+1' }] as const

/** Choices of one seed. */
class Choice {
  readonly #random: Random
  constructor (of: number) { this.#random = seededRandom(of) }
  below (limit: number): number { return Math.floor(this.#random.fraction() * limit) }
  of<T> (items: readonly T[]): T { return items[this.below(items.length)] as T }
  /** With equal ones among them, and some that are almost equal. */
  content (): Uint8Array {
    const size = this.of(sizes)
    const bytes = this.below(3) === 0 ? new Uint8Array(size).fill(this.below(3)) : noiseBytes(size, 7).slice()
    if (size > 0 && this.below(2) === 0) bytes[this.below(size)] = this.below(256)
    return bytes
  }
}

async function * pieces (bytes: Uint8Array, pieceBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}
const nameOf = ({ isNull, versionId }: ModelVersion): string => isNull ? 'null' : versionId

test(`what three nodes answer, whatever is asked of which, is what a few maps do, and when all is deleted nothing is left: seed ${seed}`, async ({ onTestFailed }) => {
  const choice = new Choice(seed)
  const said: string[] = []
  onTestFailed(() => { console.log(said.slice(-20).join('\n')) })
  await using folder = await temporaryFolder()
  const nodes: EmbeddedNode[] = [await createNode({ data: join(folder.path, '0'), settings })]
  await using _nodes = { [Symbol.asyncDispose]: async () => { await Promise.all(nodes.map(async (node) => { await node[Symbol.asyncDispose]() })) } }
  for (const name of ['1', '2']) {
    const [token = ''] = await (nodes[0] as EmbeddedNode).invite({})
    nodes.push(await createNode({ data: join(folder.path, name), settings, join: token }))
  }
  const connected = async (): Promise<void> => until('all are connected', 30_000, async () => (await Promise.all(nodes.map(async (node) => node.status()))).every(({ members }) => members.length === 3 && members.every(({ isConnected }) => isConnected)))
  await connected()
  const at = (): Objects => choice.of(nodes).objects
  const buckets = options.map((_, i) => new BucketModel(`bucket-${i}`))
  for (const [i, bucket] of buckets.entries()) await at().createBucket(bucket.name, { copies: 2, ...options[i] })

  async function expectContent (bucket: BucketModel, key: string, version: ModelVersion & { content: Uint8Array }, { isNamed }: { isNamed: boolean }): Promise<void> {
    const { content } = version
    const first = choice.below(content.byteLength)
    const range = content.byteLength > 0 && choice.below(3) === 0 ? choice.of<ByteRange>([{ first }, { first, last: first + choice.below(2 * mib) }, { first: -1 - first }]) : undefined
    const reading = await at().get({ bucket: bucket.name, key }, { ...(range === undefined ? {} : { range }), ...(isNamed ? { versionId: nameOf(version) } : {}) })
    const got = []
    for await (const piece of reading.body) got.push(piece.slice())
    const end = range?.last === undefined ? undefined : range.last + 1
    expect(digestOfBytes(concat(got)), `${bucket.name} ${key} ${JSON.stringify(range)}`).toBe(digestOfBytes(content.slice(range?.first ?? 0, end)))
    expect(reading.info).toMatchObject({ versionId: version.versionId, etag: version.etag, sizeBytes: content.byteLength, isNullVersion: version.isNull })
  }

  function made (bucket: BucketModel, key: string, content: Uint8Array, { versionId, isNullVersion, etag }: { versionId: string, isNullVersion: boolean, etag: string }): void {
    expect(isNullVersion).toBe(bucket.versioning !== 'enabled')
    bucket.add(key, { versionId, isNull: isNullVersion, etag, content })
  }

  async function put (bucket: BucketModel, key: string): Promise<void> {
    const [content, live] = [choice.content(), bucket.live(key)]
    const condition = choice.below(5) > 0 ? {} : choice.of([{ ifNoneMatch: '*' }, { ifMatch: '*' }, { ifMatch: live?.etag ?? 'x' }])
    const holds = 'ifNoneMatch' in condition ? live === undefined : !('ifMatch' in condition) || live !== undefined
    const putting = at().put({ bucket: bucket.name, key }, pieces(content, 1 + choice.below(mib)), { ...condition, wantsMd5: choice.below(2) === 0 })
    if (holds) made(bucket, key, content, await putting)
    else await expect(putting).rejects.toMatchObject({ code: 'conflict' })
  }

  async function get (bucket: BucketModel, key: string): Promise<void> {
    const live = bucket.live(key)
    if (live?.content === undefined) await expect(at().get({ bucket: bucket.name, key })).rejects.toMatchObject({ code: 'not-found' })
    else await expectContent(bucket, key, { ...live, content: live.content }, { isNamed: false })
    const versions = bucket.versions(key)
    if (versions.length === 0) return
    const version = choice.of(versions)
    if (version.content === undefined) await expect(at().get({ bucket: bucket.name, key }, { versionId: nameOf(version) })).rejects.toMatchObject({ code: 'not-found' })
    else await expectContent(bucket, key, { ...version, content: version.content }, { isNamed: true })
  }

  async function remove (bucket: BucketModel, key: string): Promise<void> {
    const wasThere = bucket.live(key) !== undefined
    const removal = await at().remove({ bucket: bucket.name, key })
    expect(removal.wasThere).toBe(wasThere)
    const marker = bucket.markerOf(key)
    expect(removal.isDeleteMarker).toBe(marker !== 'none')
    if (marker === 'none') bucket.keys.delete(key)
    else if (marker !== 'new') expect(removal.versionId).toBe(marker.versionId)
    else bucket.add(key, { versionId: removal.versionId ?? '', isNull: bucket.versioning === 'suspended' })
  }

  async function removeVersion (bucket: BucketModel, key: string): Promise<void> {
    const versions = bucket.versions(key)
    if (versions.length === 0) return
    const version = choice.of(versions)
    expect(await at().remove({ bucket: bucket.name, key }, { versionId: nameOf(version) })).toMatchObject({ wasThere: true, isDeleteMarker: version.content === undefined })
    bucket.drop(key, version)
  }

  /** Some version of some object, in any bucket. */
  function anyObject (): { source: { bucket: string, key: string, versionId: string }, content: Uint8Array } | undefined {
    const all = buckets.flatMap((bucket) => [...bucket.keys].flatMap(([key, versions]) => versions.flatMap((version) => version.content === undefined ? [] : [{ source: { bucket: bucket.name, key, versionId: nameOf(version) }, content: version.content }])))
    return all.length === 0 ? undefined : choice.of(all)
  }

  async function copy (bucket: BucketModel, key: string): Promise<void> {
    const from = anyObject()
    if (from === undefined || (from.source.bucket === bucket.name && from.source.key === key)) return
    made(bucket, key, from.content, await at().copy(from.source, { bucket: bucket.name, key }, { wantsMd5: choice.below(3) === 0 }))
  }

  async function list (bucket: BucketModel): Promise<void> {
    const [prefix, delimiter] = [choice.of(['', '', 'a', 'a/', 'dir/', 'dir/s', '/', '😀', 'nope']), choice.of([undefined, '/', '/', 'b', '//'])]
    const [after, limit] = [choice.below(4) === 0 ? choice.of(keys) : undefined, choice.of([1, 2, 1000])]
    const got: string[] = []
    for (let next = after, more = true; more;) {
      const page = await at().list(bucket.name, { prefix, delimiter, after: next, limit })
      for (const { key, etag } of page.objects) expect(etag).toBe(bucket.live(key)?.etag)
      expect(page.objects.length + page.prefixes.length).toBeLessThanOrEqual(limit)
      got.push(...[...page.objects.map(({ key }) => key), ...page.prefixes].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
      next = page.next
      more = next !== undefined
    }
    expect(got, JSON.stringify({ prefix, delimiter, after, limit })).toEqual(bucket.list({ prefix, delimiter, after }))
  }

  async function listVersions (bucket: BucketModel): Promise<void> {
    const [prefix, limit] = [choice.of(['', 'a', 'dir/']), choice.of([1, 3, 1000])]
    const got: string[] = []
    for (let next: { key: string, versionId?: string } | undefined, more = true; more;) {
      const page = await at().listVersions(bucket.name, { prefix, limit, ...(next === undefined ? {} : { after: next }) })
      got.push(...page.versions.map(({ key, versionId, isDeleteMarker, isLatest }) => [key, versionId, isDeleteMarker, isLatest].join(' ')))
      next = page.next
      more = next !== undefined
    }
    expect(got).toEqual(bucket.listVersions(prefix).map(({ key, versionId, content }) => [key, versionId, content === undefined, bucket.versions(key)[0]?.versionId === versionId].join(' ')))
  }

  async function upload (bucket: BucketModel, key: string): Promise<void> {
    if (bucket.uploads.size < 2) bucket.uploads.set((await at().uploads.create({ bucket: bucket.name, key }, { wantsMd5: choice.below(2) === 0 })).uploadId, { key, parts: new Map() })
    const [uploadId, { key: of, parts }] = choice.of([...bucket.uploads])
    const [target, partNumber, from] = [{ bucket: bucket.name, key: of }, choice.of([1, 2, 10_000]), choice.below(3) === 0 ? anyObject() : undefined]
    if (from !== undefined && from.content.byteLength > 0) {
      const first = choice.below(from.content.byteLength)
      const part = await at().uploads.copyPart(target, uploadId, partNumber, from.source, { range: { first, last: from.content.byteLength - 1 } })
      parts.set(partNumber, { content: from.content.slice(first), etag: part.etag })
    } else {
      const content = choice.below(2) === 0 ? choice.content() : noiseBytes(5 * mib + choice.below(1000), 8)
      parts.set(partNumber, { content, etag: (await at().uploads.putPart(target, uploadId, partNumber, pieces(content, mib))).etag })
    }
    if (choice.below(2) === 0) return
    const named = [...parts].toSorted(([a], [b]) => a - b).filter(() => choice.below(4) > 0)
    if (named.length === 0) {
      await at().uploads.abort(target, uploadId)
      bucket.uploads.delete(uploadId)
      await expect(at().uploads.listParts(target, uploadId)).rejects.toMatchObject({ name: 'NoSuchUpload' })
      return
    }
    const completing = at().uploads.complete(target, uploadId, named.map(([number, { etag }]) => ({ partNumber: number, etag })))
    if (named.slice(0, -1).some(([, { content }]) => content.byteLength < 5 * mib)) { await expect(completing).rejects.toMatchObject({ name: 'PartTooSmall' }); return }
    made(bucket, of, concat(named.map(([, { content }]) => content)), await completing)
    bucket.uploads.delete(uploadId)
  }

  async function setVersioning (bucket: BucketModel): Promise<void> {
    const versioning = choice.of(['enabled', 'suspended'] as const)
    await at().setBucketSettings(bucket.name, { versioning })
    bucket.versioning = versioning
  }

  async function setRedundancy (bucket: BucketModel): Promise<void> { await at().setRedundancy(bucket.name, choice.of(redundancies)) }

  async function restart (): Promise<void> {
    const index = choice.below(nodes.length)
    await (nodes[index] as EmbeddedNode)[Symbol.asyncDispose]()
    nodes[index] = await createNode({ data: join(folder.path, `${index}`), settings })
    await connected()
  }

  const often = [put, put, put, get, get, get, remove, removeVersion, copy, upload, list, listVersions]
  for (let step = 0; step < steps; step++) {
    const act = step % 100 === 99 ? restart : choice.below(20) === 0 ? choice.of([setVersioning, setRedundancy]) : choice.of(often)
    const [bucket, key] = [choice.of(buckets), choice.of(keys)]
    said.push(`${step} ${act.name} ${bucket.name} (${bucket.versioning ?? 'no versions'}) ${key.slice(0, 20)}`)
    await act(bucket, key)
  }
  for (const bucket of buckets) {
    await listVersions(bucket)
    for (const [key, versions] of bucket.keys) {
      for (const version of versions) {
        if (version.content !== undefined) await expectContent(bucket, key, { ...version, content: version.content }, { isNamed: true })
        await at().remove({ bucket: bucket.name, key }, { versionId: nameOf(version) })
      }
    }
    for (const [uploadId, { key }] of bucket.uploads) await at().uploads.abort({ bucket: bucket.name, key }, uploadId)
    await at().removeBucket(bucket.name)
  }
  await until('no block is left anywhere', 120_000, async () => (await Promise.all(nodes.map(async (node) => node.status()))).every(({ blocks }) => blocks.count === 0))
}, 600_000 + steps * 1000)
