import type { Clock } from '../../base/clock.ts'

export interface Shortage { readonly cid: string, readonly have: number, readonly want: number }

export interface ShortageLogParts {
  readonly clock: Pick<Clock, 'after'>
  readonly log: { warn (fields: object, message: string): void }
}

export const shortageLogLimits = {
  /** Between two lines: while a holder is away every block that is written is one short. */
  everyMs: 10_000,
} as const

/** Tells of blocks that were stored with fewer copies than they should: the first at once, and those that follow within a while by their number. */
export class ShortageLog implements Disposable {
  readonly #parts: ShortageLogParts
  #more = 0
  #cancel: (() => void) | undefined

  constructor (parts: ShortageLogParts) { this.#parts = parts }

  note (shortage: Shortage): void {
    if (this.#cancel !== undefined) { this.#more++; return }
    this.#parts.log.warn(shortage, 'a block has fewer copies than it should')
    this.#rest()
  }

  [Symbol.dispose] (): void {
    this.#cancel?.()
    this.#tellMore()
  }

  #rest (): void {
    this.#cancel = this.#parts.clock.after(shortageLogLimits.everyMs, () => {
      this.#cancel = undefined
      if (this.#tellMore()) this.#rest()
    })
  }

  #tellMore (): boolean {
    const blocks = this.#more
    this.#more = 0
    if (blocks > 0) this.#parts.log.warn({ blocks }, 'more blocks have fewer copies than they should')
    return blocks > 0
  }
}
