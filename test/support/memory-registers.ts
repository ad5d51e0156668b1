import { hexOf } from '../../src/base/bytes.ts'
import { Unavailable } from '../../src/base/errors.ts'
import type { ListPage, ListRequest, Registers, RowAddress } from '../../src/tables/index.ts'

/** Rows in one map: linearizable because nothing runs between a read and its write. For tests of what stands on registers. */
export interface MemoryRegisters extends Registers {
  /** While true every call throws Unavailable, as without a majority. */
  isUnavailable: boolean
  /** Puts a row as if another node had written it. */
  put (address: RowAddress, value: Uint8Array): void
  /** As if another node had. */
  erase (address: RowAddress): void
  /** Row values of one table in order of key. */
  valuesOf (table: number): readonly Uint8Array[]
}

/** `isShown`: what listings leave out. */
export function memoryRegisters ({ isShown = () => true }: { isShown?: (address: RowAddress, value: Uint8Array) => boolean } = {}): MemoryRegisters {
  const rows = new Map<string, { address: RowAddress, value: Uint8Array }>()
  const revisions = new Map<string, bigint>()
  const changed = (name: string): void => { revisions.set(name, (revisions.get(name) ?? 0n) + 1n) }
  const nameOf = ({ table, scope, key }: RowAddress): string => `${table} ${hexOf(scope)} ${hexOf(key)}`
  const self: MemoryRegisters = {
    isUnavailable: false,
    put (address, value) { rows.set(nameOf(address), { address, value: value.slice() }); changed(nameOf(address)) },
    erase (address) { rows.delete(nameOf(address)); changed(nameOf(address)) },
    valuesOf: (table) => [...rows.values()].filter(({ address }) => address.table === table)
      .sort((a, b) => Buffer.compare(a.address.key, b.address.key)).map(({ value }) => value),
    async read (address, { signal } = {}) {
      await turn(signal)
      return rows.get(nameOf(address))?.value.slice()
    },
    async change (address, change, { signal } = {}) {
      await turn(signal)
      const decided = change(rows.get(nameOf(address))?.value.slice(), revisions.get(nameOf(address)) ?? 0n)
      if (decided.kind === 'write') self.put(address, decided.value)
      if (decided.kind === 'erase') self.erase(address)
      return decided.result
    },
    async list (request, { signal } = {}) {
      await turn(signal)
      return page([...rows.values()].filter(({ address, value }) => address.table === request.table && isShown(address, value)), request)
    },
  }
  const turn = async (signal?: AbortSignal): Promise<void> => {
    await Promise.resolve()
    signal?.throwIfAborted()
    if (self.isUnavailable) throw new Unavailable('no majority of the voters answers')
  }
  return self
}

// summaries are whole values: what a summary holds is the business of a Describe, which this fake has not
function page (rows: ReadonlyArray<{ address: RowAddress, value: Uint8Array }>, { table, scope, prefix, after, delimiter, limit }: ListRequest): ListPage {
  const found = rows.filter(({ address: { table: t, scope: s, key } }) => t === table && Buffer.compare(s, scope) === 0 && startsWith(key, prefix))
    .sort((a, b) => Buffer.compare(a.address.key, b.address.key))
  const entries: Array<{ name: Uint8Array, summary: Uint8Array }> = []
  const prefixes: Uint8Array[] = []
  let last: Uint8Array | undefined
  for (const { address: { key }, value } of found) {
    const cut = delimiter === undefined ? -1 : Buffer.from(key).indexOf(delimiter, prefix.byteLength)
    const name = cut < 0 ? key : key.slice(0, cut + (delimiter?.byteLength ?? 0))
    const isRolled = cut >= 0
    if (after !== undefined && (Buffer.compare(name, after) <= 0 || (isRolled && startsWith(after, name)))) continue
    if (isRolled && last !== undefined && Buffer.compare(last, name) === 0) continue
    if (entries.length + prefixes.length === limit) return { entries, prefixes, next: last }
    if (isRolled) prefixes.push(name)
    else entries.push({ name, summary: value.slice() })
    last = name
  }
  return { entries, prefixes, next: undefined }
}

const startsWith = (key: Uint8Array, prefix: Uint8Array): boolean => Buffer.compare(key.subarray(0, prefix.byteLength), prefix) === 0
