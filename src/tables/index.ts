import type { PeerId } from '../base/peer-id.ts'
import type { Electorate } from './electorate.ts'

export { PartitionLost } from './partition-lost.ts'

/** Table numbers, as they stand in row headers and keys. From 16 on the rows are clear (signed, not sealed): every voter reads them. */
export const tables = { objects: 1, buckets: 2, accessKeys: 3, uploads: 4, versions: 5, deaths: 8, shares: 9, members: 16, invites: 17, layout: 18, era: 19 } as const
export type TableNumber = typeof tables[keyof typeof tables]
export const isClear = (table: TableNumber): boolean => table >= 16
/** Rows that any voter can check without a key: clear ones by their signature, deaths by their hash (deaths.ts). The others are sealed. */
export const isSelfProving = (table: TableNumber): boolean => isClear(table) || table === tables.deaths

/** Where a row stands. `scope` is a bucket id (16 bytes) or zeros; `key` is at most 2,112 bytes. */
export interface RowAddress {
  readonly table: TableNumber
  readonly scope: Uint8Array
  readonly key: Uint8Array
}

/** Orders proposals: by counter, then by the proposer's key. On the wire and on disk u64 counter | 32-byte Ed25519 key. */
export interface Ballot {
  readonly counter: bigint
  /** The proposer's Ed25519 public key, 32 bytes. */
  readonly proposer: Uint8Array
}

/** What a row says, once opened. */
export interface RowContent {
  /** Previous + 1 for every change of content; a re-proposal keeps it. */
  readonly revision: bigint
  /** Deleted: there is no value; `body` still carries the ids of those who deleted it and the row's scope and key. The row stays until floors allow it to go. */
  readonly isTombstone: boolean
  /** The engine's envelope (operation ids) around the user's value. */
  readonly body: Uint8Array
}

/**
 * Turns content into accepted records and back; sealed tables by encryption/, clear ones by signature. A *record* is the whole accepted value as it
 * travels and lies on disk: `ballot | E | vtag | row` or the clear row, at most `maxRecordBytes`.
 */
export interface RowCodec {
  /** The 32-byte row key: secret-keyed for sealed tables, a plain hash for clear ones. Its first 12 bits are the partition. */
  rowKeyOf (address: RowAddress): Uint8Array
  encode (row: { table: TableNumber, rowKey: Uint8Array, content: RowContent, ballot: Ballot }): Uint8Array
  /** Opens and checks everything: row key asked for, vote tag or signature. @throws Corrupt: such an answer counts as none */
  decode (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): RowContent
  /** The same row under another ballot (new vote tag or signature). */
  reproposed (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array, ballot: Ballot }): Uint8Array
  /** Checks what a voter checks before it stores. A node without keys checks what it can. @throws Corrupt */
  verify (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): void
  /** A verified record as a voter stores it: a member brings an older vote tag up to the epoch of now, ballot and row unchanged. @throws Corrupt for what this voter takes no more */
  stored (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): Uint8Array
  /** Whether a record says that its row is deleted; needs no key. @throws Corrupt */
  isTombstone (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): boolean
  /** The ballot in a record; needs no key. @throws MalformedBytes */
  ballotOf (table: TableNumber, record: Uint8Array): Ballot
  /** For what this node has stored itself, which was verified then: it opens though the floor has risen above its tag since, as it does where this node was away or did not decide. Default: this one. */
  readonly ofOwn?: Pick<RowCodec, 'decode' | 'ballotOf'>
}

/** What a replica has of a row, opened. `value` undefined: it is deleted, and was what `erased` says, where that is known. */
export interface OpenedRow {
  readonly table: TableNumber
  readonly rowKey: Uint8Array
  readonly value: Uint8Array | undefined
  readonly erased: { readonly scope: Uint8Array, readonly key: Uint8Array } | undefined
}

/** An acceptor's memory of one row. A row that was only ever promised is not the same as no row. */
export interface StoredRow {
  readonly table: TableNumber
  readonly rowKey: Uint8Array
  /** Refuses lower ballots. At least the accepted ballot. */
  readonly promised: Ballot
  readonly accepted: Uint8Array | undefined
}

export interface SaveOptions {
  /** Rows of which there is none any more when their turn comes, cleared or buried meanwhile, are left out: what is gone is not brought back. */
  readonly isInPlace?: boolean
}

/**
 * Where an acceptor remembers. Unreadable is never absent: a partition that cannot be proven whole is not answered for.
 * On disk: own journal first (one fdatasync for many), LevelDB as its index; in memory for the simulator.
 */
export interface RowStore extends AsyncDisposable {
  /** Random, 16 bytes, made with the store; a store that was lost, damaged or disowned gets a new one. */
  readonly storeId: Uint8Array
  /** @throws PartitionLost if the partition's memory is not proven whole */
  get (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined>
  /** All of them durable when it resolves; concurrent calls share one sync. @throws PartitionLost, StoreFull, StoreReadOnly */
  save (rows: readonly StoredRow[], options?: SaveOptions): Promise<void>
  /** Rows of one partition in order of row key, from `after` (exclusive). @throws PartitionLost */
  rows (partition: number, options?: { after?: Uint8Array }): AsyncIterable<StoredRow>
  /** Partitions whose memory was lost or changed: they neither answer nor vote until handed over afresh. */
  lostPartitions (): ReadonlySet<number>
  /**
   * This store has less than its peers saw of it: a copy was put back, or its disk forgot. It becomes another store, with a new id and all partitions lost:
   * from the call on it neither answers nor votes; on disk when it resolves.
   */
  disown (reason: string): Promise<void>
  /**
   * Forgets rows and floor of each partition, durably, with few syncs however many there are: as if this store had never had them. Of a partition that is whole the sealed rows, for a node that enters
   * it anew; the clear rows stand there too but belong to all voters, and stay. Of a lost one everything, damaged records too; it stays lost until `restore`.
   * Whoever calls it has been no replica of the partition since the rows were written, or has told that its memory is lost: what was promised is forgotten.
   * Memory is bounded, however many rows there are. @throws StoreFull, StoreReadOnly
   */
  clear (...partitions: readonly number[]): Promise<void>
  /** Saves rows into lost partitions, durably, without bringing those into service. @throws RangeError if a partition is not lost; StoreFull, StoreReadOnly */
  fill (rows: readonly StoredRow[]): Promise<void>
  /** Takes lost partitions back into service, over restarts too, with what they have been filled with and what of their own is still intact. */
  restore (...partitions: readonly number[]): Promise<void>
  /**
   * Each sealed row of the partition, or, of `clearPartition`, each clear row, counts as promised at this ballot: one that is absent may have been promised so much, and be buried; any, by others from
   * whom this store has taken the partition over. Undefined: none ever was.
   */
  floor (partition: number): Ballot | undefined
  /**
   * Durable when it resolves, with one sync however many there are; lower than it is: nothing happens. What comes below it is refused and costs a
   * round: a hand-over raises the floor last, when it has taken the rows. Works on lost partitions.
   */
  raiseFloor (...floors: ReadonlyArray<readonly [partition: number, floor: Ballot]>): Promise<void>
  /**
   * Deletes sealed rows and raises the floors of their partitions to every ballot that they promised or accepted, in one step: durable when it resolves.
   * `ballot` is what was accepted, and counts for the floor though the row be gone already. Only for tombstones that every replica holds (burial.ts).
   */
  bury (rows: ReadonlyArray<Pick<StoredRow, 'table' | 'rowKey'> & { readonly ballot: Ballot }>): Promise<void>
  /**
   * Why no save is taken; undefined: they are. After a full disk it ends by itself, with the next save or `recover`, when there is room; after anything else
   * with a new start.
   */
  readonly readOnlyReason: string | undefined
  /** Takes saves again if the disk that was full has room again. */
  recover (): Promise<void>
  /** Order-free digest and count of (table, row key, accepted ballot); equal on replicas that agree. Rows only promised do not count. */
  digest (partition: number): Promise<{ count: number, digest: Uint8Array }>
  /** No row of the partition has promised more here, but for those that are buried, of which the floor tells. Undefined: none has promised anything. @throws PartitionLost */
  promised (partition: number): Promise<Ballot | undefined>
  /** The highest journal position that is on disk; peers refuse to hear less from the same store id. */
  readonly position: bigint
  /** Ballot counters handed out, over restarts: reserves (durably) and returns a counter above `atLeast` and above every one returned before. */
  nextCounter (atLeast: bigint): Promise<bigint>
}

/** Who decides about a row now. Given by whoever knows the layout; asked afresh for every operation. */
export interface Voters {
  /** The version that table messages name. */
  readonly version: bigint
  /** Who decides about the rows of a partition of the sealed tables; of `clearPartition` about the clear ones. */
  electorate (partition: number): Electorate
  /** The electors of this row, in order of preference. */
  of (table: TableNumber, rowKey: Uint8Array): readonly PeerId[]
  ofPartition (partition: number): readonly PeerId[]
}

/** What a change function answers when shown the current value (undefined: no row, or a tombstone). May be asked several times. */
export type Change<T> =
  | { readonly kind: 'write', readonly value: Uint8Array, readonly result: T }
  | { readonly kind: 'erase', readonly result: T }
  /** Nothing to write, e.g. a failed condition. Answered only once the value that was seen is chosen. */
  | { readonly kind: 'keep', readonly result: T }

/** Linearizable rows with compare-and-set, by CASPaxos (Rystsov 2018, https://arxiv.org/abs/1802.07000). */
export interface Registers {
  /**
   * The value as of some moment after the call. With `from: 'reachable'` the freshest copy among those that answer, by name and without the promise.
   * @throws Unavailable without a majority, at once when too few are connected
   */
  read (address: RowAddress, options?: { signal?: AbortSignal, from?: 'majority' | 'reachable' }): Promise<Uint8Array | undefined>
  /**
   * Applies `change` atomically. `revision`: as long as it is the same nothing has been written in between, not even what would make the value equal again; 0 where
   * there is no row. @throws Unavailable (nothing happened), UnknownOutcome (it may have)
   */
  change<T> (address: RowAddress, change: (current: Uint8Array | undefined, revision: bigint) => Change<T>, options?: { signal?: AbortSignal }): Promise<T>
  /** Names in one scope in byte order, by a majority of every partition; see ListRequest. @throws Unavailable */
  list (request: ListRequest, options?: { signal?: AbortSignal }): Promise<ListPage>
}

export interface ListRequest {
  readonly table: TableNumber
  readonly scope: Uint8Array
  readonly prefix: Uint8Array
  /** Only names above this one. */
  readonly after?: Uint8Array
  /** Names that share what stands before the first delimiter after the prefix are rolled into one common prefix. */
  readonly delimiter?: Uint8Array
  /** 1 to 1,000; entries and common prefixes together. */
  readonly limit: number
}

export interface ListPage {
  readonly entries: ReadonlyArray<{ name: Uint8Array, summary: Uint8Array }>
  readonly prefixes: readonly Uint8Array[]
  /** Pass it as `after` for the next page; undefined: this was the last. */
  readonly next: Uint8Array | undefined
}

/**
 * What the listing index keeps of a row; given by objects/, which alone knows what a value means. `name` and `scope` are the row's key and scope.
 * `summary` undefined: not shown now (an upload not yet committed, a deleted object), but it must be named, or the listing cannot tell a delete that
 * was not chosen from a row that never was. Undefined: rows of this kind are in no listing.
 */
export type Describe = (table: TableNumber, value: Uint8Array) => { readonly name: Uint8Array, readonly scope: Uint8Array, readonly summary: Uint8Array | undefined } | undefined

export const rowLimits = {
  /** Inline objects are at most 4 KiB; chunk lists, metadata and versions share the rest. */
  maxRecordBytes: 64 * 1024,
  /** An object's key has half of it; a version's, and an upload's, has that with its zeros doubled, and where it stands among the others. */
  maxKeyBytes: 2112,
  keptOperations: 16,
} as const
