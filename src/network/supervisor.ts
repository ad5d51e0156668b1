import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Random } from '../base/random.ts'
import { afterFailure, type Attempts, isDue, untried } from './backoff.ts'

/**
 * Keeps this node connected to every peer it knows, for ever: libp2p's own reconnecting gives up after five tries, its bootstrap dials once, its address
 * book forgets after an hour. And notices peers that are connected but do not answer, so that nobody waits for them.
 */
export interface SupervisorParts {
  readonly clock: Clock
  readonly random: Random
  /** Connects and greets. Rejects if either fails. */
  readonly dial: (addresses: readonly string[], signal: AbortSignal) => Promise<void>
  /** Round trip in ms. Rejects if there is no answer in time. */
  readonly ping: (peer: PeerId, signal: AbortSignal) => Promise<number>
  readonly isConnected: (peer: PeerId) => boolean
  readonly disconnect: (peer: PeerId) => Promise<void>
  readonly connected: () => Iterable<PeerId>
  readonly note: (message: string, fields: object) => void
}

export const supervisorLimits = {
  tickMs: 250,
  pingEveryMs: 2000,
  /** No answer for so long: engines stop choosing the peer. */
  unresponsiveAfterMs: 4000,
  /** No answer for so long: the connection is closed, and dialled anew. */
  closeAfterMs: 30_000,
  dialTimeoutMs: 10_000,
  maxParallelDials: 8,
  maxKnownPeers: 2000,
  maxAddressesPerPeer: 16,
  /** Of those so many as others say, where it says enough itself. */
  maxHeardAddresses: 4,
} as const

interface Known { addresses: readonly string[], attempts: Attempts, isDialling: boolean }
interface Pulse { answeredMs: number, askedMs: number, latencyMs: number | undefined }

export class Supervisor implements AsyncDisposable {
  readonly #parts: SupervisorParts
  readonly #known = new Map<string, Known>()
  readonly #pulses = new Map<PeerId, Pulse>()
  readonly #stop = new AbortController()
  #dialling = 0
  #loop: Promise<void> = Promise.resolve()

  constructor (parts: SupervisorParts) { this.#parts = parts }

  start (): void { this.#loop = this.#run() }

  /**
   * A peer to be connected to from now on. `name` is its peer id, or an address whose peer is not known yet. `isHeard`: others say that it listens there, who may say what they like; that goes behind what is known, and takes the
   * place of little of it.
   */
  know (name: string, addresses: readonly string[], { isHeard = false }: { isHeard?: boolean } = {}): void {
    const { maxKnownPeers, maxAddressesPerPeer, maxHeardAddresses } = supervisorLimits
    const known = this.#known.get(name)
    const before = known?.addresses ?? []
    const inOrder = isHeard ? [...before.slice(0, maxAddressesPerPeer - maxHeardAddresses), ...addresses.slice(0, Math.max(maxHeardAddresses, maxAddressesPerPeer - before.length)), ...before] : [...addresses, ...before]
    const merged = [...new Set(inOrder)].slice(0, maxAddressesPerPeer)
    if (known !== undefined) known.addresses = merged
    else if (this.#known.size < maxKnownPeers) this.#known.set(name, { addresses: merged, attempts: untried, isDialling: false })
  }

  forget (name: string): void { this.#known.delete(name) }
  addressesOf (name: string): readonly string[] { return this.#known.get(name)?.addresses ?? [] }
  get known (): ReadonlyMap<string, readonly string[]> { return new Map([...this.#known].map(([name, { addresses }]) => [name, addresses])) }

  /** A connection ended: worth a try at once, whatever happened before. */
  lost (peer: PeerId): void {
    this.#pulses.delete(peer)
    const known = this.#known.get(peer)
    if (known !== undefined) known.attempts = untried
  }

  latencyOf (peer: PeerId): number | undefined { return this.#pulses.get(peer)?.latencyMs }

  /** Whether the peer has answered lately, or is so new that it had no time to. */
  isResponsive (peer: PeerId): boolean {
    const pulse = this.#pulses.get(peer)
    return pulse === undefined || this.#parts.clock.monotonicMs() - pulse.answeredMs < supervisorLimits.unresponsiveAfterMs
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    this.#stop.abort(new Error('the node is stopping'))
    await this.#loop
  }

  async #run (): Promise<void> {
    const { clock } = this.#parts
    while (!this.#stop.signal.aborted) {
      this.#dialDue()
      for (const peer of this.#parts.connected()) this.#pingDue(peer)
      await clock.sleep(supervisorLimits.tickMs, { signal: this.#stop.signal }).catch(() => {}) // the only failure is the stop, which ends the loop
    }
  }

  #dialDue (): void {
    const now = this.#parts.clock.monotonicMs()
    for (const [name, known] of this.#known) {
      if (this.#dialling >= supervisorLimits.maxParallelDials) return
      if (known.isDialling || known.addresses.length === 0 || !isDue(known.attempts, now) || this.#parts.isConnected(name as PeerId)) continue
      void this.#dial(name, known)
    }
  }

  async #dial (name: string, known: Known): Promise<void> {
    const { clock, random, dial, note } = this.#parts
    this.#dialling++
    known.isDialling = true
    const timeout = new AbortController()
    const cancel = clock.after(supervisorLimits.dialTimeoutMs, () => { timeout.abort(new Error('no answer in time')) })
    try {
      await dial(known.addresses, AbortSignal.any([timeout.signal, this.#stop.signal]))
      known.attempts = untried
    } catch (error) {
      known.attempts = afterFailure(known.attempts, clock.monotonicMs(), random.fraction())
      note('a peer could not be reached', { peer: name, failures: known.attempts.failures, reason: error instanceof Error ? error.message : String(error) })
    } finally {
      cancel()
      known.isDialling = false
      this.#dialling--
    }
  }

  #pingDue (peer: PeerId): void {
    const { clock, ping, disconnect, note } = this.#parts
    const now = clock.monotonicMs()
    const pulse = this.#pulses.get(peer) ?? { answeredMs: now, askedMs: -Infinity, latencyMs: undefined }
    this.#pulses.set(peer, pulse)
    if (now - pulse.answeredMs > supervisorLimits.closeAfterMs) {
      note('a peer has not answered for long; its connection is closed', { peer })
      this.#pulses.delete(peer)
      disconnect(peer).catch((error: unknown) => { note('a connection could not be closed', { peer, reason: String(error) }) })
      return
    }
    if (now - pulse.askedMs < supervisorLimits.pingEveryMs) return
    pulse.askedMs = now
    const timeout = new AbortController()
    const cancel = clock.after(supervisorLimits.closeAfterMs, () => { timeout.abort(new Error('no answer in time')) })
    ping(peer, AbortSignal.any([timeout.signal, this.#stop.signal]))
      .then((latencyMs) => { pulse.latencyMs = latencyMs; pulse.answeredMs = clock.monotonicMs() })
      .catch(() => {}) // no answer is what the pulse records
      .finally(cancel)
  }
}
