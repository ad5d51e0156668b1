import { empty, fromHex, hexOf, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Conflict, Refused } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { type Change, type Registers, type RowAddress, tables } from '../../tables/index.ts'
import { type BucketRow, checkBucketName, checkBucketOptions, decodeBucketRow, defaultBucketOptions, encodeBucketRow, publicBucket } from './bucket-row.ts'
import { type BucketSettings, changedSettings, type SettingsChange } from './bucket-settings.ts'
import { clusterScope, removedKey } from '../describe.ts'
import { NoSuchBucket } from '../errors.ts'
import type { Bucket, BucketOptions } from '../index.ts'
import { chosenRedundancy, redundancyOf, redundancyText, suggestionFor } from './redundancy.ts'
import { sharedReads } from '../shared-read.ts'

export interface BucketsParts {
  readonly registers: Registers
  readonly clock: Clock
  readonly random: Random
  /** Closes joining and settles the layout, before the first bucket exists; quick when it is settled. @throws Unavailable */
  readonly settleLayout: (wait: { signal?: AbortSignal }) => Promise<void>
  /** Nodes that a block may lie on: positions of the layout. */
  readonly blockPlaces: () => number
  /** Whether any object is in the bucket, by a majority. */
  readonly isEmpty: (bucket: BucketRow, wait: { signal?: AbortSignal }) => Promise<boolean>
  /** Ends the uploads in parts that are under way in it. */
  readonly dropUploads: (bucket: BucketRow, wait: { signal?: AbortSignal }) => Promise<void>
}

const addressOf = (name: string): RowAddress => ({ table: tables.buckets, scope: clusterScope, key: utf8(name) })
/** Where a bucket says that it was removed: its name may be another's by then. */
const removedAddressOf = (id: string): RowAddress => ({ table: tables.buckets, scope: fromHex(id), key: removedKey })
const pageSize = 1000
/** Names remembered as hints; above it all are forgotten, which costs a read each. */
const maxRemembered = 10_000

/** Bucket rows: unique names by create-if-absent; removal, of what looks empty, by active → deleting, under a mark of its own → listed empty → gone, or back. */
export class Buckets {
  readonly #parts: BucketsParts
  readonly #shared: (name: string) => Promise<BucketRow | undefined>
  readonly #lastSeen = new Map<string, BucketRow>()

  constructor (parts: BucketsParts) {
    this.#parts = parts
    this.#shared = sharedReads((name) => this.#read(name))
  }

  async create (name: string, { settings: asked = {}, ...options }: Partial<BucketOptions> & { readonly settings?: BucketSettings } = {}, wait: { signal?: AbortSignal } = {}): Promise<Bucket> {
    checkBucketName(name)
    const settings = changedSettings({}, asked)
    const chosen = { ...defaultBucketOptions, ...options, ...chosenRedundancy(options), ...(Object.keys(settings).length === 0 ? {} : { settings }) }
    checkBucketOptions(chosen)
    await this.#parts.settleLayout(wait)
    this.#demandPlaces(chosen)
    const { clock, random } = this.#parts
    const row: BucketRow = { ...chosen, name, id: hexOf(random.bytes(16)), created: new Date(clock.wallMs()).toISOString(), state: 'active' }
    const taken = await this.#change<BucketRow | undefined>(name, (current) => {
      if (current === undefined) return { kind: 'write', value: encodeBucketRow(row), result: undefined }
      return { kind: 'keep', result: current }
    }, wait)
    if (taken !== undefined) throw new Conflict(`bucket "${name}" ${taken.state === 'active' ? 'exists already' : 'is being removed'}`)
    return publicBucket(row)
  }

  async setRedundancy (name: string, redundancy: { readonly copies?: number, readonly shards?: string }, wait: { signal?: AbortSignal } = {}): Promise<Bucket> {
    checkBucketName(name)
    const chosen = chosenRedundancy(redundancy)
    this.#demandPlaces(chosen)
    const changed = await this.#change<BucketRow | undefined>(name, (current) => {
      if (current === undefined || current.state !== 'active') return { kind: 'keep', result: current }
      const { shards, ...rest } = current
      if (rest.copies === chosen.copies && shards === chosen.shards) return { kind: 'keep', result: current }
      const row: BucketRow = { ...rest, ...chosen, original: current.original ?? { copies: rest.copies, ...(shards === undefined ? {} : { shards }) } }
      return { kind: 'write', value: encodeBucketRow(row), result: row }
    }, wait)
    return publicBucket(demandActive(name, changed))
  }

  async setSettings (name: string, change: SettingsChange, wait: { signal?: AbortSignal } = {}): Promise<Bucket> {
    checkBucketName(name)
    const changed = await this.#change<BucketRow | undefined>(name, (current) => {
      if (current === undefined || current.state !== 'active') return { kind: 'keep', result: current }
      const { settings = {}, ...rest } = current
      const next = changedSettings(settings, change)
      const row: BucketRow = Object.keys(next).length === 0 ? rest : { ...rest, settings: next }
      return { kind: 'write', value: encodeBucketRow(row), result: row }
    }, wait)
    return publicBucket(demandActive(name, changed))
  }

  /** Shards are of no use where two of them fall on one node. */
  #demandPlaces (options: Pick<BucketOptions, 'copies' | 'shards'>): void {
    if (options.shards === undefined) return
    const { k, m } = redundancyOf(options).large
    const places = this.#parts.blockPlaces()
    if (k + m > places) throw new Refused(`${redundancyText(options)} puts ${k + m} shards on as many nodes, and ${places} ${places === 1 ? 'node holds' : 'nodes hold'} blocks; add nodes, or choose ${suggestionFor(places)}`)
  }

  async list (wait: { signal?: AbortSignal } = {}): Promise<readonly Bucket[]> {
    const buckets: Bucket[] = []
    for (let after: Uint8Array | undefined, more = true; more;) {
      const page = await this.#parts.registers.list({ table: tables.buckets, scope: clusterScope, prefix: empty, after, limit: pageSize }, wait)
      buckets.push(...page.entries.map(({ summary }) => publicBucket(decodeBucketRow(summary))))
      after = page.next
      more = after !== undefined
    }
    return buckets
  }

  /** The bucket as of some moment after the call. Concurrent callers share reads. @throws NotFound; Conflict while it is being removed */
  async active (name: string): Promise<BucketRow> {
    checkBucketName(name)
    return demandActive(name, await this.#shared(name))
  }

  /** Whether this very bucket takes objects, as of some moment after the call. */
  async isActive (bucket: Bucket): Promise<boolean> { return await this.again(bucket) !== undefined }

  /** What this very bucket says as of some moment after the call; undefined: it takes no objects any more. */
  async again ({ name, id }: Bucket): Promise<BucketRow | undefined> {
    const now = await this.#shared(name)
    return now?.id === id && now.state === 'active' ? now : undefined
  }

  /** The bucket as it was when last seen, or as it is now if it never was. May be outdated: what is built on it must be checked against `active`. */
  async recent (name: string): Promise<BucketRow> {
    return this.#lastSeen.get(name) ?? this.active(name)
  }

  async remove (name: string, wait: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#demandEmpty(name, wait)
    const bucket = await this.#mark(name, wait)
    const isEmpty = await this.#parts.isEmpty(bucket, wait)
    if (isEmpty) {
      await this.#parts.dropUploads(bucket, wait)
      await this.#noteRemoved(bucket, wait)
    }
    const isGone = isEmpty ? await this.#erase(bucket, wait) : !await this.keep(bucket, wait)
    this.#lastSeen.delete(name)
    if (isGone) return
    throw isEmpty ? new Conflict(`bucket "${name}" came into use again while it was being removed; try again`) : notEmpty(name)
  }

  /** A look before the mark, which decides nothing: what is in a bucket that is marked cannot be had, and whoever marked it may be cut off. */
  async #demandEmpty (name: string, wait: { signal?: AbortSignal }): Promise<void> {
    checkBucketName(name)
    const bucket = await this.#shared(name)
    if (bucket?.state === 'active' && !await this.#parts.isEmpty(bucket, wait)) throw notEmpty(name)
  }

  /** Ends a removal under way, for there is an object in the bucket. Whether the bucket is still there. */
  async keep ({ name, id }: Bucket, wait: { signal?: AbortSignal } = {}): Promise<boolean> {
    return this.#change<boolean>(name, (current) => {
      if (current?.id !== id) return { kind: 'keep', result: false }
      return current.state === 'active' ? { kind: 'keep', result: true } : { kind: 'write', value: encodeBucketRow({ ...current, state: 'active', removal: undefined }), result: true }
    }, wait)
  }

  /**
   * What was listed holds only while the very mark stands under which it was: after another one, or none, a put may have been acknowledged that the list
   * has not. Whether the bucket is gone.
   */
  async #erase ({ name, id, removal }: BucketRow, wait: { signal?: AbortSignal }): Promise<boolean> {
    return this.#change<boolean>(name, (current) => {
      if (current?.id !== id) return { kind: 'keep', result: true }
      return current.removal === removal ? { kind: 'erase', result: true } : { kind: 'keep', result: false }
    }, wait)
  }

  /** The bucket that had this id, if it was removed: it never comes back. */
  async removed (id: string, wait: { signal?: AbortSignal } = {}): Promise<BucketRow | undefined> {
    const value = await this.#parts.registers.read(removedAddressOf(id), wait)
    if (value === undefined) return undefined
    const bucket = decodeBucketRow(value)
    // what was noted before the row was erased, or was not
    const now = await this.#parts.registers.read(addressOf(bucket.name), wait)
    return now !== undefined && decodeBucketRow(now).id === id ? undefined : bucket
  }

  /** For whoever finds an object in it that came too late to be seen (removed-sweep.ts). It stays for ever. */
  async #noteRemoved (bucket: BucketRow, wait: { signal?: AbortSignal }): Promise<void> {
    const { removal: _, settings: __, original: ___, ...row } = bucket
    await this.#parts.registers.change<void>(removedAddressOf(bucket.id), (value) =>
      value === undefined ? { kind: 'write', value: encodeBucketRow({ ...row, state: 'removed' }), result: undefined } : { kind: 'keep', result: undefined }, wait)
  }

  /** From now on puts into it fail. Whoever finds it marked goes on under that mark. */
  async #mark (name: string, wait: { signal?: AbortSignal }): Promise<BucketRow> {
    const removal = hexOf(this.#parts.random.bytes(16))
    const marked = await this.#change<BucketRow | undefined>(name, (current) => {
      if (current === undefined || current.removal !== undefined) return { kind: 'keep', result: current }
      const row: BucketRow = { ...current, state: 'deleting', removal }
      return { kind: 'write', value: encodeBucketRow(row), result: row }
    }, wait)
    if (marked === undefined) throw new NoSuchBucket(name)
    return marked
  }

  async #change<T> (name: string, change: (current: BucketRow | undefined) => Change<T>, wait: { signal?: AbortSignal }): Promise<T> {
    return this.#parts.registers.change<T>(addressOf(name), (value) => change(value === undefined ? undefined : decodeBucketRow(value)), wait)
  }

  async #read (name: string): Promise<BucketRow | undefined> {
    const value = await this.#parts.registers.read(addressOf(name))
    const bucket = value === undefined ? undefined : decodeBucketRow(value)
    if (bucket === undefined || bucket.state !== 'active') this.#lastSeen.delete(name)
    else {
      if (this.#lastSeen.size >= maxRemembered) this.#lastSeen.clear()
      this.#lastSeen.set(name, bucket)
    }
    return bucket
  }
}

const notEmpty = (name: string): Conflict => new Conflict(`bucket "${name}" is not empty; remove its objects first ("dfs rm -r ${name}/")`)

function demandActive (name: string, bucket: BucketRow | undefined): BucketRow {
  if (bucket === undefined) throw new NoSuchBucket(name)
  if (bucket.state !== 'active') throw new Conflict(`bucket "${name}" is being removed; "dfs bucket rm ${name}" finishes it`)
  return bucket
}
