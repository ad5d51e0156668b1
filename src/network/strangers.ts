import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Admission } from './admission.ts'

export interface StrangersParts {
  readonly admission: Admission
  readonly clock: Clock
  /** One has said no hello in its time. */
  readonly cutOff: (peer: PeerId) => void
}

/** Who is connected and has not proven itself has one time limit, from its first connection on: an identity costs nothing to make, so it must gain nothing. */
export class Strangers {
  readonly #parts: StrangersParts
  readonly #cancels = new Map<PeerId, () => void>()

  constructor (parts: StrangersParts) {
    this.#parts = parts
    parts.admission.onChange((peer, isAdmitted) => { if (isAdmitted) this.forget(peer) })
  }

  get count (): number { return this.#cancels.size }
  has (peer: PeerId): boolean { return this.#cancels.has(peer) }

  /** It may take so long, from now on. */
  allow (peer: PeerId, ms: number): void {
    const { admission, clock, cutOff } = this.#parts
    this.#cancels.get(peer)?.()
    this.#cancels.set(peer, clock.after(ms, () => {
      this.#cancels.delete(peer)
      if (!admission.isAdmitted(peer)) cutOff(peer)
    }))
  }

  /** Is admitted, or has gone. */
  forget (peer: PeerId): void {
    this.#cancels.get(peer)?.()
    this.#cancels.delete(peer)
  }

  [Symbol.dispose] (): void { for (const peer of this.#cancels.keys()) this.forget(peer) }
}
