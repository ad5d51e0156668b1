import { hexOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Corrupt, Unavailable } from '../../base/errors.ts'
import { hash } from '../../base/hash.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { clusterRowKeys, encodeEra, type Era, isSameEra, mayFollow, parseEra } from '../../cluster/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { electorsOf, isMajority } from '../../tables/electorate.ts'
import { type Registers, type RowCodec, type RowStore, tables, type Voters } from '../../tables/index.ts'
import { openRecord } from '../../tables/opened-record.ts'
import type { Succession } from '../../tables/replica.ts'
import { clusterAddress } from './membership.ts'
import type { ClusterState } from '../state.ts'

export const eraAddress = clusterAddress(tables.era, clusterRowKeys.era)

export interface ErasParts {
  readonly state: ClusterState
  readonly registers: () => Registers
  readonly voters: () => Pick<Voters, 'electorate'>
  /** What this node has of the era's row as a voter (`acceptedEra`). @throws Corrupt: with that it does not vote */
  readonly accepted: () => Promise<Era | undefined>
  /** The era is on disk here, and rules from now on: whoever it leaves out has to go. */
  readonly risen: (era: Era) => void
  readonly clock: Clock
}

export const eraTiming = { askEveryMs: 60_000 } as const

/**
 * How this node comes to know of eras: from a peer's greeting, or from the row that a majority of voters has. An era is spread by whoever has adopted it, and
 * adopted only when it is chosen or the authority itself signed it.
 */
export class Eras {
  readonly #parts: ErasParts
  #askedMs = -Infinity
  /** Of eras that could not be asked for, what voters have shown last: H of it. */
  readonly #shown = new Map<PeerId, string>()

  constructor (parts: ErasParts) { this.#parts = parts }

  /** On disk when it resolves, and in force. */
  async adopt (era: Era): Promise<void> {
    const { state, risen } = this.#parts
    const before = state.era
    await state.adoptEra(era)
    if (!isSameEra(before, state.era)) risen(state.era)
  }

  /** Adopts what a majority of voters has. @throws Unavailable */
  async ask (wait: { signal?: AbortSignal } = {}): Promise<void> {
    const value = await this.#parts.registers().read(eraAddress, wait)
    // absent: no era has followed the one that every node was born with
    if (value !== undefined) await this.adopt(parseEra(value))
  }

  /**
   * As `ask`, of an era that this peer shows, proven by its connection. Where no majority can be asked, what each of a majority of voters has shown is what they have, this one counted where it would take
   * that era in the place of its own: those who have joined in an era that is not known here are let in, and so asked, only once it is known, and they may be needed for a majority.
   */
  async hear (peer: PeerId, shown: Era): Promise<void> {
    try { await this.ask() } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      const { state, voters } = this.#parts
      const [electorate, self] = [voters().electorate(clearPartition), peerIdOf(state.certificate.member.subject)]
      if (!electorsOf(electorate).includes(peer)) return
      const name = hexOf(hash(encodeEra(shown)))
      this.#shown.set(peer, name)
      const isTakenHere = await this.#wouldTake(shown)
      if (isMajority(electorate, (voter) => voter === self ? isTakenHere : this.#shown.get(voter) === name)) await this.adopt(shown)
    }
  }

  /** Were it asked as a voter: what it has accepted it may not have heard the end of. */
  async #wouldTake (shown: Era): Promise<boolean> {
    const { state, accepted } = this.#parts
    if (shown.number <= state.era.number || !mayFollow(state.era, shown, state)) return false
    try {
      const held = await accepted()
      return held === undefined || mayFollow(held, shown, state)
    } catch (error) {
      if (error instanceof Corrupt) return false
      throw error
    }
  }

  /** One unit of work: greetings tell an era; its row is looked at too, for whoever had it chosen may have died before it told anybody. */
  async step (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { clock } = this.#parts
    if (clock.monotonicMs() - this.#askedMs < eraTiming.askEveryMs) return 'idle'
    try { await this.ask(wait) } catch (error) {
      // without a majority there is nothing to hear
      if (!(error instanceof Unavailable)) throw error
      return 'idle'
    }
    this.#askedMs = clock.monotonicMs()
    return 'busy'
  }
}

/**
 * What a voter demands of an era that is to take the place of the one it holds: it follows from that one (`mayFollow`), whatever the proposer says to have
 * read. So an admin that was removed, and is still let in by a voter that has not heard of it, cannot put an era of its own over the one that removed
 * it. And it is not below what this node has adopted, for that was chosen. Late delivery brings older ones too, under their own ballots.
 */
export function eraSuccession (state: Pick<ClusterState, 'era' | 'clusterId' | 'authority'>, codec: RowCodec): Succession {
  return ({ table, rowKey }, { held, record, kind }) => {
    if (table !== tables.era) return
    const next = eraIn(codec, rowKey, record)
    const before = held === undefined ? undefined : eraIn(codec, rowKey, held)
    if (next === undefined) {
      if (before !== undefined) throw new Corrupt('an era is not erased')
      return
    }
    // what was adopted here was chosen: it may take any place
    if (isSameEra(next, state.era)) return
    if (before !== undefined && !mayFollow(before, next, state)) throw new Corrupt(`era ${next.number} does not follow from era ${before.number}`)
    if (kind === 'accept' && !mayFollow(state.era, next, state)) throw new Corrupt(`era ${next.number} does not follow from era ${state.era.number}`)
    if (kind === 'accept' && next.number === state.era.number) throw new Corrupt(`another era ${next.number} was chosen`)
  }
}

/** The era that a node's own row store has, whether it was chosen or not; undefined: none has followed the one that every node was born with. @throws Corrupt, PartitionLost among them */
export async function acceptedEra (rows: Pick<RowStore, 'get'>, codec: RowCodec): Promise<Era | undefined> {
  const rowKey = codec.rowKeyOf(eraAddress)
  const record = (await rows.get(tables.era, rowKey))?.accepted
  return record === undefined ? undefined : eraIn(codec, rowKey, record)
}

function eraIn (codec: RowCodec, rowKey: Uint8Array, record: Uint8Array): Era | undefined {
  const { value } = openRecord(codec, { table: tables.era, rowKey, record })
  return value === undefined ? undefined : parseEra(value)
}
