import { partitionOf } from '../base/bytes.ts'
import { PartitionLost, rowLimits, type StoredRow } from './index.ts'

/** Saves of many callers share a frame of the journal, and with it an fdatasync. */
export interface WaitingSave {
  readonly rows: readonly StoredRow[]
  readonly isInPlace: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** What is done by itself, when all before it is done. */
export interface WaitingWork {
  readonly work: () => Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export const rowGroupLimits = {
  maxRows: 1024,
  /** Bytes of records; half of what a frame may have. */
  maxBytes: 8 * 1024 * 1024,
} as const

/** Takes the saves of the next frame off the queue, up to the first that is none. One whose partition was lost while it waited is refused, alone. */
export function takeGroup (waiting: Array<WaitingSave | WaitingWork>, lostPartitions: ReadonlySet<number>): WaitingSave[] {
  const group: WaitingSave[] = []
  let [rows, bytes] = [0, 0]
  for (let save = waiting[0]; save !== undefined && 'rows' in save; save = waiting[0]) {
    rows += save.rows.length
    bytes += bytesOf(save.rows)
    if (group.length > 0 && (rows > rowGroupLimits.maxRows || bytes > rowGroupLimits.maxBytes)) return group
    waiting.shift()
    const lost = save.rows.find(({ rowKey }) => lostPartitions.has(partitionOf(rowKey)))
    if (lost === undefined) group.push(save)
    else save.reject(new PartitionLost(partitionOf(lost.rowKey)))
  }
  return group
}

/** One group, unless it is more than a frame takes. */
export function groupsOf (rows: readonly StoredRow[]): ReadonlyArray<readonly StoredRow[]> {
  const each = rowGroupLimits.maxBytes / rowLimits.maxRecordBytes
  if (rows.length <= each) return [rows]
  return Array.from({ length: Math.ceil(rows.length / each) }, (_, i) => rows.slice(i * each, (i + 1) * each))
}

/** What could not be read back must not be written. @throws RangeError */
export function demandStorable ({ rowKey, accepted }: StoredRow): void {
  if (rowKey.byteLength !== 32) throw new RangeError(`a row key of ${rowKey.byteLength} bytes`)
  if (accepted !== undefined && (accepted.byteLength === 0 || accepted.byteLength > rowLimits.maxRecordBytes)) throw new RangeError(`a record of ${accepted.byteLength} bytes`)
}

const bytesOf = (rows: readonly StoredRow[]): number => rows.reduce((sum, { accepted }) => sum + (accepted?.byteLength ?? 0), 0)
