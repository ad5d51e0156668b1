import { createHash } from 'node:crypto'
import type { KadDHT } from '@libp2p/kad-dht'
import { CID } from 'multiformats/cid'
import { create as multihash } from 'multiformats/hashes/digest'
import { type Cid, digestOf } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'

export const providerLimits = {
  findTimeoutMs: 3000,
  provideTimeoutMs: 30_000,
  maxProviders: 16,
  /** Roots waiting to be provided; above it new ones are not: placement finds their blocks without. */
  maxQueued: 1024,
} as const

/** Who provides the root of an object, over Kademlia. A last resort: placement and announcements are asked first. */
export class KademliaProviders implements AsyncDisposable {
  readonly #dht: KadDHT
  readonly #clock: Clock
  readonly #queue: Cid[] = []
  readonly #stop = new AbortController()
  readonly #warn: (message: string, cause: unknown) => void
  #working: Promise<void> | undefined

  constructor ({ dht, clock, warn }: { dht: KadDHT, clock: Clock, warn: (message: string, cause: unknown) => void }) {
    this.#dht = dht
    this.#clock = clock
    this.#warn = warn
  }

  /** Tells the network, in the background and one root after the other, that this node can serve it. */
  provide (root: Cid): void {
    if (this.#queue.length >= providerLimits.maxQueued) return
    this.#queue.push(root)
    this.#working ??= this.#work().finally(() => { this.#working = undefined })
  }

  /** The same, now: resolves when those who are to know have been sent word. @throws what Kademlia says; Unavailable after a time */
  async provideNow (root: Cid, { signal }: { signal: AbortSignal }): Promise<void> {
    using limit = deadline(this.#clock, providerLimits.provideTimeoutMs, { signal, what: 'providing' })
    for await (const _event of this.#dht.provide(keyOf(root), { signal: limit.signal })) { /* its steps are of no interest, its end is */ }
  }

  async * find (root: Cid, { signal }: { signal: AbortSignal }): AsyncIterable<PeerId> {
    using limit = deadline(this.#clock, providerLimits.findTimeoutMs, { signal, what: 'finding providers' })
    const seen = new Set<PeerId>()
    for await (const event of this.#dht.findProviders(keyOf(root), { signal: limit.signal })) {
      if (event.name !== 'PROVIDER') continue
      for (const { id } of event.providers) {
        const peer = id.toString() as PeerId
        if (seen.has(peer)) continue
        seen.add(peer)
        yield peer
        if (seen.size >= providerLimits.maxProviders) return
      }
    }
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    this.#stop.abort(new Error('the node is stopping'))
    await this.#working
  }

  async #work (): Promise<void> {
    for (let root = this.#queue.shift(); root !== undefined && !this.#stop.signal.aborted; root = this.#queue.shift()) {
      try {
        await this.provideNow(root, { signal: this.#stop.signal })
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#warn('a root could not be provided', error)
      }
    }
  }
}

const [raw, sha256] = [0x55, 0x12]

/** The library's handlers take a multihash for a CID (kad-dht 16.4), which only a SHA-256 one passes for: so the key is SHA-256 of the root's digest. */
const keyOf = (root: Cid): CID => CID.createV1(raw, multihash(sha256, createHash('sha256').update(digestOf(root)).digest()))
