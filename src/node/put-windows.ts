import type { Clock } from '../base/clock.ts'
import { InvalidInput } from '../base/errors.ts'
import { FairBudget } from '../base/fair-budget.ts'
import { contentLimits, fixedChunkBytes, profiles } from '../file/index.ts'
import type { BucketRow } from '../objects/buckets/bucket-row.ts'
import { TooManyPuts } from '../objects/index.ts'

export const putWindowLimits = {
  /** Of a put beside what it sent of a chunk: for digests, and what came and was not taken up yet. */
  besideBytes: 512 * 1024,
  /** A put that gets no window in so long is told to come again; until then none of its body is read. */
  waitMs: 30_000,
  /** While others wait, a client that has been waited for all of this time and sent less than so much loses its window. */
  slowMs: 10_000,
  slowBytes: 16 * 1024,
} as const

export interface Windowed {
  readonly bucket: Pick<BucketRow, 'isPrivate' | 'chunking'>
  /** If known; more is not taken. */
  readonly sizeBytes: number | undefined
  /** The access key that puts: one cannot have all the memory. Undefined: whoever has the node's own token. */
  readonly askedBy?: string | undefined
  readonly signal: AbortSignal | undefined
}

interface Window {
  readonly claimedBytes: number
  readonly askedBy: string | undefined
  /** Why it has lost its window. */
  lost: Error | undefined
  /** Ends waiting for the client. */
  leave: ((reason: Error) => void) | undefined
  receivedBytes: number
  waitedMs: number
  /** Since when the client is waited for. */
  askedMs: number | undefined
  /** What they were when the present look began. */
  mark: { readonly receivedBytes: number, readonly waitedMs: number }
}

/**
 * The memory of all puts together, from whatever face: each has a chunk's window for as long as it runs, also while its client sends nothing. Without a bound on
 * all of them there is none but the number of connections, times the streams of each. What waits is back-pressure: a body is not read before there is room.
 * No access key is given so much that there is no place for another's (`FairBudget`). Who sends next to nothing must not keep everybody out, and keeps nobody out by being slow alone: it loses its window when somebody waits for one.
 */
export class PutWindows {
  readonly #room: FairBudget
  readonly #clock: Pick<Clock, 'after' | 'monotonicMs'>
  readonly #open = new Set<Window>()
  readonly #waiting = new Set<{ readonly bytes: number, readonly askedBy: string | undefined }>()
  #stopLooking: (() => void) | undefined

  constructor ({ bytes, clock }: { bytes: number, clock: Pick<Clock, 'after' | 'monotonicMs'> }) {
    this.#room = new FairBudget(bytes)
    this.#clock = clock
  }

  /** Has `write` store the source once there is room. @throws TooManyPuts; what `write` throws */
  async within<T> (source: AsyncIterable<Uint8Array>, windowed: Windowed, write: (source: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T> {
    // it stands in its row, and takes no window
    if (windowed.sizeBytes !== undefined && windowed.sizeBytes <= contentLimits.maxInlineBytes) return write(atMost(source, windowed.sizeBytes))
    const claimedBytes = windowBytesOf(windowed)
    using _claim = await this.#claim(claimedBytes, windowed)
    const window: Window = { claimedBytes, askedBy: windowed.askedBy, lost: undefined, leave: undefined, receivedBytes: 0, waitedMs: 0, askedMs: undefined, mark: { receivedBytes: 0, waitedMs: 0 } }
    this.#open.add(window)
    try {
      return await write(this.#watched(windowed.sizeBytes === undefined ? source : atMost(source, windowed.sizeBytes), window))
    } finally {
      this.#open.delete(window)
    }
  }

  async #claim (bytes: number, { askedBy, signal }: Pick<Windowed, 'askedBy' | 'signal'>): Promise<Disposable> {
    signal?.throwIfAborted()
    const claim = this.#room.take(bytes, askedBy)
    if (claim !== undefined) return claim
    const late = new AbortController()
    const cancel = this.#clock.after(putWindowLimits.waitMs, () => {
      const whose = this.#room.isWithinShare(bytes, askedBy) ? '' : ' of this access key'
      late.abort(new TooManyPuts(`so many puts${whose} are under way at this node (${this.#open.size} in all) that there was no memory for one more within ${putWindowLimits.waitMs / 1000} s; nothing was stored: try again, or another node`))
    })
    const waiting = { bytes, askedBy }
    this.#waiting.add(waiting)
    this.#look()
    try {
      return await this.#room.claim(bytes, { by: askedBy, signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]) })
    } finally {
      cancel()
      this.#waiting.delete(waiting)
      if (this.#waiting.size === 0) { this.#stopLooking?.(); this.#stopLooking = undefined }
    }
  }

  /** Looks at who is slow for as long as somebody waits. */
  #look (): void {
    if (this.#stopLooking !== undefined) return
    for (const window of this.#open) window.mark = { receivedBytes: window.receivedBytes, waitedMs: this.#waitedMs(window) }
    this.#stopLooking = this.#clock.after(putWindowLimits.slowMs, () => {
      this.#stopLooking = undefined
      this.#endSlow()
      this.#look()
    })
  }

  #endSlow (): void {
    let neededBytes = 0
    // what waits for its own share is helped by nobody's place but its own
    const neededOfKeys = new Map<string, number>()
    for (const { bytes, askedBy } of this.#waiting) {
      if (askedBy === undefined || this.#room.isWithinShare(bytes, askedBy)) neededBytes += bytes
      else neededOfKeys.set(askedBy, (neededOfKeys.get(askedBy) ?? 0) + bytes)
    }
    const sent = ({ receivedBytes, mark }: Window): number => receivedBytes - mark.receivedBytes
    // as good as all of the time: what a piece took to be stored is not the client's
    const isSlow = (window: Window): boolean => sent(window) < putWindowLimits.slowBytes && this.#waitedMs(window) - window.mark.waitedMs >= putWindowLimits.slowMs * 0.9
    for (const window of [...this.#open].filter(isSlow).toSorted((a, b) => sent(a) - sent(b))) {
      const { askedBy = '', claimedBytes } = window
      const neededOfKey = neededOfKeys.get(askedBy) ?? 0
      if (neededBytes <= 0 && neededOfKey <= 0) continue
      neededBytes -= claimedBytes
      neededOfKeys.set(askedBy, neededOfKey - claimedBytes)
      window.lost = new TooManyPuts(`this body stood still (${sent(window)} bytes in ${putWindowLimits.slowMs / 1000} s) while others waited for memory; nothing was stored: try again`)
      window.leave?.(window.lost)
    }
  }

  #waitedMs ({ waitedMs, askedMs }: Window): number { return waitedMs + (askedMs === undefined ? 0 : this.#clock.monotonicMs() - askedMs) }

  async * #watched (source: AsyncIterable<Uint8Array>, window: Window): AsyncIterable<Uint8Array> {
    const iterator = source[Symbol.asyncIterator]()
    let isAsked = false
    try {
      for (;;) {
        window.askedMs = this.#clock.monotonicMs()
        isAsked = true
        const next = await nextOf(iterator, window)
        isAsked = false
        window.waitedMs = this.#waitedMs(window)
        window.askedMs = undefined
        if (next.done === true) return
        window.receivedBytes += next.value.byteLength
        yield next.value
      }
    } finally {
      const left = iterator.return?.()
      // a source that is asked for more ends when its client goes, or sends: nobody waits for that
      if (isAsked) left?.catch(() => { /* the put has failed by then */ })
      else await left
    }
  }
}

/** Not by a race with one promise for all of them: that would hold on to every piece until the put ends. */
async function nextOf (iterator: AsyncIterator<Uint8Array>, window: Window): Promise<IteratorResult<Uint8Array>> {
  if (window.lost !== undefined) throw window.lost
  try {
    return await new Promise((resolve, reject) => {
      window.leave = reject
      iterator.next().then(resolve, reject)
    })
  } finally {
    window.leave = undefined
  }
}

/** What a put takes at the most, from the first byte to the last. */
export function windowBytesOf ({ bucket: { isPrivate, chunking }, sizeBytes = Infinity }: Pick<Windowed, 'bucket'> & { readonly sizeBytes?: number | undefined }): number {
  // by content the window, and what of it is looked at for a cut; else pieces, their chunk, and the one after it where the last is padded
  const longestBytes = isPrivate || chunking === 'fixed' ? 3 * fixedChunkBytes : 2 * profiles[chunking].maxBytes
  return Math.min(2 * sizeBytes, longestBytes) + Math.min(sizeBytes, putWindowLimits.besideBytes)
}

async function * atMost (source: AsyncIterable<Uint8Array>, announcedBytes: number): AsyncIterable<Uint8Array> {
  let cameBytes = 0
  for await (const piece of source) {
    cameBytes += piece.byteLength
    if (cameBytes > announcedBytes) throw new InvalidInput('size', `${announcedBytes} bytes were announced, ${cameBytes} came; nothing was stored`)
    yield piece
  }
}
