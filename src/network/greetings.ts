import type { PeerId } from '../base/peer-id.ts'
import type { Admission } from './admission.ts'

/** Says hello over a fresh connection. Rejects unless the peer proved to be a member. */
export type Greet = (peer: PeerId, options: { signal: AbortSignal }) => Promise<void>

export interface GreetingsParts {
  /** Undefined: nobody is greeted (while joining). */
  readonly greet: Greet | undefined
  readonly admission: Admission
  readonly admit: (peer: PeerId) => void
  readonly hangUp: (peer: PeerId) => Promise<void>
}

/** Whoever dialled greets, once at a time; a peer whose greeting fails is hung up on, and tried again later. */
export class Greetings {
  readonly #parts: GreetingsParts
  readonly #underWay = new Map<PeerId, Promise<void>>()

  constructor (parts: GreetingsParts) { this.#parts = parts }

  async greet (peer: PeerId, signal: AbortSignal): Promise<void> {
    const { greet, admission, admit, hangUp } = this.#parts
    if (greet === undefined || admission.isAdmitted(peer)) return
    let greeting = this.#underWay.get(peer)
    if (greeting === undefined) {
      greeting = greet(peer, { signal }).then(() => { admit(peer) }).finally(() => { this.#underWay.delete(peer) })
      this.#underWay.set(peer, greeting)
      admission.proving(peer, greeting)
    }
    try {
      await greeting
    } catch (error) {
      await hangUp(peer)
      throw error
    }
  }
}
