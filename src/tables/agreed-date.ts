import { type Clock, deadline } from '../base/clock.ts'
import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { unlessAborted } from '../base/unless-aborted.ts'
import { clearPartition } from './clear-rows.ts'
import { type Electorate, electorsOf, majorityOf } from './electorate.ts'
import type { Voters } from './index.ts'
import type { TableAnswer, TableQuestion } from './messages.ts'

/**
 * What the date is, where a date deletes: no clock alone says so. A date that is written is one that a majority of the voters' clocks have come to (the highest of
 * the lowest majority); one is past when a majority of them is beyond it. Two majorities have a voter in common: so at least one clock has itself counted whatever
 * age is judged, and a clock that is wrong, on however few less than a majority, neither ages an object nor keeps it.
 */
export interface AgreedDateParts {
  readonly voters: Pick<Voters, 'electorate'>
  readonly ask: (peer: PeerId, question: TableQuestion, wait: { signal?: AbortSignal }) => Promise<TableAnswer>
  readonly clock: Clock
}

export const agreedDateLimits = {
  /** A voter that has not told its clock by then has none. */
  askMs: 500,
  /** Each time that voters are asked in vain for the date of what is written now they have twice as long to tell it, up to this: a row waits for a replica as long. */
  mostAskMs: 2000,
  /** Between two times: where nobody can be reached yet, a question is over at once. */
  pauseMs: 200,
  /** Until it is not written: as long as a row is tried for. */
  presentMs: 5000,
  /** A date for what is written is counted on by the monotonic clock, and asked for again in the background. */
  rememberedMs: 60_000,
} as const

/** The latest date that a majority of every group says is past. Undefined: too few have told. */
export const pastDate = (electorate: Electorate, clocks: ReadonlyMap<PeerId, number>): number | undefined => agreed(electorate, clocks, (dates) => dates.toSorted((a, b) => b - a), Math.min)

/** The earliest date that a majority of every group has come to no further than. Undefined: too few have told. */
export const presentDate = (electorate: Electorate, clocks: ReadonlyMap<PeerId, number>): number | undefined => agreed(electorate, clocks, (dates) => dates.toSorted((a, b) => a - b), Math.max)

function agreed ({ groups }: Electorate, clocks: ReadonlyMap<PeerId, number>, inOrder: (dates: number[]) => number[], ofGroups: (...dates: number[]) => number): number | undefined {
  const dates = groups.flatMap((group) => inOrder(group.flatMap((peer) => clocks.get(peer) ?? []))[majorityOf(group.length) - 1] ?? [])
  return groups.length === 0 || dates.length < groups.length ? undefined : ofGroups(...dates)
}

interface Remembered { readonly wallMs: number, readonly atMs: number }

export class AgreedDate {
  readonly #parts: AgreedDateParts
  #remembered: Remembered | undefined
  #asking: Promise<void> | undefined

  constructor (parts: AgreedDateParts) { this.#parts = parts }

  /** What a majority of voters' clocks say is past, by asking them now. @throws Unavailable */
  async past (wait: { signal?: AbortSignal } = {}): Promise<number> {
    const { electorate, clocks } = await this.#ask(wait)
    const date = pastDate(electorate, clocks)
    if (date === undefined) throw new Unavailable('too few voters tell the date')
    return date
  }

  /**
   * The date of what is written now. Never this node's own: where voters are slow to tell it, a row may be written all the same, and would be ten years old by a clock that
   * is as far behind. @throws Unavailable as long as no majority has told one since the start; the signal's reason
   */
  async present ({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    const { clock } = this.#parts
    const isFresh = this.#remembered !== undefined && clock.monotonicMs() - this.#remembered.atMs < agreedDateLimits.rememberedMs
    if (!isFresh && this.#remembered !== undefined) void this.#asked()
    const { wallMs, atMs } = this.#remembered ?? await this.#first(signal)
    return Math.round(wallMs + clock.monotonicMs() - atMs)
  }

  /** A node that has just started may reach too few yet: of many members more than the row itself needs. @throws Unavailable */
  async #first (signal: AbortSignal | undefined): Promise<Remembered> {
    const { clock } = this.#parts
    const { askMs, mostAskMs, pauseMs, presentMs } = agreedDateLimits
    const endMs = clock.monotonicMs() + presentMs
    for (let asks = 0; ; asks++) {
      // the others ask on
      await unlessAborted(this.#asked(Math.min(mostAskMs, askMs * 2 ** asks)), signal)
      if (this.#remembered !== undefined) return this.#remembered
      if (clock.monotonicMs() + pauseMs >= endMs) throw new Unavailable('too few voters tell the date of what is to be written')
      await clock.sleep(pauseMs, { signal })
    }
  }

  /** All at once ask once. */
  async #asked (askMs: number = agreedDateLimits.askMs): Promise<void> {
    this.#asking ??= this.#remember(askMs).finally(() => { this.#asking = undefined })
    await this.#asking
  }

  async #remember (askMs: number): Promise<void> {
    const { electorate, clocks } = await this.#ask({ askMs })
    const wallMs = presentDate(electorate, clocks)
    if (wallMs !== undefined) this.#remembered = { wallMs, atMs: this.#parts.clock.monotonicMs() }
  }

  async #ask ({ askMs = agreedDateLimits.askMs, ...wait }: { signal?: AbortSignal, askMs?: number }): Promise<{ electorate: Electorate, clocks: ReadonlyMap<PeerId, number> }> {
    const { voters, ask, clock } = this.#parts
    const electorate = voters.electorate(clearPartition)
    using limit = deadline(clock, askMs, { signal: wait.signal, what: 'asking voters for the date' })
    const clocks = new Map<PeerId, number>()
    // one that cannot be asked has no say
    await Promise.allSettled(electorsOf(electorate).map(async (peer) => {
      const answer = await ask(peer, { kind: 'clock' }, { signal: limit.signal })
      if (answer.kind === 'clock') clocks.set(peer, answer.wallMs)
    }))
    wait.signal?.throwIfAborted()
    return { electorate, clocks }
  }
}
