import { compareBytes, empty, fromHex, hexOf } from '../base/bytes.ts'
import { isSameBallot } from './ballot.ts'
import type { IndexedRow, IndexEntry, IndexPage, IndexPageRequest, ListingIndex } from './listing-index.ts'
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
  readonly #runs: IndexEntry[][] = [[]]

  set (entry: IndexEntry): void {
    const at = this.#runOf(entry.name)
    const run = this.#runs[at] as IndexEntry[]
    const position = lowerBound(run, entry.name)
    const found = run[position]
    if (found !== undefined && compareBytes(found.name, entry.name) === 0) run[position] = entry
    else run.splice(position, 0, entry)
    if (run.length > memoryIndexLimits.runLength) this.#runs.splice(at + 1, 0, run.splice(run.length / 2))
  }

  get isEmpty (): boolean { return this.#runs.every((run) => run.length === 0) }

  /** If it stands for that row still, under that ballot. */
  delete ({ name, rowKey, ballot }: Pick<IndexEntry, 'name' | 'rowKey' | 'ballot'>): void {
    const at = this.#runOf(name)
    const run = this.#runs[at] as IndexEntry[]
    const position = lowerBound(run, name)
    const found = run[position]
    if (found === undefined || compareBytes(found.name, name) !== 0 || compareBytes(found.rowKey, rowKey) !== 0 || !isSameBallot(found.ballot, ballot)) return
    run.splice(position, 1)
    if (run.length === 0 && this.#runs.length > 1) this.#runs.splice(at, 1)
  }

  page ({ prefix, after, limit }: IndexPageRequest): IndexPage {
    const from = after !== undefined && compareBytes(after, prefix) > 0 ? after : prefix
    const entries: IndexEntry[] = []
    for (let at = this.#runOf(from); at < this.#runs.length; at++) {
      const run = this.#runs[at] as IndexEntry[]
      for (let i = lowerBound(run, from); i < run.length; i++) {
        const entry = run[i] as IndexEntry
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
      const first = this.#runs[middle]?.[0]
      if (first !== undefined && compareBytes(first.name, name) <= 0) low = middle
      else high = middle - 1
    }
    return low
  }
}

function lowerBound (run: readonly IndexEntry[], name: Uint8Array): number {
  let [low, high] = [0, run.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareBytes((run[middle] as IndexEntry).name, name) < 0) low = middle + 1
    else high = middle
  }
  return low
}
