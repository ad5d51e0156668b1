import { ByteReader, hexOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { clearRowKey, verifiedClearRow } from '../../cluster/clear-row.ts'
import { type MemberRow, parseMemberRow } from '../../cluster/index.ts'
import { decodeEnvelope } from '../../tables/envelope.ts'
import { tables } from '../../tables/index.ts'
import type { ClusterState } from '../state.ts'
import type { AskReplica } from './clear-rows.ts'
import { isMemberRowAt } from './membership.ts'

export interface UnknownPeersParts {
  readonly state: ClusterState
  readonly ask: () => AskReplica
  /** Nodes that answer now. */
  readonly reachable: () => Iterable<PeerId>
  readonly clock: Clock
}

export const unknownPeersLimits = {
  /** The oldest go first: whose row is looked at again is noted again. */
  maxNoted: 128,
  /** Between two that members are asked about: a voter that lies may name any number. */
  everyMs: 500,
} as const

/**
 * Who is not known here, and joined while this node was away. Its members row is asked of the members that answer, who are believed as about layouts: who holds the data key could do worse.
 *
 * So with who proposed a row of the cluster: none of its rows is believed until it is known, and the one that tells of it may be its own, when it has changed that itself; it may be gone since, too. Without it,
 * such rows could neither be read here nor taken over, and the layout would wait for that without end.
 *
 * So with a peer that greets, when no majority can be asked for its row: where more have joined meanwhile than were there before, they are the majority, and none of them would be let in.
 */
export class UnknownPeers {
  readonly #parts: UnknownPeersParts
  /** By key, in hexadecimal. */
  readonly #noted = new Map<string, Uint8Array>()
  #askedMs = -Infinity

  constructor (parts: UnknownPeersParts) { this.#parts = parts }

  note (key: Uint8Array): void {
    this.#noted.set(hexOf(key), key.slice())
    const [oldest] = this.#noted.keys()
    if (this.#noted.size > unknownPeersLimits.maxNoted && oldest !== undefined) this.#noted.delete(oldest)
  }

  /** One of them. Whom no member tells of is let go. */
  async step (wait: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { state, clock, reachable } = this.#parts
    const [[name, key] = []] = this.#noted
    const members = [...reachable()].filter((peer) => state.isMember(peer))
    if (name === undefined || key === undefined || members.length === 0 || clock.monotonicMs() - this.#askedMs < unknownPeersLimits.everyMs) return 'idle'
    this.#askedMs = clock.monotonicMs()
    this.#noted.delete(name)
    const row = state.belongs(peerIdOf(key)) ? undefined : await this.#found(key, members, wait)
    if (row !== undefined) await state.remember(row)
    return 'busy'
  }

  /** The row that was made in the latest era: one of them may have been away too, since before this peer was put out and came back, and tell of then. */
  async #found (key: Uint8Array, members: readonly PeerId[], wait: { signal?: AbortSignal }): Promise<MemberRow | undefined> {
    const { state, ask } = this.#parts
    const place = { table: tables.members, rowKey: clearRowKey(tables.members, key) }
    const answers = await Promise.allSettled(members.map(async (peer) => ask()(peer, { kind: 'read', ...place }, wait)))
    wait.signal?.throwIfAborted()
    return answers
      .flatMap((answer) => answer.status === 'fulfilled' && answer.value.kind === 'value' && answer.value.accepted !== undefined ? [rowIn(state, place, answer.value.accepted)] : [])
      .filter((row) => row !== undefined)
      .toSorted((a, b) => b.certificate.member.era - a.certificate.member.era)[0]
  }
}

/** Whoever signed it; what it says is checked. It may be of an era that is not known here, and that era's row be signed by the same one. Undefined: it is no row that may stand there. */
function rowIn ({ clusterId, authority, era }: ClusterState, place: { readonly table: typeof tables.members, readonly rowKey: Uint8Array }, record: Uint8Array): MemberRow | undefined {
  try {
    const reader = new ByteReader(verifiedClearRow(record, { ...place, clusterId }).value)
    reader.u64()
    const isTombstone = reader.u8() !== 0
    const { value } = decodeEnvelope(reader.rest())
    return !isTombstone && isMemberRowAt({ clusterId, authority, era: { ...era, number: Number.MAX_SAFE_INTEGER } }, place.rowKey, value) ? parseMemberRow(value) : undefined
  } catch {
    return undefined
  }
}
