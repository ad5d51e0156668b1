/** Messages that stop on their way, for stories that need an order. */
export class HeldMessages<Message> {
  #isHeld: ((message: Message) => boolean) | undefined
  #held: Array<{ readonly message: Message, readonly send: () => void }> = []

  /** From now on those like this are held back, and no others. */
  hold (isHeld: ((message: Message) => boolean) | undefined): void { this.#isHeld = isHeld }
  get isHolding (): boolean { return this.#isHeld !== undefined }
  count (isMeant: (message: Message) => boolean): number { return this.#held.filter(({ message }) => isMeant(message)).length }

  /** Sends it, now or when it is released. Whether it was held back. */
  pass (message: Message, send: () => void): boolean {
    const isHeld = this.#isHeld?.(message) === true
    if (isHeld) this.#held.push({ message, send })
    else send()
    return isHeld
  }

  /** Sends on what was held back and is like this. */
  release (isReleased: (message: Message) => boolean): void {
    const held = this.#held
    this.#held = held.filter(({ message }) => !isReleased(message))
    for (const { message, send } of held) if (isReleased(message)) send()
  }
}
