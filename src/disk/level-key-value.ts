import { ClassicLevel } from 'classic-level'
import { StoreFull } from '../base/errors.ts'
import { type KeyRange, type KeyValue, SyncFailed } from './index.ts'

/** Entries fetched from LevelDB at once while iterating. */
const batchSize = 256
/** Above every key of ours. */
const beyond = new Uint8Array(64).fill(0xff)

/**
 * The key-value port over LevelDB (https://github.com/google/leveldb, Node binding classic-level) in a folder of its own. A write that failed may have torn
 * the log, and LevelDB would go on behind the tear, where its next start drops what it finds, synced or not: so nothing is written after it.
 */
export async function levelKeyValue (path: string): Promise<KeyValue> {
  const db = new ClassicLevel<Uint8Array, Uint8Array>(path, { keyEncoding: 'view', valueEncoding: 'view' })
  await db.open().catch((cause: unknown) => { throw isFull(cause) ? diskFull(cause) : cause })
  let failure: KeyValue['failure']
  return {
    get failure () { return failure },
    get: gathered(async (keys) => (await db.getMany(keys)).map(plain)),
    getMany: async (keys) => (await db.getMany([...keys])).map(plain),
    async batch (changes, { sync }) {
      if (failure !== undefined) throw failure
      const operations = changes.map((change) => change.type === 'put' ? change : { type: 'del' as const, key: change.key })
      // the compaction of no key at all writes what the logs hold to tables, synced; when that fails, so does the batch, or no log was closed and its sync covers all
      if (sync === 'all') await db.compactRange(beyond, beyond)
      await db.batch(operations, { sync: sync !== false }).catch((cause: unknown) => { throw failure ??= isFull(cause) ? diskFull(cause) : new SyncFailed('the key-value store took no write', { cause }) })
    },
    async * entries (range) {
      const iterator = db.iterator(optionsOf(range))
      try {
        for (let entries = await iterator.nextv(batchSize); entries.length > 0; entries = await iterator.nextv(batchSize)) yield * entries.map(([key, value]) => [plain(key), plain(value)] as const)
      } finally {
        await iterator.close()
      }
    },
    async * keys (range) {
      const iterator = db.keys(optionsOf(range))
      try {
        for (let keys = await iterator.nextv(batchSize); keys.length > 0; keys = await iterator.nextv(batchSize)) yield * keys.map(plain)
      } finally {
        await iterator.close()
      }
    },
    [Symbol.asyncDispose]: async () => { await db.close() },
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
