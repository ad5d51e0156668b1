import type { Cid } from '../base/cid.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Blocks } from '../blockstore/index.ts'
import type { BlockPeers, Redundancy, Reference, StoreOutcome } from './index.ts'
import { shardsOf } from './shards.ts'

/** A copy or shard that its holder has not taken yet, of a block that is acknowledged. A copy's block is on this node's disk. */
export interface MissingCopy {
  readonly cid: Cid
  readonly reference: Reference
  /** Which shard it is; undefined: the block. */
  readonly shard: number | undefined
  /** Who gets it if the holder does not, in this order; one list for all copies of the block, for nobody needs two. */
  readonly substitutes: PeerId[]
}

/** A block that was written in shards, from wherever it is. */
export type Read = (cid: Cid, redundancy: Redundancy) => Promise<Uint8Array>

export interface StragglersParts {
  readonly read: Read
  readonly local: Pick<Blocks, 'get'>
  readonly peers: BlockPeers
  /** Nobody took it: gone, full or unwilling; or too many wait. */
  readonly onShort: (copy: MissingCopy) => void
}

export const stragglerLimits = {
  /** Copies that wait, for all peers together: some 200 bytes each. */
  maxWaiting: 65_536,
  /** To one peer at once. */
  inFlight: 4,
} as const

/**
 * Copies and shards owed to peers that are late: a stopped process, a disk that hangs. The bytes are let go, for a copy is on this node's disk and a shard is
 * made again from the block, which is read like any other, so that puts need not wait for the memory; when the peer answers again it gets them one after the other.
 */
export class Stragglers {
  readonly #parts: StragglersParts
  readonly #owed = new Map<PeerId, MissingCopy[]>()
  readonly #delivering = new Map<PeerId, Promise<void>>()
  #waiting = 0

  constructor (parts: StragglersParts) { this.#parts = parts }

  owe (peer: PeerId, copy: MissingCopy): void {
    if (this.#waiting >= stragglerLimits.maxWaiting) { this.#parts.onShort(copy); return }
    const copies = this.#owed.get(peer) ?? []
    this.#owed.set(peer, copies)
    copies.push(copy)
    this.#waiting++
    if (!this.#delivering.has(peer)) this.#begin(peer, copies)
  }

  #begin (peer: PeerId, copies: MissingCopy[]): void {
    const delivering = this.#deliver(peer, copies).then(() => {
      // one may have come after the last look
      if (copies.length > 0) { this.#begin(peer, copies); return }
      this.#delivering.delete(peer)
      this.#owed.delete(peer)
    })
    this.#delivering.set(peer, delivering)
  }

  /** Resolves when nothing is owed any more: delivered, or told as short. */
  async settled (): Promise<void> { while (this.#delivering.size > 0) await Promise.all(this.#delivering.values()) }

  async #deliver (peer: PeerId, copies: MissingCopy[]): Promise<void> {
    // the first one alone: it is stuck for as long as the peer is, and the others need not be
    await this.#next(peer, copies)
    await Promise.all(Array.from({ length: stragglerLimits.inFlight }, async () => { while (copies.length > 0) await this.#next(peer, copies) }))
  }

  async #next (peer: PeerId, copies: MissingCopy[]): Promise<void> {
    const copy = copies.shift()
    if (copy === undefined) return
    this.#waiting--
    const { onShort } = this.#parts
    try {
      const outcome = await this.#send(peer, copy)
      if (outcome === 'stored' || outcome === 'had') return
    } catch {
      // whatever it was, the copy is not there; the block itself is safe, and that it is short is said in the end
    }
    const substitute = copy.substitutes.shift()
    if (substitute === undefined) onShort(copy)
    else this.owe(substitute, copy)
  }

  async #send (peer: PeerId, { cid, reference, shard: index }: MissingCopy): Promise<StoreOutcome> {
    const { local, read, peers } = this.#parts
    if (index === undefined) return peers.store(peer, { cid, bytes: await local.get(cid), reference }, {})
    const shards = await shardsOf(cid, await read(cid, reference.redundancy), reference.redundancy)
    const shard = shards[index]
    if (shard === undefined) throw new RangeError(`there is no shard ${index}`)
    return peers.storeShard(peer, { shard, reference }, {})
  }
}
