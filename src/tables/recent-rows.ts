import { hexOf, partitionOf } from '../base/bytes.ts'
import type { StoredRow } from './index.ts'

export const recentRowsLimits = {
  /** Rows and their records. More than twice a group of saves, so that a row is not let go before the index has it; as much again may lie opened beside them. */
  maxBytes: 20 * 1024 * 1024,
  /** A row without a record is an object of some hundred bytes. */
  bytesEach: 512,
} as const

/** The rows saved last, oldest out first. */
export class RecentRows {
  readonly #rows = new Map<string, StoredRow>()
  #bytes = 0

  get ({ table, rowKey }: Pick<StoredRow, 'table' | 'rowKey'>): StoredRow | undefined { return this.#rows.get(nameOf({ table, rowKey })) }

  values (): Iterable<StoredRow> { return this.#rows.values() }

  set (row: StoredRow): void {
    this.#drop(nameOf(row))
    this.#rows.set(nameOf(row), row)
    this.#bytes += sizeOf(row)
    for (const name of this.#rows.keys()) {
      if (this.#bytes <= recentRowsLimits.maxBytes) break
      this.#drop(name)
    }
  }

  delete (row: Pick<StoredRow, 'table' | 'rowKey'>): void { this.#drop(nameOf(row)) }

  /** Those of a partition, or those among them that are meant. */
  forget (partition: number, isMeant: (row: StoredRow) => boolean = () => true): void {
    for (const [name, row] of this.#rows) if (partitionOf(row.rowKey) === partition && isMeant(row)) this.#drop(name)
  }

  clear (): void {
    this.#rows.clear()
    this.#bytes = 0
  }

  #drop (name: string): void {
    const row = this.#rows.get(name)
    if (row === undefined) return
    this.#bytes -= sizeOf(row)
    this.#rows.delete(name)
  }
}

const sizeOf = ({ accepted }: StoredRow): number => recentRowsLimits.bytesEach + (accepted?.byteLength ?? 0)

/** Tells rows apart. */
export const nameOf = ({ table, rowKey }: Pick<StoredRow, 'table' | 'rowKey'>): string => `${table} ${hexOf(rowKey)}`
