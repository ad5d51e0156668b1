import type { Ballot, TableNumber } from './index.ts'
import type { IndexEntry } from './listing-index.ts'

/** What is asked of a replica. Every request names the layout version that the asker goes by. */
export type TableRequest = { readonly version: bigint } & TableQuestion

export type TableQuestion =
  | RowQuestion
  /** Names of one scope; answered from the listing index. */
  | { readonly kind: 'list', readonly table: TableNumber, readonly scope: Uint8Array, readonly prefix: Uint8Array, readonly after: Uint8Array | undefined, readonly limit: number }
  /** Digests of up to `maxDigests` partitions; `clearPartition` is one. */
  | { readonly kind: 'digest', readonly partitions: readonly number[] }
  /** Which ballots stand in one partition, in order of row key, after `after`. */
  | { readonly kind: 'ballots', readonly partition: number, readonly after: Uint8Array | undefined }
  /** How far a voter is with the layout of this version, and whom it misses. */
  | { readonly kind: 'progress' }

export type RowQuestion =
  | { readonly kind: 'prepare', readonly table: TableNumber, readonly rowKey: Uint8Array, readonly ballot: Ballot }
  /** The record carries its ballot. */
  | { readonly kind: 'accept', readonly table: TableNumber, readonly rowKey: Uint8Array, readonly record: Uint8Array }
  /** An accept that got lost, delivered late and by anyone, unchanged. */
  | { readonly kind: 'handOver', readonly table: TableNumber, readonly rowKey: Uint8Array, readonly record: Uint8Array }
  | { readonly kind: 'read', readonly table: TableNumber, readonly rowKey: Uint8Array }

export type TableAnswer =
  | RowAnswer
  | { readonly kind: 'page', readonly entries: readonly IndexEntry[], readonly truncated: boolean, readonly lost: readonly number[] }
  /** In the order asked; undefined: that partition is lost. */
  | { readonly kind: 'digests', readonly digests: ReadonlyArray<PartitionDigest | undefined> }
  | { readonly kind: 'ballots', readonly rows: readonly RowBallot[], readonly truncated: boolean }
  | ({ readonly kind: 'progress' } & VoterProgress)
  /** The asker's layout is older than one this replica has promised to go by. */
  | { readonly kind: 'staleLayout', readonly layout: Uint8Array }
  /** The partition is not proven whole here: neither an answer nor a vote. */
  | { readonly kind: 'lost' }

export type RowAnswer =
  /** Nothing below the asked ballot will be accepted; `accepted` is the record held until now. */
  | { readonly kind: 'promised', readonly accepted: Uint8Array | undefined }
  /** On disk. */
  | { readonly kind: 'accepted' }
  /** `promised` undefined: this replica never heard of the row. */
  | { readonly kind: 'value', readonly promised: Ballot | undefined, readonly accepted: Uint8Array | undefined }
  /** A higher ballot, or an equal one for prepare, was promised. */
  | { readonly kind: 'refused', readonly promised: Ballot }

export interface VoterProgress {
  /** Partitions that it has not taken over yet. */
  readonly remaining: number
  /** Partitions whose memory it has lost, and that come back with a later version of the layout. */
  readonly lost: number
  /** Members of the layout that it cannot reach, and for how long. */
  readonly away: ReadonlyArray<{ readonly peer: Uint8Array, readonly seconds: number }>
}

export interface PartitionDigest { readonly count: number, readonly digest: Uint8Array }
export interface RowBallot { readonly table: TableNumber, readonly rowKey: Uint8Array, readonly ballot: Ballot }

export const messageLimits = {
  maxDigests: 64,
  maxBallots: 512,
  /** As many members as two layouts have. */
  maxAway: 256,
  /** A page is cut here and says so; one entry more may follow, so that a page always gets on. */
  maxPageBytes: 1024 * 1024,
  /** A layout of 100 nodes over 4,096 partitions, twice while it changes. */
  maxLayoutBytes: 1024 * 1024,
  maxRequestBytes: 72 * 1024,
  maxAnswerBytes: 2 * 1024 * 1024,
} as const
