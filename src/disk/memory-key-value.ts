import { compareBytes, equals, hexOf } from '../base/bytes.ts'
import { StoreFull } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type KeyRange, type KeyValue, type KeyValueChange, SyncFailed } from './index.ts'

/**
 * The key-value port in memory. After a crash it has of its log all up to the last synced batch and, of what followed, a beginning: as LevelDB recovers it.
 * There may have been two logs: LevelDB begins another when one is full, and closes the full one without a sync.
 */
export interface MemoryKeyValue extends KeyValue {
  crash (random: Random): MemoryKeyValue
  /** The next batch fails, or as many as said (0: none any more): the disk is full, or says that it could not write or sync. Or the next look does, with EIO. */
  fail (kind: 'write' | 'write error' | 'sync' | 'read', times?: number): void
  /** Changes a record as a failing disk would, without a batch. */
  damage (key: Uint8Array, value: Uint8Array | undefined): void
  /** Any of those that are there. */
  record (random: Random): Entry | undefined
}

export type Entry = readonly [Uint8Array, Uint8Array]

export function memoryKeyValue (initial: Iterable<Entry> = []): MemoryKeyValue {
  let entries = new Map<string, Entry>([...initial].map((entry) => [hexOf(entry[0]), entry]))
  const settled = new Map(entries)
  let logged: Array<{ readonly changes: readonly KeyValueChange[], isSynced: boolean }> = []
  let failing: Parameters<MemoryKeyValue['fail']>[0] | undefined
  let timesFailing = 0
  let failure: KeyValue['failure']
  const trip = (...kinds: Array<typeof failing>): void => {
    if (failing === undefined || !kinds.includes(failing)) return
    failure = failing === 'write' ? new StoreFull('the disk is full') : new SyncFailed('fsync failed: EIO')
    if (--timesFailing === 0) failing = undefined
    throw failure
  }
  /** As LevelDB does it when a full disk has room again; here what was not synced is gone then. */
  const reopen = (): void => {
    for (const { changes } of logged.slice(0, logged.findLastIndex(({ isSynced }) => isSynced) + 1)) apply(settled, changes)
    logged = []
    entries = new Map(settled)
    failure = undefined
  }
  const found = (): ReadonlyMap<string, Entry> => {
    if (failing !== 'read') return entries
    failing = undefined
    throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
  }
  return {
    get failure () { return failure },
    get: async (key) => found().get(hexOf(key))?.[1],
    getMany: async (keys) => keys.map((key) => found().get(hexOf(key))?.[1]),
    async batch (changes, { sync }) {
      if (failure instanceof SyncFailed) throw failure
      trip('write', 'write error')
      if (failure !== undefined) reopen()
      apply(entries, changes)
      const batch = { changes, isSynced: false }
      logged.push(batch)
      if (sync === false) return
      trip('sync')
      batch.isSynced = true
      if (sync === true) return
      for (const { changes: earlier } of logged) apply(settled, earlier)
      logged = []
    },
    async * entries (range) { yield * within(found(), range) },
    async * keys (range) { for (const [key] of within(found(), range)) yield key },
    // who goes on with it opens it afresh
    [Symbol.asyncDispose]: async () => { failure = undefined },
    crash (random) {
      const survived = new Map(settled)
      const rotation = Math.floor(random.fraction() * (logged.length + 1))
      for (const log of [logged.slice(0, rotation), logged.slice(rotation)]) {
        const certain = log.findLastIndex(({ isSynced }) => isSynced) + 1
        const kept = certain + Math.floor(random.fraction() * (log.length - certain + 1))
        for (const { changes } of log.slice(0, kept)) apply(survived, changes)
      }
      return memoryKeyValue(survived.values())
    },
    fail: (kind, times = 1) => { failing = times === 0 ? undefined : kind; timesFailing = times },
    record: (random) => [...entries.values()][Math.floor(random.fraction() * entries.size)],
    damage: (key, value) => {
      logged = logged.map((batch) => ({ ...batch, changes: batch.changes.filter((change) => !equals(change.key, key)) }))
      for (const map of [entries, settled]) {
        if (value === undefined) map.delete(hexOf(key))
        else map.set(hexOf(key), [key, value])
      }
    },
  }
}

function apply (to: Map<string, Entry>, changes: readonly KeyValueChange[]): void {
  for (const change of changes) {
    if (change.type === 'put') to.set(hexOf(change.key), [change.key.slice(), change.value.slice()])
    else to.delete(hexOf(change.key))
  }
}

function within (entries: ReadonlyMap<string, Entry>, { from, to, reverse = false, limit = Infinity }: KeyRange): Entry[] {
  const found = [...entries.values()].filter(([key]) => (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0))
    .toSorted((a, b) => compareBytes(a[0], b[0]))
  return (reverse ? found.toReversed() : found).slice(0, limit)
}
