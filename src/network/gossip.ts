import { type GossipSub, TopicValidatorResult } from '@libp2p/gossipsub'
import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import { announcementLimits, decodeAnnouncements, encodeAnnouncements, type UnsignedAnnouncement } from './announcements.ts'
import type { Announcement } from './index.ts'

export const announcementTopic = 'dfs/announce/1'
/** What was announced before, for those who have not heard: who watches what is stored does not care for it. */
export const repetitionTopic = 'dfs/announce-again/1'
/** Whoever belongs hears these, and no others. */
export const gossipTopics: readonly string[] = [announcementTopic, repetitionTopic]

export interface GossipParts {
  readonly pubsub: GossipSub
  readonly clock: Clock
  readonly self: PeerId
  /** Only members publish. */
  readonly isMember: (peer: PeerId) => boolean
  readonly warn: (message: string, cause: unknown) => void
}

/** Announcements over gossipsub: gathered, sent together, and what others announce handed on. Lossy by nature: nothing may depend on it. */
export class Gossip implements Disposable {
  readonly #parts: GossipParts
  readonly #listeners = new Set<(announcement: Announcement) => void>()
  readonly #rates = new Map<PeerId, { second: number, count: number }>()
  readonly #queues = new Map<string, UnsignedAnnouncement[]>(gossipTopics.map((topic) => [topic, []]))
  #cancel: (() => void) | undefined

  constructor (parts: GossipParts) {
    this.#parts = parts
    const { pubsub } = parts
    for (const topic of gossipTopics) pubsub.topicValidators.set(topic, (peer, message) => this.#verdict(peer.toString() as PeerId, message as { data: Uint8Array, from?: { toString (): string } }))
    pubsub.addEventListener('gossipsub:message', (event) => {
      const { msg } = event.detail
      if (gossipTopics.includes(msg.topic) && msg.type === 'signed') this.#heard(msg.data, { from: msg.from.toString() as PeerId, isAgain: msg.topic === repetitionTopic })
    })
  }

  /** The topic can be joined only while libp2p runs. */
  start (): void { for (const topic of gossipTopics) this.#parts.pubsub.subscribe(topic) }

  /** Told of every announcement, this node's own too. The returned function ends it. */
  onAnnouncement (listener: (announcement: Announcement) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** Announcements waiting to be sent. */
  get queued (): number { return this.#queues.values().reduce((sum, queue) => sum + queue.length, 0) }

  announce (announcement: UnsignedAnnouncement, { isAgain = false }: { isAgain?: boolean } = {}): void {
    const { clock, self } = this.#parts
    for (const listener of this.#listeners) listener({ ...announcement, from: self, isAgain })
    const queue = this.#queues.get(isAgain ? repetitionTopic : announcementTopic) as UnsignedAnnouncement[]
    queue.push(announcement)
    if (queue.length > announcementLimits.maxQueued) queue.shift()
    this.#cancel ??= clock.after(announcementLimits.gatherMs, () => { this.#cancel = undefined; this.#send() })
  }

  [Symbol.dispose] (): void {
    this.#cancel?.()
    this.#listeners.clear()
  }

  #send (): void {
    const { pubsub, warn } = this.#parts
    for (const [topic, queue] of this.#queues) {
      while (queue.length > 0) {
        pubsub.publish(topic, encodeAnnouncements(queue.splice(0, announcementLimits.maxBatch))).catch((error: unknown) => { warn('announcements could not be published', error) })
      }
    }
  }

  #heard (data: Uint8Array, { from, isAgain }: Pick<Announcement, 'from' | 'isAgain'>): void {
    for (const announcement of decodeAnnouncements(data)) {
      for (const listener of this.#listeners) listener({ ...announcement, from, isAgain })
    }
  }

  // 'reject' costs the forwarding peer its score; 'ignore' does not
  #verdict (peer: PeerId, { data, from }: { data: Uint8Array, from?: { toString (): string } }): TopicValidatorResult {
    const author = from?.toString() as PeerId | undefined
    if (author === undefined) return TopicValidatorResult.Reject
    if (!this.#parts.isMember(author) || !this.#isWithinRate(peer)) return TopicValidatorResult.Ignore
    try {
      decodeAnnouncements(data)
      return TopicValidatorResult.Accept
    } catch {
      return TopicValidatorResult.Reject // malformed: whoever passes it on has not looked either
    }
  }

  #isWithinRate (peer: PeerId): boolean {
    const second = Math.floor(this.#parts.clock.monotonicMs() / 1000)
    const rate = this.#rates.get(peer)
    const count = rate?.second === second ? rate.count + 1 : 1
    if (rate === undefined && this.#rates.size > maxRates) this.#rates.clear()
    this.#rates.set(peer, { second, count })
    return count <= announcementLimits.maxMessagesPerSecond
  }
}

const maxRates = 4096
