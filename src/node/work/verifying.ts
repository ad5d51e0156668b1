import { type Clock, deadline } from '../../base/clock.ts'
import { Corrupt, DfsError, NotFound } from '../../base/errors.ts'
import type { VerifiedObject, VerifyCounts, VerifyEvent, VerifyOptions } from '../../node.ts'
import { type Bucket, type ListVersionsOptions, type LostVersion, type ObjectInfo, type Objects, redundancyOf } from '../../objects/index.ts'
import type { Replication } from '../../replication/index.ts'
import { CopyCount, type CopyCountParts, type NotedBlock } from './copy-count.ts'

/**
 * `dfs verify`: walks everything that can be read through this node, and proves it. Of each object the row is read from a majority; every block of it is read, from wherever it is, authenticated and
 * opened; and its copies or shards are counted at those who should hold them. What did not answer is not counted as a copy.
 */
export interface VerifyParts extends CopyCountParts {
  readonly engine: Pick<Replication, 'reader'>
  /** Objects over an engine: this one notes which blocks it is asked for. */
  readonly objectsOver: (engine: Pick<Replication, 'reader'>) => Pick<Objects, 'listBuckets' | 'bucket' | 'list' | 'listVersions' | 'get'>
  readonly clock: Clock
}

export const verifyLimits = {
  objectsAtOnce: 4,
  /** Blocks whose copies are asked for together. */
  blocksAtOnce: 500,
  progressMs: 500,
} as const

type Counts = { -readonly [C in keyof VerifyCounts]: number }

/** `onAll`: everything has been looked at, not one bucket. */
export async function * verifyObjects (parts: VerifyParts, { bucket, prefix = '', isDeep = false, signal, onAll }: VerifyOptions & { readonly onAll?: () => Promise<void> }): AsyncIterable<VerifyEvent> {
  const idle = Array.from({ length: verifyLimits.objectsAtOnce }, () => new Verifier(parts, isDeep))
  const [{ objects }] = idle as [Verifier]
  const buckets = bucket === undefined ? await everyBucket(objects, { signal }) : [await objects.bucket(bucket, { signal })]
  const total = { objects: 0, bytes: 0 }
  for (const one of buckets) {
    for await (const info of listed(objects, { bucket: one, prefix, signal })) {
      if (!('sizeBytes' in info)) continue
      total.objects++
      total.bytes += info.sizeBytes
    }
  }
  yield { kind: 'total', ...total }

  const sum: Counts = { objects: 0, bytes: 0, blocks: 0, damaged: 0, unreadable: 0, below: 0 }
  const under: Array<Promise<VerifiedObject | undefined>> = []
  const first = async function * (): AsyncIterable<VerifyEvent> {
    const head = under.shift() as Promise<VerifiedObject | undefined>
    let isOver = false
    const over = head.finally(() => { isOver = true })
    while (!isOver) {
      using tick = deadline(parts.clock, verifyLimits.progressMs, { what: 'a look at the progress' })
      await Promise.race([over, aborted(tick.signal)])
      yield { kind: 'progress', ...sum }
    }
    const found = await head
    if (found !== undefined) yield { kind: 'object', ...found }
  }
  for (const one of buckets) {
    for await (const info of listed(objects, { bucket: one, prefix, areRowsRead: true, signal })) {
      if (!('sizeBytes' in info)) {
        sum.damaged++
        under.push(Promise.resolve({ bucket: one.name, ...info, problem: 'damaged', reason: 'its object names it, and its own row is lost' }))
        continue
      }
      // the first may have ended long ago, and its verifier be at another
      while (idle.length === 0) yield * first()
      const verifier = idle.pop() as Verifier
      const work = verifier.verify({ bucket: one, info, sum, signal }).finally(() => { idle.push(verifier) })
      work.catch(() => {}) // thrown when its turn comes
      under.push(work)
    }
  }
  while (under.length > 0) yield * first()
  if (bucket === undefined) await onAll?.()
  yield { kind: 'done', ...sum }
}

/** With what each is set to, of which a listing says nothing. */
async function everyBucket (objects: Pick<Objects, 'listBuckets' | 'bucket'>, wait: { signal: AbortSignal | undefined }): Promise<readonly Bucket[]> {
  const found: Bucket[] = []
  for (const { name } of await objects.listBuckets(wait)) {
    try { found.push(await objects.bucket(name, wait)) } catch (error) {
      // removed since it was listed
      if (!(error instanceof NotFound)) throw error
    }
  }
  return found
}

/** Where versions are kept, all of them, those that are lost too. */
async function * listed (objects: Pick<Objects, 'list' | 'listVersions'>, { bucket, prefix, areRowsRead, signal }: { bucket: Bucket, prefix: string, areRowsRead?: boolean, signal: AbortSignal | undefined }): AsyncIterable<ObjectInfo | LostVersion> {
  const { name, settings: { versioning } = {} } = bucket
  for (let last: ListVersionsOptions['after']; versioning !== undefined;) {
    const page = await objects.listVersions(name, { prefix, areRowsRead, signal, ...(last === undefined ? {} : { after: last }) })
    for (const version of page.versions) if (!version.isDeleteMarker) yield version
    yield * page.lost ?? []
    if (page.next === undefined) return
    last = page.next
  }
  for (let after: string | undefined; ;) {
    const page = await objects.list(name, { prefix, signal, ...(after === undefined ? {} : { after }) })
    yield * page.objects
    if (page.next === undefined) return
    after = page.next
  }
}

const aborted = (signal: AbortSignal): Promise<void> => new Promise((resolve) => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })

/** Verifies one object after the other. */
class Verifier {
  readonly objects: ReturnType<VerifyParts['objectsOver']>
  readonly #parts: VerifyParts
  readonly #isDeep: boolean
  /** What the object under way has been found to consist of, and not counted yet. */
  #noted: NotedBlock[] = []

  constructor (parts: VerifyParts, isDeep: boolean) {
    this.#parts = parts
    this.#isDeep = isDeep
    this.objects = parts.objectsOver({
      reader: (of = {}) => {
        const reader = parts.engine.reader({ ...of, isPassing: true })
        return { get: async (cid, options) => { this.#noted.push({ cid, redundancy: of.redundancy }); return reader.get(cid, options) } }
      },
    })
  }

  /** Undefined: all is well, or the object is gone by now. */
  async verify ({ bucket, info, sum, signal }: { bucket: Bucket, info: ObjectInfo, sum: Counts, signal: AbortSignal | undefined }): Promise<VerifiedObject | undefined> {
    this.#noted = []
    const { whole } = redundancyOf(bucket)
    const count = new CopyCount(this.#parts, { copies: whole.k + whole.m, isDeep: this.#isDeep, signal })
    const named = { bucket: info.bucket, key: info.key, versionId: info.versionId }
    try {
      // a version that is not kept may have given way to another meanwhile, which is proven in its place
      const { versioning } = bucket.settings ?? {}
      const { body } = await this.objects.get({ bucket: info.bucket, key: info.key }, { signal, ...(versioning === undefined ? {} : { versionId: info.versionId }) })
      for await (const piece of body) {
        sum.bytes += piece.byteLength
        if (this.#noted.length >= verifyLimits.blocksAtOnce) await this.#count(count, sum)
      }
      await this.#count(count, sum)
    } catch (error) {
      signal?.throwIfAborted()
      // removed since it was listed
      if (error instanceof NotFound && !(error.cause instanceof Corrupt)) return undefined
      if (!(error instanceof DfsError)) throw error
      sum.objects++
      const problem = error instanceof Corrupt ? 'damaged' : 'unreadable'
      sum[problem]++
      return { ...named, problem, reason: error.message }
    }
    sum.objects++
    const { damaged, below } = count.result()
    if (damaged.length > 0) { sum.damaged++; return { ...named, problem: 'damaged', reason: damaged.join('; ') } }
    if (below !== undefined) { sum.below++; return { ...named, problem: 'below', reason: below } }
    return undefined
  }

  async #count (count: CopyCount, sum: Counts): Promise<void> {
    const blocks = this.#noted.splice(0)
    sum.blocks += blocks.length
    await count.add(blocks)
  }
}
