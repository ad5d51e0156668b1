import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Network } from '../../network/libp2p-network.ts'

export interface MemberSearchParts {
  readonly network: Pick<Network, 'peerId' | 'isConnected' | 'reachable' | 'know' | 'find'>
  /** Whom this node should be connected to. */
  readonly members: () => Iterable<PeerId>
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

export const memberSearchLimits = {
  /** Of not being connected, before others are asked: the addresses that are known are tried meanwhile. */
  firstMs: 2000,
  /** Twice as long after each search, up to this. */
  mostMs: 300_000,
} as const

interface Sought { waitMs: number, dueMs: number }

/** Finds members that this node is not connected to, by asking those it is connected to where they are. */
export class MemberSearch {
  readonly #parts: MemberSearchParts
  readonly #sought = new Map<PeerId, Sought>()

  constructor (parts: MemberSearchParts) { this.#parts = parts }

  /** One search, of the member that is due. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { network, clock, warn } = this.#parts
    const nowMs = clock.monotonicMs()
    this.#look(nowMs)
    if (network.reachable().length === 0) return 'idle'
    const due = [...this.#sought].find(([, { dueMs }]) => dueMs <= nowMs)
    if (due === undefined) return 'idle'
    const [peer, sought] = due
    sought.waitMs = Math.min(2 * sought.waitMs, memberSearchLimits.mostMs)
    sought.dueMs = nowMs + sought.waitMs
    try {
      const addresses = await network.find(peer, { signal })
      if (addresses.length > 0) network.know(peer, addresses, { isHeard: true })
    } catch (error) {
      signal.throwIfAborted()
      warn('a member could not be looked for', error)
    }
    return 'busy'
  }

  #look (nowMs: number): void {
    const { network, members } = this.#parts
    const missing = new Set([...members()].filter((peer) => peer !== network.peerId && !network.isConnected(peer)))
    for (const peer of this.#sought.keys()) if (!missing.has(peer)) this.#sought.delete(peer)
    for (const peer of missing) if (!this.#sought.has(peer)) this.#sought.set(peer, { waitMs: memberSearchLimits.firstMs, dueMs: nowMs + memberSearchLimits.firstMs })
  }
}
