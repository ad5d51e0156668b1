import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { newestEpochOf } from '../../cluster/index.ts'
import type { RingPeers } from '../../protocols/ring.ts'
import { changeEra, type EraChangeParts, maySign } from '../membership/era-change.ts'

export interface FloorKeeperParts {
  readonly eraParts: EraChangeParts
  /** Of every partition, and of the clear rows. */
  readonly everyVoter: () => readonly PeerId[]
  /** This node's own promise. */
  readonly demand: (epoch: number) => number
  readonly peers: Pick<RingPeers, 'votedFrom'>
  readonly clock: Clock
}

export const floorLimits = {
  /** Between two rounds of questions while some voter is not done. */
  everyMs: 10_000,
} as const

/** On nodes that may sign: when every voter has promised to hold and take nothing that is tagged below the newest epoch, an era says so, and readers go by it. */
export class FloorKeeper {
  readonly #parts: FloorKeeperParts
  #askedMs = -Infinity

  constructor (parts: FloorKeeperParts) { this.#parts = parts }

  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { eraParts, clock } = this.#parts
    const { era } = eraParts.state
    const newest = newestEpochOf(era)
    if (newest <= 1 || era.floor >= newest || !maySign(eraParts) || clock.monotonicMs() - this.#askedMs < floorLimits.everyMs) return 'idle'
    this.#askedMs = clock.monotonicMs()
    if (!await this.#isPromised(newest, signal)) return 'idle'
    await changeEra(eraParts, ({ era: standing, rows, admins }) =>
      standing.floor >= newest ? undefined : { rows, admins, isNewEpoch: false, floor: newest, keepsInvites: true }, { signal })
    return 'busy'
  }

  async #isPromised (epoch: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { eraParts: { self }, everyVoter, demand, peers } = this.#parts
    if (demand(epoch) < epoch) return false
    const promised = await Promise.all(everyVoter().filter((peer) => peer !== self).map(async (peer) => peers.votedFrom(peer, epoch, { signal }).catch((error: unknown) => {
      signal?.throwIfAborted()
      // away, or it knows no rings: asked again
      if (error instanceof Error) return 0
      throw error
    })))
    return promised.every((from) => from >= epoch)
  }
}
