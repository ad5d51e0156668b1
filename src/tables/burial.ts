import { compareBytes, partitionCount } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import { compareBallots, isSameBallot } from './ballot.ts'
import { type Electorate, electorsOf } from './electorate.ts'
import { isClear, PartitionLost, type RowCodec, type RowStore, type Voters } from './index.ts'
import type { RowSettler } from './late-delivery.ts'
import { messageLimits, type RowBallot, type TableAnswer, type TableQuestion } from './messages.ts'
import { nameOf } from './recent-rows.ts'
import type { TablePeers } from './registers.ts'
import type { TableReplica } from './replica.ts'

export interface BurialPorts {
  readonly self: PeerId
  readonly replica: TableReplica
  readonly store: Pick<RowStore, 'rows'>
  readonly codec: Pick<RowCodec, 'ballotOf' | 'isTombstone'>
  readonly voters: Voters
  readonly peers: TablePeers
  readonly isMember: (peer: PeerId) => boolean
  /** An identity round, for a tombstone above which something was promised. Undefined: it stays until somebody writes or reads it. */
  readonly settle?: RowSettler | undefined
  /** While the layout changes nothing is buried: a replica that takes the partition over could miss the tombstone and the floor. */
  readonly isChanging: () => boolean
}

/**
 * Brings the space of deleted rows back. A tombstone is dropped only when every replica of the partition holds that one, under the same ballot, or has
 * dropped it already: one that held something older would bring it back to life, for an absent row contradicts nobody. Of the floor that is left instead,
 * see `RowStore.bury`. One member looks after each partition, the first of its replicas: when that one is away not all replicas are there. Partitions in which no
 * tombstone can stand are not looked into: reading a million rows every ten minutes would take a core as many seconds as there are rows in 100,000 (bench/README.md).
 */
export class Burial {
  readonly #ports: BurialPorts
  /** Partitions in which a tombstone may stand: after a start, all. */
  readonly #suspected = new Set(Array.from({ length: partitionCount }, (_, partition) => partition))
  #at: { readonly partition: number, readonly after: Uint8Array | undefined } | undefined

  constructor (ports: BurialPorts) { this.#ports = ports }

  /** A tombstone was saved here in this partition, or may have been. */
  suspect (partition: number): void { this.#suspected.add(partition) }

  /** A pass over the partitions that this node looks after is due. */
  begin (): void { this.#at ??= { partition: 0, after: undefined } }

  /** One page of one partition. What cannot be buried now is come to with the next pass. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    if (this.#ports.isChanging() && this.#at !== undefined) {
      this.suspect(this.#at.partition)
      this.#at = undefined
    }
    for (let at = this.#at; at !== undefined; at = this.#at) {
      const { partition, after } = at
      const electorate = this.#ports.voters.electorate(partition)
      const isMeant = (after !== undefined || this.#suspected.has(partition)) && this.#isOwn(electorate)
      if (isMeant) await this.#page(electorate, { partition, after }, signal)
      else this.#at = next(partition)
      if (isMeant) return 'busy'
    }
    return 'idle'
  }

  async #page (electorate: Electorate, { partition, after }: { partition: number, after: Uint8Array | undefined }, signal: AbortSignal | undefined): Promise<void> {
    // what is saved from now on brings it back; so does what stays, and what could not be looked at
    if (after === undefined) this.#suspected.delete(partition)
    let isSuspect = true
    try {
      const page = await this.#ownPage(partition, after)
      this.#at = page.through !== undefined ? { partition, after: page.through } : next(partition)
      if (page.tombstones.length > 0) await this.#buryWhere(electorate, { partition, after, ...page }, signal)
      isSuspect = page.tombstones.length > 0 || page.isLost
    } finally {
      if (isSuspect) this.suspect(partition)
    }
  }

  #isOwn (electorate: Electorate): boolean {
    const { self, isMember } = this.#ports
    return electorate.groups.length === 1 && electorsOf(electorate).find((peer) => isMember(peer)) === self
  }

  /** As many rows as a page of ballots has, so that one question to each of the others covers them. `through` undefined: to the end. */
  async #ownPage (partition: number, after: Uint8Array | undefined): Promise<{ tombstones: RowBallot[], through: Uint8Array | undefined, isLost: boolean }> {
    const { codec, store } = this.#ports
    const tombstones: RowBallot[] = []
    let rows = 0
    let last: Uint8Array | undefined
    try {
      for await (const { table, rowKey, accepted } of store.rows(partition, { after })) {
        if (rows >= messageLimits.maxBallots / 2 || tombstones.length >= messageLimits.maxBuried) return { tombstones, through: last, isLost: false }
        rows++
        last = rowKey
        if (accepted !== undefined && !isClear(table) && codec.isTombstone({ table, rowKey, record: accepted })) tombstones.push({ table, rowKey, ballot: codec.ballotOf(table, accepted) })
      }
    } catch (error) {
      if (!(error instanceof PartitionLost)) throw error
      return { tombstones: [], through: undefined, isLost: true }
    }
    return { tombstones, through: undefined, isLost: false }
  }

  async #buryWhere (electorate: Electorate, { partition, after, tombstones }: { partition: number, after: Uint8Array | undefined, tombstones: readonly RowBallot[] }, signal: AbortSignal | undefined): Promise<void> {
    const { isChanging, self, settle } = this.#ports
    const others = electorsOf(electorate).filter((peer) => peer !== self)
    const pages = await Promise.all(others.map(async (peer) => await this.#ask(peer, electorate, { kind: 'ballots', partition, after }, signal)))
    const rows = tombstones.filter((row) => pages.every((page) => page?.kind === 'ballots' && isGoneOrSame(row, page)))
    if (rows.length === 0 || isChanging()) return
    const answers = await Promise.all(others.map(async (peer) => await this.#ask(peer, electorate, { kind: 'bury', partition, rows }, signal)))
    // this one last: as long as it has the tombstone, it comes back to those who could not
    const gone = rows.filter((_, i) => answers.every((answer) => answer?.kind === 'buried' && answer.buried[i] === true))
    const own = gone.length === 0 ? undefined : await this.#ask(self, electorate, { kind: 'bury', partition, rows: gone }, signal)
    const refused = [...rows.filter((_, i) => answers.some((answer) => answer?.kind === 'buried' && answer.buried[i] === false)), ...gone.filter((_, i) => own?.kind === 'buried' && own.buried[i] === false)]
    // more was promised there, perhaps to somebody who never came back: above that the tombstone is chosen anew, and goes with the next pass
    if (settle === undefined) return
    for (const { table, rowKey } of refused) {
      const held = await Promise.all([self, ...others].map(async (peer) => await this.#ask(peer, electorate, { kind: 'read', table, rowKey }, signal)))
      const above = held.reduce((most, answer) => answer?.kind === 'value' && answer.promised !== undefined && answer.promised.counter > most ? answer.promised.counter : most, 0n)
      await settle({ table, rowKey }, { signal, above })
    }
  }

  /** Undefined: it does not answer, or will not. Then not all replicas agree, and the next pass asks again. */
  async #ask (peer: PeerId, { version }: Electorate, question: TableQuestion, signal: AbortSignal | undefined): Promise<TableAnswer | undefined> {
    const { peers, replica, self } = this.#ports
    if (peer === self) return await replica.answer(self, { version, ...question })
    return await peers.ask(peer, { version, ...question }, { signal }).catch(() => { signal?.throwIfAborted(); return undefined })
  }
}

/** Where a pass goes on after a partition. */
const next = (partition: number): { partition: number, after: undefined } | undefined => partition + 1 < partitionCount ? { partition: partition + 1, after: undefined } : undefined

/** Whether a replica holds this very tombstone, or has buried it: absent under a floor at or above it. */
export function isGoneOrSame ({ table, rowKey, ballot }: RowBallot, { rows, truncated, floor }: Extract<TableAnswer, { kind: 'ballots' }>): boolean {
  const held = rows.find((row) => nameOf(row) === nameOf({ table, rowKey }))
  if (held !== undefined) return isSameBallot(held.ballot, ballot)
  const last = rows.at(-1)
  const isCovered = !truncated || (last !== undefined && compareBytes(rowKey, last.rowKey) < 0)
  return isCovered && floor !== undefined && compareBallots(floor, ballot) >= 0
}
