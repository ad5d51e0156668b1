import { hexOf } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { TableNumber, Voters } from './index.ts'
import type { TablePeers } from './registers.ts'

/** A chosen record on its way to a voter that did not answer in time. */
export interface LateRecord {
  /** Of the layout by which it was chosen. */
  readonly version: bigint
  readonly table: TableNumber
  readonly rowKey: Uint8Array
  readonly record: Uint8Array
}

export const lateDeliveryLimits = {
  /** Records that wait for one peer; at 64 KiB each at most 16 MiB. The oldest go first: anti-entropy finds them. */
  maxWaitingPerPeer: 256,
  /** Peers of one row are at most five; of all rows as many as there are nodes. */
  maxPeers: 128,
} as const

/**
 * Chosen records that some voters have not confirmed, delivered when those can be reached again, under the layout by which they were to have them: one that was left out meanwhile and enters anew has
 * no floor yet, and would have a row back that all others have buried. Nothing depends on it but how soon redundancy is back: what is lost here, anti-entropy hands over.
 */
export class LateDelivery {
  readonly #ports: { readonly peers: TablePeers, readonly voters: Voters, readonly settle: RowSettler }
  readonly #waiting = new Map<PeerId, Map<string, LateRecord>>()

  constructor (ports: { peers: TablePeers, voters: Voters, settle: RowSettler }) { this.#ports = ports }

  get size (): number { return this.#waiting.values().reduce((sum, rows) => sum + rows.size, 0) }

  offer (peer: PeerId, late: LateRecord): void {
    const rows = this.#waiting.get(peer) ?? new Map<string, LateRecord>()
    if (!this.#waiting.has(peer)) {
      if (this.#waiting.size >= lateDeliveryLimits.maxPeers) return
      this.#waiting.set(peer, rows)
    }
    const name = `${late.table} ${hexOf(late.rowKey)}`
    // a newer record of the row takes the older one's place, at the end
    rows.delete(name)
    rows.set(name, late)
    const oldest = rows.keys().next()
    if (rows.size > lateDeliveryLimits.maxWaitingPerPeer && oldest.done !== true) rows.delete(oldest.value)
  }

  /** Whether it is the layout's. */
  isOfNow (version: bigint): boolean { return version === this.#ports.voters.version }

  /** One delivery. Idle: nothing waits for a peer that can be reached. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { peers, voters, settle } = this.#ports
    const reachable = peers.reachable()
    const next = [...this.#waiting].find(([peer]) => reachable.has(peer))
    const [peer, rows] = next ?? []
    const [name, late] = rows?.entries().next().value ?? []
    if (peer === undefined || rows === undefined || name === undefined || late === undefined) return 'idle'
    rows.delete(name)
    this.#waiting.delete(peer)
    // to the end of the line, so that a peer that hangs does not hold up the others
    if (rows.size > 0) this.#waiting.set(peer, rows)
    if (!this.isOfNow(late.version)) return 'busy'
    const answer = await peers.ask(peer, { kind: 'handOver', ...late, version: voters.version }, { signal }).catch((error: unknown) => {
      signal?.throwIfAborted()
      return failed(error)
    })
    if (answer.kind === 'refused') await settle(late, { signal, above: answer.promised.counter })
    return 'busy'
  }
}

/**
 * Runs an identity round: a full round that changes nothing but makes the present value chosen under a fresh ballot. `above`: the counter of the promise
 * that refused it; a round below that would be won by the others and leave this voter as it is.
 */
export type RowSettler = (row: { table: TableNumber, rowKey: Uint8Array }, options: { signal?: AbortSignal, above?: bigint }) => Promise<void>

/** A peer that cannot be asked, or will not: anti-entropy comes back to it, so nothing is lost by dropping the delivery. */
const failed = (cause: unknown): { kind: 'failed', cause: unknown } => ({ kind: 'failed', cause })
