import { compareBytes, equals } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import { compareBallots } from './ballot.ts'
import { clearPartition } from './clear-rows.ts'
import { type Ballot, isClear, type RowCodec, type TableNumber, type Voters } from './index.ts'
import type { RowSettler } from './late-delivery.ts'
import { getsOn, messageLimits, type RowBallot, type TableAnswer, type TableQuestion } from './messages.ts'
import { nameOf } from './recent-rows.ts'
import type { TablePeers } from './registers.ts'
import type { TableReplica } from './replica.ts'

export interface AntiEntropyPorts {
  readonly self: PeerId
  /** The own replica: asked what others are asked, and for the rows to hand over. */
  readonly replica: TableReplica
  readonly codec: Pick<RowCodec, 'isTombstone'>
  readonly voters: Voters
  readonly peers: TablePeers
  /** An identity round, for rows whose hand-over is refused. Undefined where the node has no keys to propose with. */
  readonly settle: RowSettler | undefined
  /** Whether the peer takes rows of this table from this node: a witness takes sealed ones from members alone. Default: all. */
  readonly isTakenBy?: (peer: PeerId, table: TableNumber) => boolean
  readonly clock: Pick<Clock, 'monotonicMs'>
}

export const antiEntropyLimits = {
  /** While others wait in line: one that takes its time for each answer, or has all handed over to it one by one, keeps them waiting no longer. */
  turnMs: 10_000,
} as const

export interface AntiEntropyStatus {
  readonly phase: 'waiting' | 'comparing'
  readonly donePartitions: number
  readonly totalPartitions: number
  readonly doneShare: number
  /** Since the start: replicas that were compared with, those that failed among them; and rows that they lacked. */
  readonly total: { readonly comparisons: number, readonly failures: number, readonly handedOverRows: number, readonly handedOverBytes: number }
}

/** And the clear rows. */
const partitionsInAll = clearPartition + 1

/**
 * Replicas of a partition, and all voters over the clear rows, compare digests and hand over what the other lacks, as the accept message that got lost and
 * under its rule. Each side hands over its own, so both end equal. It never takes anything away, and never concludes anything from
 * what is missing: what a side has lost is left alone, and what it has buried is not dug up (burial.ts).
 */
export class AntiEntropy {
  readonly #ports: AntiEntropyPorts
  readonly #work: Unit[] = []
  readonly #queued = new Set<PeerId>()
  /** Of those in line, who have just come back. */
  readonly #returned = new Set<PeerId>()
  readonly #total = { comparisons: 0, failures: 0, handedOverRows: 0, handedOverBytes: 0 }
  /** With how many replicas this node compares, since it was last done with all; and with how many it has. */
  #pass = { replicas: 0, done: 0 }
  #unit: Unit | undefined
  #turn: { readonly peer: PeerId, readonly sinceMs: number } | undefined

  constructor (ports: AntiEntropyPorts) { this.#ports = ports }

  /** A comparison with one peer, or with all other replicas, is due: on a schedule, and after a reconnect. A peer already in line is not added twice. */
  begin (peer?: PeerId): void {
    for (const other of peer === undefined ? this.#neighbours() : [peer]) {
      if (other === this.#ports.self || this.#queued.has(other)) continue
      if (this.#queued.size === 0) this.#pass = { replicas: 0, done: 0 }
      this.#pass.replicas++
      this.#queued.add(other)
      if (peer !== undefined) this.#returned.add(other)
      this.#work.push({ kind: 'digests', peer: other, from: 0 })
    }
  }

  /** Who has just come back lacks what it missed, and what is acknowledged meanwhile has one replica less. */
  get isUrgent (): boolean { return this.#work[0] !== undefined && this.#returned.has(this.#work[0].peer) }

  /** Partitions count once for each replica with which they are compared. */
  status (): AntiEntropyStatus {
    const { replicas, done } = this.#pass
    const [totalPartitions, unit] = [replicas * partitionsInAll, this.#unit ?? this.#work[0]]
    const at = unit === undefined || done >= replicas ? 0 : unit.kind === 'digests' ? unit.from : unit.partition
    const donePartitions = Math.min(totalPartitions, done * partitionsInAll + at)
    return { phase: this.#queued.size === 0 ? 'waiting' : 'comparing', donePartitions, totalPartitions, doneShare: totalPartitions === 0 ? 1 : donePartitions / totalPartitions, total: { ...this.#total } }
  }

  /** One question to one peer and what follows from it. A peer that fails is dropped until its next turn. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const unit = this.#work.shift()
    if (unit === undefined) return 'idle'
    this.#unit = unit
    if (this.#turn?.peer !== unit.peer) this.#turn = { peer: unit.peer, sinceMs: this.#ports.clock.monotonicMs() }
    try {
      const next = unit.kind === 'digests' ? await this.#compareDigests(unit, signal) : await this.#compareRows(unit, signal)
      this.#work.unshift(...next)
      if (this.#isTurnOver) this.#work.push(...this.#work.splice(0, this.#work.findIndex(({ peer }) => peer !== unit.peer)))
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof PeerFailed)) throw error
      this.#total.failures++
      this.#drop(unit.peer)
    } finally {
      this.#unit = undefined
      // however it ended: what is left undone is found at the peer's next turn
      if (!this.#work.some(({ peer }) => peer === unit.peer)) this.#leave(unit.peer)
    }
    return 'busy'
  }

  async #compareDigests ({ peer, from }: Extract<Unit, { kind: 'digests' }>, signal: AbortSignal | undefined): Promise<readonly Unit[]> {
    const partitions: number[] = []
    let at = from
    for (; at <= clearPartition && partitions.length < messageLimits.maxDigests; at++) if (this.#isShared(at, peer)) partitions.push(at)
    const rest: Unit[] = at <= clearPartition ? [{ kind: 'digests', peer, from: at }] : []
    if (partitions.length === 0) return rest
    const { ours, theirs } = await this.#askBoth(peer, { kind: 'digest', partitions }, signal)
    if (ours.kind !== 'digests' || theirs.kind !== 'digests' || theirs.digests.length !== partitions.length) throw new PeerFailed('no digests')
    const differing = partitions.filter((_, i) => {
      const [own, other] = [ours.digests[i], theirs.digests[i]]
      return own !== undefined && other !== undefined && !(own.count === other.count && equals(own.digest, other.digest))
    })
    return [...differing.map((partition): Unit => ({ kind: 'rows', peer, partition, after: undefined, told: 0 })), ...rest]
  }

  async #compareRows ({ peer, partition, after, told }: Extract<Unit, { kind: 'rows' }>, signal: AbortSignal | undefined): Promise<readonly Unit[]> {
    const { ours, theirs } = await this.#askBoth(peer, { kind: 'ballots', partition, after }, signal)
    if (ours.kind === 'lost' || theirs.kind === 'lost') return []
    if (ours.kind !== 'ballots' || theirs.kind !== 'ballots' || !getsOn(theirs, { after, told })) throw new PeerFailed('no ballots')
    const known = new Map(theirs.rows.map((row) => [nameOf(row), row.ballot]))
    // as far as both pages reach
    const [through] = [ours, theirs].flatMap(({ truncated, rows }) => truncated ? rows.slice(-1).map(({ rowKey }) => rowKey) : []).toSorted(compareBytes)
    const goOn = (behind: Uint8Array): Unit => ({ kind: 'rows', peer, partition, after: behind, told: told + theirs.rows.filter(({ rowKey }) => compareBytes(rowKey, behind) <= 0).length })
    let last: Uint8Array | undefined
    for (const row of ours.rows) {
      if (through !== undefined && compareBytes(row.rowKey, through) > 0) break
      if (last !== undefined && this.#isTurnOver && !equals(row.rowKey, last)) return [goOn(last)]
      await this.#handOver(peer, row, { held: known.get(nameOf(row)), floor: theirs.floor }, signal)
      last = row.rowKey
    }
    return through === undefined ? [] : [goOn(through)]
  }

  async #handOver (peer: PeerId, { table, rowKey, ballot }: RowBallot, theirs: { held: Ballot | undefined, floor: Ballot | undefined }, signal: AbortSignal | undefined): Promise<void> {
    const { codec, voters, settle, isTakenBy } = this.#ports
    if (!voters.of(table, rowKey).includes(peer) || isTakenBy?.(peer, table) === false || (theirs.held !== undefined && compareBallots(theirs.held, ballot) >= 0)) return
    // of a layout adopted between the two the peer may be one that enters: it would have back what others have buried
    const { version } = voters
    const held = await this.#askSelf({ kind: 'read', table, rowKey })
    if (held.kind !== 'value' || held.accepted === undefined) return
    // the peer has buried it: refused, it would be proposed anew, and stand again everywhere
    const isBuried = !isClear(table) && theirs.held === undefined && theirs.floor !== undefined && compareBallots(theirs.floor, ballot) >= 0
    if (isBuried && codec.isTombstone({ table, rowKey, record: held.accepted })) return
    const answer = await this.#ask(peer, { kind: 'handOver', table, rowKey, record: held.accepted }, signal, version)
    if (answer.kind === 'accepted') {
      this.#total.handedOverRows++
      this.#total.handedOverBytes += held.accepted.byteLength
    }
    if (answer.kind === 'refused') await settle?.({ table, rowKey }, { signal, above: answer.promised.counter })
  }

  get #isTurnOver (): boolean { return this.#turn !== undefined && this.#ports.clock.monotonicMs() - this.#turn.sinceMs > antiEntropyLimits.turnMs && this.#work.some(({ peer }) => peer !== this.#turn?.peer) }

  #isShared (partition: number, peer: PeerId): boolean {
    const of = this.#ports.voters.ofPartition(partition)
    return of.includes(this.#ports.self) && of.includes(peer)
  }

  async #askBoth (peer: PeerId, question: TableQuestion, signal: AbortSignal | undefined): Promise<{ ours: TableAnswer, theirs: TableAnswer }> {
    return { ours: await this.#askSelf(question), theirs: await this.#ask(peer, question, signal) }
  }

  async #askSelf (question: TableQuestion): Promise<TableAnswer> {
    const { self, replica, voters } = this.#ports
    return await replica.answer(self, { version: voters.version, ...question })
  }

  async #ask (peer: PeerId, question: TableQuestion, signal: AbortSignal | undefined, version: bigint = this.#ports.voters.version): Promise<TableAnswer> {
    const { peers } = this.#ports
    try {
      return await peers.ask(peer, { version, ...question }, { signal })
    } catch (cause) {
      throw new PeerFailed(`${peer} does not answer`, { cause })
    }
  }

  #neighbours (): readonly PeerId[] {
    const { voters, self } = this.#ports
    const sets = new Set(Array.from({ length: clearPartition + 1 }, (_, partition) => voters.ofPartition(partition)))
    return [...new Set([...sets].filter((of) => of.includes(self)).flat())]
  }

  #leave (peer: PeerId): void {
    if (!this.#queued.delete(peer)) return
    this.#returned.delete(peer)
    this.#total.comparisons++
    this.#pass.done++
  }

  #drop (peer: PeerId): void {
    for (let i = this.#work.length - 1; i >= 0; i--) if (this.#work[i]?.peer === peer) this.#work.splice(i, 1)
  }
}

type Unit =
  | { readonly kind: 'digests', readonly peer: PeerId, readonly from: number }
  | { readonly kind: 'rows', readonly peer: PeerId, readonly partition: number, readonly after: Uint8Array | undefined, /** Rows that the peer has told of so far. */ readonly told: number }

/** The peer cannot be compared with now. Go on with another; its turn comes again. */
class PeerFailed extends Error {
  override name = 'PeerFailed'
}
