import { rm, statfs, writeFile } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'
import { Corrupt, StoreFull } from '../base/errors.ts'
import { type KeyRange, type KeyValue, type KeyValueChange, SyncFailed } from './index.ts'

/** Entries fetched from LevelDB at once while iterating. */
const batchSize = 256
/** Above every key of ours. */
const beyond = new Uint8Array(64).fill(0xff)
/** What opening may write: as tables, the logs of two write buffers of 4 MiB. A disk that was full has that free, or is still full. */
const roomBytes = 16 * 1024 * 1024

/** The key-value port over LevelDB (https://github.com/google/leveldb, Node binding classic-level) in a folder of its own. */
export async function levelKeyValue (path: string): Promise<KeyValue> {
  return new LevelKeyValue(path, await opened(path))
}

type Level = ClassicLevel<Uint8Array, Uint8Array>

interface Batch {
  readonly changes: KeyValueChange[]
  sync: boolean | 'all'
  readonly written: Promise<void>
}

/**
 * A write that failed may have torn the log, and LevelDB would go on behind the tear, where its next start drops what it finds, synced or not: so nothing is
 * written after it. A disk that was only full may have room again: then LevelDB is closed and opened afresh, which ends the log at the tear. One batch is
 * written at a time, so that none is under way behind one that fails; those that come meanwhile are the next one together, and share its sync: a disk that
 * syncs 4,000 times a second takes tens of thousands of changes.
 */
class LevelKeyValue implements KeyValue {
  readonly #path: string
  #db: Level
  #failure: KeyValue['failure']
  #reopening: Promise<void> | undefined
  #gathering: Batch | undefined
  #writing: Promise<void> = Promise.resolve()
  readonly get: KeyValue['get']

  constructor (path: string, db: Level) {
    this.#path = path
    this.#db = db
    this.get = gathered(async (keys) => this.getMany(keys))
  }

  get failure (): KeyValue['failure'] { return this.#failure }

  async getMany (keys: readonly Uint8Array[]): Promise<Array<Uint8Array | undefined>> {
    const db = await this.#readable()
    return (await db.getMany([...keys])).map(plain)
  }

  async batch (changes: readonly KeyValueChange[], { sync }: { sync: boolean | 'all' }): Promise<void> {
    const batch = this.#gathering ??= this.#nextBatch()
    for (const change of changes) batch.changes.push(change)
    batch.sync = batch.sync === 'all' ? 'all' : sync || batch.sync
    await batch.written
  }

  async * entries (range: KeyRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]> {
    const db = await this.#readable()
    const iterator = db.iterator(optionsOf(range))
    try {
      for (let entries = await this.#on(db, iterator.nextv(batchSize)); entries.length > 0; entries = await this.#on(db, iterator.nextv(batchSize))) yield * entries.map(([key, value]) => [plain(key), plain(value)] as const)
    } finally {
      await iterator.close()
    }
  }

  async * keys (range: KeyRange): AsyncIterable<Uint8Array> {
    const db = await this.#readable()
    const iterator = db.keys(optionsOf(range))
    try {
      for (let keys = await this.#on(db, iterator.nextv(batchSize)); keys.length > 0; keys = await this.#on(db, iterator.nextv(batchSize))) yield * keys.map(plain)
    } finally {
      await iterator.close()
    }
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await this.#writing
    await this.#db.close()
  }

  #nextBatch (): Batch {
    const batch: Batch = { changes: [], sync: false, written: this.#writing.then(async () => {
      this.#gathering = undefined
      await this.#write(batch)
    }) }
    this.#writing = batch.written.catch(() => {}) // told to whose batch it was
    return batch
  }

  async #write ({ changes, sync }: Batch): Promise<void> {
    if (this.#failure instanceof StoreFull) await this.#reopen(this.#failure)
    if (this.#failure !== undefined) throw this.#failure
    // the compaction of no key at all writes what the logs hold to tables, synced; when that fails, so does the batch, or no log was closed and its sync covers all
    if (sync === 'all') await this.#db.compactRange(beyond, beyond)
    await this.#append(changes, sync !== false).catch(async (error: unknown) => {
      // of what was not synced before it is to be told that it may be gone
      if (!(error instanceof StoreFull) || sync !== true) throw error
      // LevelDB tells now what a compaction met behind, when there was no room; there may be again
      await this.#reopen(error)
      await this.#append(changes, sync)
    })
  }

  async #append (changes: readonly KeyValueChange[], sync: boolean): Promise<void> {
    const operations = changes.map((change) => change.type === 'put' ? change : { type: 'del' as const, key: change.key })
    await this.#db.batch(operations, { sync }).catch((cause: unknown) => { throw this.#failure = isFull(cause) ? diskFull(cause) : new SyncFailed('the key-value store took no write', { cause }) })
  }

  async #reopen (failure: StoreFull): Promise<void> {
    await demandRoom(this.#path, failure)
    const reopening = this.#db.close().then(async () => { this.#db = await opened(this.#path, { isThere: true }) })
    this.#reopening = reopening.catch(() => {}) // told to whose batch it is for
    await reopening
    this.#failure = undefined
  }

  async #readable (): Promise<Level> {
    await this.#reopening
    if (this.#failure !== undefined && this.#db.status !== 'open') throw this.#failure
    return this.#db
  }

  /** A step of an iterator, which does not outlast the database it was made of. */
  async #on<T> (db: Level, step: Promise<T>): Promise<T> {
    try {
      return await step
    } catch (cause) {
      throw db.status === 'open' ? cause : new StoreFull('the key-value store was opened afresh, for its disk had been full', { cause })
    }
  }
}

/** `isThere`: a folder in which there is none any more is no empty one. */
async function opened (path: string, { isThere = false } = {}): Promise<Level> {
  const db = new ClassicLevel<Uint8Array, Uint8Array>(path, { keyEncoding: 'view', valueEncoding: 'view' })
  await db.open({ createIfMissing: !isThere }).catch((cause: unknown) => { throw isFull(cause) ? diskFull(cause) : unopened(path, cause) })
  return db
}

/** LevelDB could mend itself, by leaving out what it cannot read: on a disk that fails that would be lost for good. So it is left to who can look. */
function unopened (path: string, cause: unknown): Corrupt {
  const { message } = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause as Error
  return new Corrupt(`the index in ${path} does not open (${message}): check the disk; if the index is damaged, move its folder away and start again: the node goes on without what stood there alone, which the others have`, { cause })
}

async function demandRoom (path: string, failure: StoreFull): Promise<void> {
  const { bavail, bsize } = await statfs(path)
  if (bavail * bsize < roomBytes) throw failure
  // a quota is seen only in writing
  const probe = `${path}.room`
  try {
    await writeFile(probe, new Uint8Array(roomBytes))
  } catch (cause) {
    throw isFull(cause) ? failure : cause
  } finally {
    await rm(probe, { force: true })
  }
}

/** Gets of one turn go to LevelDB's thread together: the way there and back costs ten times the look-up. */
function gathered (getMany: (keys: Uint8Array[]) => Promise<Array<Uint8Array | undefined>>): KeyValue['get'] {
  let batch: { readonly keys: Uint8Array[], readonly values: Promise<Array<Uint8Array | undefined>> } | undefined
  return async (key) => {
    if (batch === undefined) {
      const keys: Uint8Array[] = []
      batch = { keys, values: Promise.resolve().then(async () => { batch = undefined; return await getMany(keys) }) }
    }
    const index = batch.keys.push(key) - 1
    return (await batch.values)[index]
  }
}

// the binding gives Buffers, whose slice() shares memory where a Uint8Array's copies
function plain<T extends Uint8Array | undefined> (bytes: T): T {
  return (bytes === undefined ? undefined : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as T
}

function optionsOf ({ from, to, reverse = false, limit = -1 }: KeyRange): { gte?: Uint8Array, lt?: Uint8Array, reverse: boolean, limit: number } {
  return { ...(from === undefined ? {} : { gte: from }), ...(to === undefined ? {} : { lt: to }), reverse, limit }
}

const diskFull = (cause: unknown): StoreFull => new StoreFull('the disk is full', { cause })

// the binding hands on LevelDB's text, which ends with what the system said
const isFull = (error: unknown): boolean => error instanceof Error && /no space left on device|disk quota exceeded/i.test(`${error.message} ${String(error.cause)}`)
