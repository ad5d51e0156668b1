import { equals, hexOf, partitionCount } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import { compareBallots } from './ballot.ts'
import { type Ballot, PartitionLost, type RowCodec, type RowStore, type StoredRow, type Voters } from './index.ts'
import type { RowSettler } from './late-delivery.ts'
import { messageLimits, type TableAnswer, type TableQuestion } from './messages.ts'
import type { TablePeers } from './registers.ts'

export interface AntiEntropyPorts {
  readonly self: PeerId
  readonly store: RowStore
  readonly codec: RowCodec
  readonly voters: Voters
  readonly peers: TablePeers
  /** An identity round, for rows whose hand-over is refused. Undefined where the node has no keys to propose with. */
  readonly settle: RowSettler | undefined
}

/**
 * Replicas of a partition compare digests and hand over what the other lacks, as the accept message that got lost and under its rule (design §7, rule 4).
 * Each side hands over its own, so both end equal. It never takes anything away, and never concludes anything from what is missing.
 */
export class AntiEntropy {
  readonly #ports: AntiEntropyPorts
  readonly #work: Unit[] = []
  readonly #queued = new Set<PeerId>()

  constructor (ports: AntiEntropyPorts) { this.#ports = ports }

  /** A comparison with one peer, or with all other replicas, is due: on a schedule, and after a reconnect. A peer already in line is not added twice. */
  begin (peer?: PeerId): void {
    for (const other of peer === undefined ? this.#neighbours() : [peer]) {
      if (other === this.#ports.self || this.#queued.has(other)) continue
      this.#queued.add(other)
      this.#work.push({ kind: 'digests', peer: other, from: 0 })
    }
  }

  /** One question to one peer and what follows from it. A peer that fails is dropped until its next turn. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const unit = this.#work.shift()
    if (unit === undefined) return 'idle'
    try {
      const next = unit.kind === 'digests' ? await this.#compareDigests(unit, signal) : await this.#compareRows(unit, signal)
      this.#work.unshift(...next)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof PeerFailed) && !(error instanceof PartitionLost)) throw error
      if (error instanceof PeerFailed) this.#drop(unit.peer)
    } finally {
      // however it ended: what is left undone is found at the peer's next turn
      if (!this.#work.some(({ peer }) => peer === unit.peer)) this.#queued.delete(unit.peer)
    }
    return 'busy'
  }

  async #compareDigests ({ peer, from }: Extract<Unit, { kind: 'digests' }>, signal: AbortSignal | undefined): Promise<readonly Unit[]> {
    const { store, voters, self } = this.#ports
    const partitions: number[] = []
    let at = from
    for (; at < partitionCount && partitions.length < messageLimits.maxDigests; at++) {
      const of = voters.ofPartition(at)
      if (of.includes(self) && of.includes(peer) && !store.lostPartitions().has(at)) partitions.push(at)
    }
    const rest: Unit[] = at < partitionCount ? [{ kind: 'digests', peer, from: at }] : []
    if (partitions.length === 0) return rest
    const answer = await this.#ask(peer, { kind: 'digest', partitions }, signal)
    if (answer.kind !== 'digests' || answer.digests.length !== partitions.length) throw new PeerFailed('no digests')
    const units: Unit[] = []
    for (const [i, partition] of partitions.entries()) {
      const [ours, theirs] = [await store.digest(partition), answer.digests[i]]
      const isEqual = theirs !== undefined && ours.count === theirs.count && equals(ours.digest, theirs.digest)
      if (theirs !== undefined && !isEqual) units.push({ kind: 'rows', peer, partition, after: undefined })
    }
    return [...units, ...rest]
  }

  async #compareRows ({ peer, partition, after }: Extract<Unit, { kind: 'rows' }>, signal: AbortSignal | undefined): Promise<readonly Unit[]> {
    const answer = await this.#ask(peer, { kind: 'ballots', partition, after }, signal)
    if (answer.kind !== 'ballots' || (answer.truncated && answer.rows.length === 0)) throw new PeerFailed('no ballots')
    const theirs = new Map(answer.rows.map((row) => [`${row.table} ${hexOf(row.rowKey)}`, row.ballot]))
    const through = answer.truncated ? answer.rows.at(-1)?.rowKey : undefined
    for await (const row of this.#ports.store.rows(partition, { after })) {
      if (through !== undefined && Buffer.compare(row.rowKey, through) > 0) break
      await this.#handOver(peer, row, theirs.get(`${row.table} ${hexOf(row.rowKey)}`), signal)
    }
    return through === undefined ? [] : [{ kind: 'rows', peer, partition, after: through }]
  }

  async #handOver (peer: PeerId, { table, rowKey, accepted }: StoredRow, theirs: Ballot | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { codec, voters, settle } = this.#ports
    if (accepted === undefined || !voters.of(table, rowKey).includes(peer)) return
    if (theirs !== undefined && compareBallots(theirs, codec.ballotOf(table, accepted)) >= 0) return
    const answer = await this.#ask(peer, { kind: 'handOver', table, rowKey, record: accepted }, signal)
    if (answer.kind === 'refused') await settle?.({ table, rowKey }, { signal, above: answer.promised.counter })
  }

  async #ask (peer: PeerId, question: TableQuestion, signal: AbortSignal | undefined): Promise<TableAnswer> {
    const { peers, voters } = this.#ports
    try {
      return await peers.ask(peer, { version: voters.version, ...question }, { signal })
    } catch (cause) {
      throw new PeerFailed(`${peer} does not answer`, { cause })
    }
  }

  #neighbours (): readonly PeerId[] {
    const { voters, self } = this.#ports
    const sets = new Set(Array.from({ length: partitionCount }, (_, partition) => voters.ofPartition(partition)))
    return [...new Set([...sets].filter((of) => of.includes(self)).flat())]
  }

  #drop (peer: PeerId): void {
    for (let i = this.#work.length - 1; i >= 0; i--) if (this.#work[i]?.peer === peer) this.#work.splice(i, 1)
  }
}

type Unit =
  | { readonly kind: 'digests', readonly peer: PeerId, readonly from: number }
  | { readonly kind: 'rows', readonly peer: PeerId, readonly partition: number, readonly after: Uint8Array | undefined }

/** The peer cannot be compared with now. Go on with another; its turn comes again. */
class PeerFailed extends Error {
  override name = 'PeerFailed'
}
