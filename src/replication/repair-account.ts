import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { StoreOutcome } from './index.ts'
import { repairLimits } from './repair-limits.ts'

/** Since the start. */
export interface RepairTotal {
  readonly broughtBlocks: number
  readonly fetchedBlocks: number
  readonly releasedBlocks: number
  readonly movedBytes: number
  readonly failures: number
}

/** What became of the work: since the start, in the sweep under way, and which peers had no room. */
export class RepairAccount {
  readonly #clock: Clock
  readonly #warn: (message: string, cause: unknown) => void
  readonly #fullUntilMs = new Map<PeerId, number>()
  readonly #silentUntilMs = new Map<PeerId, number>()
  readonly #total = { broughtBlocks: 0, fetchedBlocks: 0, releasedBlocks: 0, movedBytes: 0, failures: 0 }
  #sweep = { failures: 0, isWorth: false }

  constructor ({ clock, warn }: { clock: Clock, warn: (message: string, cause: unknown) => void }) {
    this.#clock = clock
    this.#warn = warn
  }

  get total (): RepairTotal { return { ...this.#total } }
  /** Of the sweep: something was bettered. */
  get isWorth (): boolean { return this.#sweep.isWorth }
  /** Of the sweep: something could not be. */
  get hasFailed (): boolean { return this.#sweep.failures > 0 }
  /** Peers that had no room when they were last offered a block. */
  get full (): readonly PeerId[] { return [...this.#fullUntilMs.keys()].filter((peer) => this.isFull(peer)) }

  begin (): void { this.#sweep = { failures: 0, isWorth: false } }

  brought (bytes: number): void { this.#moved('broughtBlocks', bytes) }
  fetched (bytes: number): void { this.#moved('fetchedBlocks', bytes) }

  released (): void {
    this.#total.releasedBlocks++
    this.#sweep.isWorth = true
  }

  /** What a peer said to an offer. */
  offered (outcome: StoreOutcome, peer: PeerId, bytes: number): void {
    if (outcome === 'full') this.fill(peer)
    if (outcome === 'full' || outcome === 'refused') this.failed()
    else if (outcome === 'stored') this.brought(bytes)
  }

  failed (cause?: unknown): void {
    this.#total.failures++
    this.#sweep.failures++
    if (cause !== undefined) this.#warn('a block could not be repaired now', cause)
  }

  isFull (peer: PeerId): boolean { return (this.#fullUntilMs.get(peer) ?? -Infinity) > this.#clock.monotonicMs() }

  /** Whether it may be offered what it should have; else it is tried again after this sweep. */
  hasRoom (peer: PeerId): boolean {
    const isFull = this.isFull(peer)
    if (isFull) this.#sweep.failures++
    return !isFull
  }

  fill (peer: PeerId): void {
    this.#sweep.failures++
    this.#fullUntilMs.set(peer, this.#clock.monotonicMs() + repairLimits.retryMs)
  }

  /** It did not answer in time when it was last asked. */
  isSilent (peer: PeerId): boolean { return (this.#silentUntilMs.get(peer) ?? -Infinity) > this.#clock.monotonicMs() }

  silent (peer: PeerId): void { this.#silentUntilMs.set(peer, this.#clock.monotonicMs() + repairLimits.silentMs) }

  #moved (what: 'broughtBlocks' | 'fetchedBlocks', bytes: number): void {
    this.#total[what]++
    this.#total.movedBytes += bytes
    this.#sweep.isWorth = true
  }
}
