import { compareBytes } from '../base/bytes.ts'
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
  /** Sealed tombstones of one partition that every replica holds, under these ballots: each drops them, and raises its floor. */
  | { readonly kind: 'bury', readonly partition: number, readonly rows: readonly RowBallot[] }
  /** Proofs of death, 32 bytes each, of versions whose partitions this replica has: it keeps them. */
  | { readonly kind: 'publish', readonly proofs: readonly Uint8Array[] }
  /** Which of these versions are dead, as far as this replica knows. Not knowing means nothing. */
  | { readonly kind: 'deaths', readonly versionIds: readonly Uint8Array[] }
  /** What this voter's wall clock says: for what a date deletes (agreed-date.ts). */
  | { readonly kind: 'clock' }

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
  | ({ readonly kind: 'progress' } & VoterProgress)
  /** `floor`: of the partition, as it is after the rows were looked for: what was buried until then, and so is not among them, is below it. */
  | { readonly kind: 'ballots', readonly rows: readonly RowBallot[], readonly truncated: boolean, readonly floor?: Ballot | undefined }
  /** In the order asked; on disk. False: something else is held or promised here. */
  | { readonly kind: 'buried', readonly buried: readonly boolean[] }
  /** In the order asked; true: on disk. False: the partition is lost here, or another's. */
  | { readonly kind: 'published', readonly published: readonly boolean[] }
  /** In the order asked: the proof, or undefined: none is known here. */
  | { readonly kind: 'deaths', readonly proofs: ReadonlyArray<Uint8Array | undefined> }
  | { readonly kind: 'clock', readonly wallMs: number }
  /** The asker's layout is older than one this replica has promised to go by. */
  | { readonly kind: 'staleLayout', readonly layout: Uint8Array }
  /** The partition is not proven whole here: neither an answer nor a vote. */
  | { readonly kind: 'lost' }

export type RowAnswer =
  /**
   * Nothing below the asked ballot will be accepted; `accepted` is the record held until now. `floor`, here and below: of the row's partition, be the row
   * there or not: one that began anew looks like one that never was gone.
   */
  | { readonly kind: 'promised', readonly accepted: Uint8Array | undefined, readonly floor?: Ballot | undefined }
  /** On disk. */
  | { readonly kind: 'accepted' }
  /** `promised` undefined: this replica never heard of the row. */
  | { readonly kind: 'value', readonly promised: Ballot | undefined, readonly accepted: Uint8Array | undefined, readonly floor?: Ballot | undefined }
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

/** `floor`: as it is after the rows were summed up. */
export interface PartitionDigest { readonly count: number, readonly digest: Uint8Array, readonly floor?: Ballot | undefined }
export interface RowBallot { readonly table: TableNumber, readonly rowKey: Uint8Array, readonly ballot: Ballot }

export const messageLimits = {
  maxDigests: 64,
  maxBallots: 512,
  /** Rows of a partition that are heard of from one peer: 536 million in all. */
  maxRowsOfPartition: 2 ** 17,
  /** As many members as two layouts have. */
  maxAway: 256,
  /** Tombstones in a question to bury them. */
  maxBuried: 128,
  /** Deaths in a question. */
  maxDeaths: 512,
  /** A page is cut here and says so; one entry more may follow, so that a page always gets on. */
  maxPageBytes: 1024 * 1024,
  /** A layout of 100 nodes over 4,096 partitions, twice while it changes. */
  maxLayoutBytes: 1024 * 1024,
  maxRequestBytes: 72 * 1024,
  maxAnswerBytes: 2 * 1024 * 1024,
} as const

type BallotPage = Pick<Extract<TableAnswer, { kind: 'ballots' }>, 'truncated' | 'rows'>

/** Whether a page of a peer's rows gets on behind `after`, and it has not told of more than there can be: what a peer tells must come to an end. `told`: rows so far. */
export function getsOn ({ truncated, rows }: BallotPage, { after, told }: { readonly after: Uint8Array | undefined, readonly told: number }): boolean {
  const last = rows.at(-1)?.rowKey
  return !truncated || (last !== undefined && (after === undefined || compareBytes(last, after) > 0) && told <= messageLimits.maxRowsOfPartition)
}
