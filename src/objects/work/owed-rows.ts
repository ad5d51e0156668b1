import { hexOf, utf8 } from '../../base/bytes.ts'
import { type OpenedRow, type RowAddress, tables } from '../../tables/index.ts'
import { decodeObjectRow, type ObjectRow } from '../object-row.ts'

export const owedRowsLimits = {
  /** Rows that owe something and are remembered; with more of them all rows are walked again. */
  maxRows: 100_000,
} as const

/**
 * Which rows of objects this replica has that owe something: the deaths of versions, or the end of uploads. As exact as its disk: told in a pass over all rows, and
 * from then on of each row that is saved. To open a million rows every ten minutes, for the few that are meant, would take a core a minute or two (bench/README.md).
 * What was found here is looked at again before anything is done, so a row too many costs a look; one too few is what must not be, and then it is not `isWhole`.
 */
export class OwedRows {
  readonly #rows = new Map<string, RowAddress>()
  readonly #maxRows: number
  #isWhole = false
  #isPassing = false
  /** Nothing was left out since the last pass began. */
  #hasAll = false

  constructor ({ maxRows = owedRowsLimits.maxRows }: { maxRows?: number } = {}) { this.#maxRows = maxRows }

  /** Every row that owes something is here. */
  get isWhole (): boolean { return this.#isWhole }
  /** A pass over all rows is under way. */
  get isPassing (): boolean { return this.#isPassing }

  /** A pass over all rows that this replica has begins: each is shown to `found`. */
  beginPass (): void { this.#hasAll = this.#isPassing = true }

  endPass (): void {
    this.#isPassing = false
    this.#isWhole = this.#hasAll
  }

  /** A row as it was a moment ago: it may have been saved again since. */
  found (row: ObjectRow): void {
    if (owes(row)) this.#add(addressOf(row))
  }

  /** The same, of any row. */
  foundIn ({ table, value }: Pick<OpenedRow, 'table' | 'value'>): void {
    if (table === tables.objects && value !== undefined) this.found(decodeObjectRow(value))
  }

  /** A row as it is on the disk now, told in the order of its saves. Gives it, if it is there and an object's. */
  saved ({ table, value, erased }: Omit<OpenedRow, 'rowKey'>): ObjectRow | undefined {
    if (table !== tables.objects) return undefined
    const row = value === undefined ? undefined : decodeObjectRow(value)
    if (row !== undefined && owes(row)) this.#add(addressOf(row))
    else if (row !== undefined) this.#rows.delete(nameOf(addressOf(row)))
    else if (erased !== undefined) this.#rows.delete(nameOf({ table, ...erased }))
    return row
  }

  all (): readonly RowAddress[] { return [...this.#rows.values()] }

  /** The row of an address that `all` gave owes nothing; unless it was saved since. */
  settled (address: RowAddress): void {
    const name = nameOf(address)
    if (this.#rows.get(name) === address) this.#rows.delete(name)
  }

  #add (address: RowAddress): void {
    const name = nameOf(address)
    if (this.#rows.size < this.#maxRows || this.#rows.has(name)) this.#rows.set(name, address)
    else this.#isWhole = this.#hasAll = false
  }
}

export const addressOf = ({ bucketId, key }: Pick<ObjectRow, 'bucketId' | 'key'>): RowAddress => ({ table: tables.objects, scope: bucketId, key: utf8(key) })
export const nameOf = ({ scope, key }: RowAddress): string => `${hexOf(scope)} ${hexOf(key)}`

const owes = ({ dropped, pending }: ObjectRow): boolean => dropped.length > 0 || pending.length > 0
