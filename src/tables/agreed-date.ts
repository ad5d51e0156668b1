import { type Clock, deadline } from '../base/clock.ts'
import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
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
  /** Times that voters are asked for the date of what is written now, before it is not written; each time they have twice as long: a row waits for a replica for two seconds. */
  presentAsks: 3,
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

export class AgreedDate {
  readonly #parts: AgreedDateParts
  #remembered: { readonly wallMs: number, readonly atMs: number } | undefined
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
   * is as far behind. @throws Unavailable as long as no majority has told one since the start
   */
  async present (): Promise<number> {
    const { clock } = this.#parts
    const isFresh = this.#remembered !== undefined && clock.monotonicMs() - this.#remembered.atMs < agreedDateLimits.rememberedMs
    if (!isFresh && this.#remembered !== undefined) void this.#asked()
    for (let asks = 0; this.#remembered === undefined && asks < agreedDateLimits.presentAsks; asks++) await this.#asked(agreedDateLimits.askMs * 2 ** asks)
    if (this.#remembered === undefined) throw new Unavailable('too few voters tell the date of what is to be written')
    const { wallMs, atMs } = this.#remembered
    return Math.round(wallMs + clock.monotonicMs() - atMs)
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
