import { equals, hexOf } from '../base/bytes.ts'
import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Electorate, electorsOf } from './electorate.ts'
import type { TableNumber } from './index.ts'
import type { IndexEntry } from './listing-index.ts'
import type { ReplicaPage } from './merge-pages.ts'
import { getsOn, messageLimits, type PartitionDigest, type TableAnswer, type TableQuestion } from './messages.ts'

/**
 * A witness knows no names, but which rows it has, and under which ballots. So where those that list are no majority, witnesses vouch for one of them, partition by partition:
 *
 * 1. Digests of both are compared, or, where they differ, the ballots of their rows. A row that the witness has and the other has not is settled by an identity round, in which the other
 *    learns of it. So before the page is asked for, the one who lists has every row that the witness had when the listing had begun: what was acknowledged is in a majority, hence in one of them.
 * 2. Then the page is asked for, and
 * 3. the digest of who gave it once more. Where it is what it was, and was the witness's, both have the same ballots, and what the page says is chosen. Elsewhere each name is read.
 *
 * The other way round (page, then digests) a row that comes between the two is in both digests and not in the page.
 */
export interface WitnessPorts {
  readonly ask: (peer: PeerId, question: TableQuestion) => Promise<TableAnswer>
  /** An identity round: a majority agrees about the row. */
  readonly settle: (row: { readonly table: TableNumber, readonly rowKey: Uint8Array }) => Promise<void>
}

export interface Witnessing {
  /** Who gives the page that is vouched for. */
  readonly lister: PeerId
  readonly witnesses: readonly PeerId[]
  readonly table: TableNumber
  /** Of each partition. */
  readonly electorates: readonly Electorate[]
  /** Those in which witnesses are needed. */
  readonly partitions: readonly number[]
}

export const witnessLimits = {
  /** Questions under way at once to one peer. */
  atOnce: 4,
  /** Rows settled side by side. */
  settledAtOnce: 16,
  /** Looks at rows that one has and the other has not, before the listing gives up. */
  maxLooks: 4,
} as const

/** What a witness says of one partition before the page: undefined: every name of it is to be read. */
type Vouched = ReadonlyMap<number, PartitionDigest | undefined>

export class Vouching {
  readonly #ports: WitnessPorts
  readonly #of: Witnessing
  readonly #vouched = new Map<PeerId, Vouched>()

  constructor (ports: WitnessPorts, of: Witnessing) { this.#ports = ports; this.#of = of }

  /**
   * To be called before the page is asked for. Over as soon as those that have told are enough, of whom pages without names are shown: the others, who may have rows to tell of without end, vouch for nothing.
   * @throws Unavailable: rows could not be settled
   */
  async before (isEnough: (pages: readonly ReplicaPage[]) => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const failures: unknown[] = []
    let [open, isOver] = [this.#of.witnesses.length, false]
    const told = (): void => {
      open--
      isOver ||= isEnough([...this.#vouched].map(([peer, vouched]) => ({ peer, truncated: false, entries: [], lost: this.#lostOf(vouched) })))
      if (isOver || (open === 0 && failures.length === 0)) resolve()
      else if (open === 0) reject(failures[0])
    }
    for (const witness of this.#of.witnesses) {
      const shared = this.#of.partitions.filter((partition) => { const electors = electorsOf(this.#of.electorates[partition] as Electorate); return electors.includes(witness) && electors.includes(this.#of.lister) })
      this.#compare(witness, shared).then((vouched) => { if (!isOver) this.#vouched.set(witness, vouched) }, (error: unknown) => { failures.push(error) }).finally(told)
    }
    await promise
  }

  /** Pages as the witnesses would give them, if they knew names. */
  async pages (entries: readonly IndexEntry[], { truncated, partitionOf }: { readonly truncated: boolean, readonly partitionOf: (entry: IndexEntry) => number }): Promise<readonly ReplicaPage[]> {
    const asked = [...new Set(entries.map(partitionOf))].filter((partition) => [...this.#vouched.values()].some((vouched) => vouched.get(partition) !== undefined))
    const now = await this.#digestsOf(this.#of.lister, asked)
    return [...this.#vouched].map(([peer, vouched]) => ({
      peer, truncated, lost: this.#lostOf(vouched),
      entries: entries.filter((entry) => {
        const partition = partitionOf(entry)
        return isSame(vouched.get(partition), now.get(partition))
      }),
    }))
  }

  #lostOf (vouched: Vouched): ReadonlySet<number> { return new Set(this.#of.electorates.keys().filter((partition) => !vouched.has(partition))) }

  async #compare (witness: PeerId, partitions: readonly number[]): Promise<Vouched> {
    const vouched = new Map<number, PartitionDigest | undefined>()
    const [own, theirs] = await Promise.all([this.#digestsOf(this.#of.lister, partitions), this.#digestsOf(witness, partitions)])
    for (const partition of partitions) {
      const [here, there] = [own.get(partition), theirs.get(partition)]
      // lost at one of them: nothing is vouched for
      if (here === undefined || there === undefined) continue
      if (isSame(here, there)) { vouched.set(partition, here); continue }
      await this.#settleMissing(witness, partition)
      vouched.set(partition, undefined)
    }
    return vouched
  }

  /** Afterwards who lists has every row of the table that the witness had. */
  async #settleMissing (witness: PeerId, partition: number): Promise<void> {
    const { lister, table } = this.#of
    const theirs = await this.#rowsOf(witness, partition)
    for (let look = 0; look < witnessLimits.maxLooks; look++) {
      const own = await this.#rowsOf(lister, partition)
      const missing = [...theirs].filter(([name]) => !own.has(name)).map(([, rowKey]) => rowKey).values()
      let count = 0
      await Promise.all(Array.from({ length: witnessLimits.settledAtOnce }, async () => { for (const rowKey of missing) { count++; await this.#ports.settle({ table, rowKey }) } }))
      if (count === 0) return
    }
    throw new Unavailable('a row that a witness knows could not be brought to who lists')
  }

  /** Row keys of the table, by their names in hexadecimal. */
  async #rowsOf (peer: PeerId, partition: number): Promise<ReadonlyMap<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>()
    let told = 0
    for (let after: Uint8Array | undefined; ;) {
      const answer = await this.#ports.ask(peer, { kind: 'ballots', partition, after })
      if (answer.kind !== 'ballots' || !getsOn(answer, { after, told })) throw new Unavailable(`${peer} did not say which rows it has`)
      for (const { table, rowKey } of answer.rows) if (table === this.#of.table) found.set(hexOf(rowKey), rowKey)
      after = answer.rows.at(-1)?.rowKey
      told += answer.rows.length
      if (!answer.truncated) return found
    }
  }

  async #digestsOf (peer: PeerId, partitions: readonly number[]): Promise<ReadonlyMap<number, PartitionDigest | undefined>> {
    const found = new Map<number, PartitionDigest | undefined>()
    const pages = Array.from({ length: Math.ceil(partitions.length / messageLimits.maxDigests) }, (_, i) => partitions.slice(i * messageLimits.maxDigests, (i + 1) * messageLimits.maxDigests)).values()
    await Promise.all(Array.from({ length: witnessLimits.atOnce }, async () => {
      for (const page of pages) {
        const answer = await this.#ports.ask(peer, { kind: 'digest', partitions: page })
        if (answer.kind !== 'digests' || answer.digests.length !== page.length) throw new Unavailable(`${peer} did not say what it has`)
        for (const [i, partition] of page.entries()) found.set(partition, answer.digests[i])
      }
    }))
    return found
  }
}

const isSame = (a: PartitionDigest | undefined, b: PartitionDigest | undefined): boolean => a !== undefined && b !== undefined && a.count === b.count && equals(a.digest, b.digest)
