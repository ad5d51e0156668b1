import { compareBytes, empty, fromHex, hexOf } from '../base/bytes.ts'
import { compareBallots } from './ballot.ts'
import type { IndexedRow, IndexEntry, IndexPage, IndexPageRequest, ListingIndex } from './listing-index.ts'
import { PackedNames } from './packed-names.ts'
import { startsWith } from './roll-up.ts'

/**
 * The listing index in memory: names in byte order, in runs of a few hundred so that an insertion moves little. Rebuilt from rows at every start, so no name
 * ever stands on a disk in any form but sealed in its row; the price is memory and a pass over the rows (docs/LIMITS.md).
 */
export const memoryIndexLimits = { runLength: 512 } as const

export function memoryListingIndex (): ListingIndex {
  const scopes = new Map<string, SortedNames>()
  return {
    async update (rows) {
      for (const row of rows) indexed(row)
    },
    async forget (rows) {
      for (const { table, scope, ...row } of rows) scopes.get(scopeName(table, scope))?.delete(row)
    },
    async page (request) {
      return scopes.get(scopeName(request.table, request.scope))?.page(request) ?? { entries: [], truncated: false }
    },
    async scopes (table) {
      const prefix = scopeName(table, empty)
      return [...scopes].flatMap(([name, names]) => name.startsWith(prefix) && !names.isEmpty ? [fromHex(name.slice(prefix.length))] : [])
    },
  }

  function indexed ({ table, rowKey, ballot, listed }: IndexedRow): void {
    if (listed === undefined) return
    const scope = scopeName(table, listed.scope)
    let sorted = scopes.get(scope)
    if (sorted === undefined) scopes.set(scope, sorted = new SortedNames())
    sorted.set({ name: listed.name, rowKey, ballot, summary: listed.summary })
  }
}

const scopeName = (table: number, scope: Uint8Array): string => `${table} ${hexOf(scope)}`

class SortedNames {
  readonly #runs: PackedNames[] = [new PackedNames()]

  /** In the place of what stands there for the name, unless that is of a later ballot: rows are shown again while they are written. */
  set (entry: IndexEntry): void {
    const at = this.#runOf(entry.name)
    const run = this.#runs[at] as PackedNames
    const position = run.lowerBound(entry.name)
    const found = foundAt(run, position, entry.name)
    if (found === undefined) run.insert(position, entry)
    else if (compareBytes(found.rowKey, entry.rowKey) !== 0 || compareBallots(found.ballot, entry.ballot) <= 0) run.replace(position, entry)
    if (run.count > memoryIndexLimits.runLength) this.#runs.splice(at + 1, 0, run.split())
  }

  get isEmpty (): boolean { return this.#runs.every(({ count }) => count === 0) }

  /** If it stands for that row still, under that ballot. */
  delete ({ name, rowKey, ballot }: Pick<IndexEntry, 'name' | 'rowKey' | 'ballot'>): void {
    const at = this.#runOf(name)
    const run = this.#runs[at] as PackedNames
    const position = run.lowerBound(name)
    const found = foundAt(run, position, name)
    if (found === undefined || compareBytes(found.rowKey, rowKey) !== 0 || compareBallots(found.ballot, ballot) !== 0) return
    run.remove(position)
    if (run.count === 0 && this.#runs.length > 1) this.#runs.splice(at, 1)
  }

  page ({ prefix, after, limit }: IndexPageRequest): IndexPage {
    const from = after !== undefined && compareBytes(after, prefix) > 0 ? after : prefix
    const entries: IndexEntry[] = []
    for (let at = this.#runOf(from); at < this.#runs.length; at++) {
      const run = this.#runs[at] as PackedNames
      // one more than is wanted tells that there is more, and one for a name that stands at `after`
      for (const entry of run.entries(run.lowerBound(from), limit - entries.length + 2)) {
        if (after !== undefined && compareBytes(entry.name, after) <= 0) continue
        if (!startsWith(entry.name, prefix)) return { entries, truncated: false }
        if (entries.length === limit) return { entries, truncated: true }
        entries.push(entry)
      }
    }
    return { entries, truncated: false }
  }

  /** The last run that begins at or below the name. */
  #runOf (name: Uint8Array): number {
    let [low, high] = [0, this.#runs.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      const run = this.#runs[middle]
      if (run !== undefined && run.count > 0 && run.compareAt(0, name) <= 0) low = middle
      else high = middle - 1
    }
    return low
  }
}

const foundAt = (run: PackedNames, position: number, name: Uint8Array): IndexEntry | undefined =>
  position < run.count && run.compareAt(position, name) === 0 ? run.entry(position) : undefined
