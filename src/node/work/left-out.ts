import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { type Clock, deadline } from '../../base/clock.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { type Layout, layoutLimits, lostOf } from '../../cluster/index.ts'
import { FileMissing, type Files } from '../../disk/index.ts'
import type { ChangeProgress } from '../../node.ts'
import { type Bucket, redundancyOf } from '../../objects/index.ts'
import type { Holdings } from '../../protocols/holdings.ts'
import type { BackgroundTask } from './background.ts'

/**
 * Who held blocks and does no more, and what became of what they had: evicted, removed or drained, as this node was there to see. Of a block that only they had nobody who is left
 * knows anything, so nothing is short; that this may be so is all that can be told. On this node's disk until one of them is back in the layout, or says itself that nothing lies on it any
 * more; until all is whole, and so few were left out that whatever they had was on others too; or until everything has been looked at.
 */
export class LeftOut {
  readonly #files: Files
  #peers: readonly PeerId[]
  #keeping: Promise<void> = Promise.resolve()

  private constructor (files: Files, peers: readonly PeerId[]) {
    this.#files = files
    this.#peers = peers
  }

  static async open (files: Files): Promise<LeftOut> { return new LeftOut(files, await read(files)) }

  get peers (): readonly PeerId[] { return this.#peers }

  /** Before the layout `after` is adopted in the place of `before`. On disk when it resolves. */
  async note (before: Layout, after: Layout): Promise<void> {
    const [hold, lost] = [holdersIn(after), new Set([...lostOf(before), ...lostOf(after)])]
    await this.#change((peers) => [...new Set([...[...holdersIn(before)].filter((peer) => !hold.has(peer) && !lost.has(peer)), ...peers.filter((peer) => !hold.has(peer))])])
  }

  /** By the layout that holds now, what all have told. `buckets`: those that there are; undefined: they could not be listed. */
  async looked ({ nodes, isWhole }: Pick<ChangeProgress, 'nodes' | 'isWhole'>, buckets: readonly Bucket[] | undefined): Promise<void> {
    // all that lies on one of these belongs elsewhere
    const empty = new Set(nodes.filter(({ isAnswering, hasLooked, misplacedBytes }) => isAnswering && hasLooked === true && misplacedBytes === 0).map(({ peerId }) => peerId))
    await this.#change((peers) => {
      const left = peers.filter((peer) => !empty.has(peer))
      return isWhole && buckets !== undefined && buckets.every((bucket) => spareOf(bucket) >= left.length) ? [] : left
    })
  }

  /** These have brought away all that they had. */
  async emptied (empty: readonly PeerId[]): Promise<void> { await this.#change((peers) => peers.filter((peer) => !empty.includes(peer))) }

  /** Everything has been looked at since these were told, and what cannot be read was named. */
  async verified (told: readonly PeerId[]): Promise<void> { await this.#change((peers) => peers.filter((peer) => !told.includes(peer))) }

  async #change (next: (peers: readonly PeerId[]) => readonly PeerId[]): Promise<void> {
    const change = this.#keeping.then(async () => {
      const peers = next(this.#peers).slice(0, leftOutLimits.maxPeers)
      if (peers.length === this.#peers.length && peers.every((peer) => this.#peers.includes(peer))) return
      const writer = new ByteWriter().u8(1).u16(peers.length)
      for (const peer of peers) writer.raw(keyOf(peer))
      await this.#files.writeDurable(path, [withDigest(writer.finish())])
      this.#peers = peers
    })
    // whoever asked for a change that fails is told; the next one starts from what is on disk
    this.#keeping = change.catch(() => {})
    await change
  }
}

export const leftOutLimits = {
  maxPeers: layoutLimits.maxMembers * 2,
  /** While such a one answers it is asked so often what it has left: whoever drains it may remove it as soon as that is nothing. */
  askEveryMs: 1000,
  askMs: 5000,
} as const

export interface LeftOutParts {
  readonly clock: Clock
  readonly layout: () => Pick<Layout, 'state' | 'version'>
  readonly reachable: () => readonly PeerId[]
  readonly ask: (peer: PeerId, wait: { signal: AbortSignal }) => Promise<Pick<Holdings, 'surveyedVersion' | 'holdsBlocks' | 'misplacedBytes'>>
}

/** Finds out who of them has nothing left. */
export function leftOutTask (leftOut: LeftOut, { clock, layout, reachable, ask }: LeftOutParts): BackgroundTask {
  let askedMs = -Infinity
  const isEmpty = async (peer: PeerId, outer: AbortSignal): Promise<boolean> => {
    using limit = deadline(clock, leftOutLimits.askMs, { signal: outer, what: 'asking who was left out what it has' })
    const { version } = layout()
    try {
      const { surveyedVersion, holdsBlocks, misplacedBytes } = await ask(peer, { signal: limit.signal })
      // all that lies on it belongs elsewhere
      return holdsBlocks && surveyedVersion >= version && misplacedBytes === 0
    } catch {
      outer.throwIfAborted()
      return false // it is asked again
    }
  }
  return {
    name: 'nodes that were left out',
    async step ({ signal }) {
      const answering = leftOut.peers.filter((peer) => reachable().includes(peer))
      if (answering.length === 0 || layout().state !== 'settled' || clock.monotonicMs() - askedMs < leftOutLimits.askEveryMs) return 'idle'
      askedMs = clock.monotonicMs()
      const found = await Promise.all(answering.map(async (peer) => isEmpty(peer, signal)))
      const empty = answering.filter((_, i) => found[i])
      // a layout that has begun to change meanwhile may have it hold again
      if (empty.length > 0 && layout().state === 'settled') await leftOut.emptied(empty)
      return 'idle'
    },
  }
}

const path = 'left-out'

/** Of those who hold a block of it so many may be gone, and others have it; by what it was set to before, too. */
const spareOf = ({ degraded, original, ...bucket }: Bucket): number =>
  degraded === 'allow' ? 0 : Math.min(...[bucket, ...original === undefined ? [] : [original]].map(redundancyOf).flatMap(({ whole, large }) => [whole.m, large.m]))

/** Who holds blocks by it, or is to. */
const holdersIn = (layout: Layout): ReadonlySet<PeerId> => new Set([layout, ...layout.next === undefined ? [] : [layout.next]].flatMap(({ members, blockHolders }) =>
  [...new Set(blockHolders.flat())].flatMap((index) => members[index]?.peerId ?? [])))

/** `01 | u16 n | n × key(32) | H(all before)`. Damaged: nobody is known to have been left out. */
async function read (files: Files): Promise<readonly PeerId[]> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  const body = bytes === undefined ? undefined : withoutDigest(bytes)
  if (body === undefined) return []
  const reader = new ByteReader(body)
  reader.u8()
  return Array.from({ length: reader.u16() }, () => peerIdOf(reader.raw(32)))
}
