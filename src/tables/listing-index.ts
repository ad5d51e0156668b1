import { type Ballot, rowLimits, type TableNumber } from './index.ts'

/**
 * Names of the rows that this replica has accepted, in byte order, so that a page of a listing costs a range and not a scan.
 * It follows the row store: a row is saved first, then shown to `update`, then answered. What a crash left between the two is the opener's to find:
 * an index that is not proven to match the store is rebuilt by showing every row to `update`, before the first `page`.
 */
export interface ListingIndex {
  /** Takes the place of whatever was kept for these rows, unless that has a later ballot. Seen by every `page` that starts after it resolves; need not be durable. */
  update (rows: readonly IndexedRow[]): Promise<void>
  /** Keeps nothing more of these rows, which are buried: unless a name stands for another row by now, or a later ballot. */
  forget (rows: ReadonlyArray<{ readonly table: TableNumber, readonly rowKey: Uint8Array, readonly ballot: Ballot, readonly name: Uint8Array, readonly scope: Uint8Array }>): Promise<void>
  /** Names of one table and scope that start with `prefix` and stand above `after` (exclusive), at most `limit`, in byte order. */
  page (request: IndexPageRequest): Promise<IndexPage>
  /** Scopes of a table of which names are kept, those of tombstones too. */
  scopes (table: TableNumber): Promise<readonly Uint8Array[]>
}

/**
 * A row as accepted. `listed` undefined: of a kind that is in no listing; nothing is kept of it. `summary` undefined: a tombstone, or a value that is not
 * shown now. Such a name is kept, with its ballot, and given in pages like any other: a delete that only this replica accepted hides a row that a
 * majority may still hold, and only the differing ballot tells.
 */
export interface IndexedRow {
  readonly table: TableNumber
  /** 32 bytes; names the row over its whole life. */
  readonly rowKey: Uint8Array
  readonly ballot: Ballot
  readonly listed: { readonly name: Uint8Array, readonly scope: Uint8Array, readonly summary: Uint8Array | undefined } | undefined
}

export interface IndexPageRequest {
  readonly table: TableNumber
  /** 16 bytes. */
  readonly scope: Uint8Array
  readonly prefix: Uint8Array
  readonly after: Uint8Array | undefined
  /** 1 to `listingIndexLimits.maxPageEntries`. */
  readonly limit: number
}

export interface IndexEntry {
  readonly name: Uint8Array
  readonly rowKey: Uint8Array
  /** Of the accepted record; equal ballots on a majority mean the same record. */
  readonly ballot: Ballot
  /** Undefined: known, not shown. */
  readonly summary: Uint8Array | undefined
}

export interface IndexPage {
  readonly entries: readonly IndexEntry[]
  /** There is, or may be, more above the last entry. A page without entries is never truncated. */
  readonly truncated: boolean
}

export const listingIndexLimits = {
  /** A page of a listing has at most 1,000 names; a replica gives one more, so that the last page is known as such. */
  maxPageEntries: 1001,
  /** What a listing shows of an object: size, etag, dates, metadata, not its chunks; of an access key all but its secret. It is never longer than its row: one that could not be told would keep all the others from being listed. */
  maxSummaryBytes: rowLimits.maxRecordBytes,
} as const
