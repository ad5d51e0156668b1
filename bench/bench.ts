import type { Report } from './report.ts'

/** What every section is given. */
export interface Bench {
  /** Of the large file. */
  readonly sizeBytes: number
  readonly rounds: number
  /** Small objects put and got with 32 in flight. */
  readonly count: number
  /** Objects in the bucket of the member that has many. */
  readonly objects: number
  /** Objects of the long list. */
  readonly listed: number
  readonly report: Report
  /** For files; gone when the bench ends. */
  readonly folder: string
  /** Seconds that one byte took, as sections measured it: what sealing is a share of. */
  readonly secondsPerByte: { put?: number, get?: number }
}
