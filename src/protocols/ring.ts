import { ByteReader, ByteWriter, empty, MalformedBytes } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'

/** Secrets of epochs between members, each box sealed to its receiver, and how far voters have tagged what they hold. docs/PROTOCOLS.md, "ring". */
export const ringId = '/dfs/ring/1.0.0'

export const ringLimits = {
  /** As many epochs as an era has checks, 36 bytes each, and the seal. */
  maxBytes: 16 * 1024,
  /** Opening a box costs a fraction of a millisecond, keeping it a write of the keyring. */
  maxConcurrent: 1,
  /** A keyring under a passphrase takes a tenth of a second and an fsync. */
  timeoutMs: 10_000,
} as const

/** The serving side. Whoever asks has passed hello; what it may have is the keeper's to say. */
export interface RingKeeper {
  /** Keeps the secret of an epoch to come, which that era will demand; durable when it resolves. @throws Refused */
  keep (peer: PeerId, offer: { readonly era: number, readonly box: Uint8Array }): Promise<void>
  /** The ring of that era, sealed to the asker. @throws Refused */
  give (peer: PeerId, era: number): Uint8Array
  /** In which epoch, or a higher one, every sealed row here is tagged, and whatever is taken will be; 0: not known yet. The asker wants it to be this epoch. */
  votedFrom (epoch: number): number
}

type Question = { readonly kind: 'offer', readonly era: number, readonly box: Uint8Array } | { readonly kind: 'ask', readonly era: number } | { readonly kind: 'votes', readonly epoch: number }
const kinds = { offer: 1, ask: 2, votes: 3 } as const

/** `01 | kind u8 | u32 era (votes: epoch) | box (offer)`. */
export function encodeRingQuestion (question: Question): Uint8Array {
  const writer = new ByteWriter().u8(1).u8(kinds[question.kind]).u32(question.kind === 'votes' ? question.epoch : question.era)
  return writer.raw(question.kind === 'offer' ? question.box : empty).finish()
}

/** @throws MalformedBytes */
export function parseRingQuestion (bytes: Uint8Array): Question {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== 1) throw new MalformedBytes('unknown version of a question about rings')
  const [kind, era, box] = [reader.u8(), reader.u32(), reader.rest().slice()]
  if (kind === kinds.offer && era > 0 && box.byteLength > 0) return { kind: 'offer', era, box }
  if (kind === kinds.ask && era > 0 && box.byteLength === 0) return { kind: 'ask', era }
  if (kind === kinds.votes && era > 0 && box.byteLength === 0) return { kind: 'votes', epoch: era }
  throw new MalformedBytes('not a question about rings')
}

export async function serveRing (requests: Requests, keeper: RingKeeper): Promise<void> {
  await requests.handle(ringId, async (peer, body) => [await answer(keeper, peer, body)], { maxRequestBytes: ringLimits.maxBytes, maxConcurrent: ringLimits.maxConcurrent })
}

async function answer (keeper: RingKeeper, peer: PeerId, body: Uint8Array): Promise<Uint8Array> {
  const question = questionIn(body)
  switch (question.kind) {
    case 'offer':
      await keeper.keep(peer, question)
      return Uint8Array.of(1)
    case 'ask': return new ByteWriter().u8(1).raw(keeper.give(peer, question.era)).finish()
    case 'votes': return new ByteWriter().u8(1).u32(keeper.votedFrom(question.epoch)).finish()
  }
}

function questionIn (body: Uint8Array): Question {
  try { return parseRingQuestion(body) } catch (cause) { throw new Refused('not a question about rings', { cause }) }
}

/** The asking side. Every method rejects with RequestRefused, PeerUnreachable or Refused (an answer that is none). */
export interface RingPeers {
  /** Resolves when it is on that peer's disk. */
  offer (peer: PeerId, offer: { readonly era: number, readonly box: Uint8Array }, wait: { signal?: AbortSignal }): Promise<void>
  ask (peer: PeerId, era: number, wait: { signal?: AbortSignal }): Promise<Uint8Array>
  votedFrom (peer: PeerId, epoch: number, wait: { signal?: AbortSignal }): Promise<number>
}

export function ringPeers (requests: Requests): RingPeers {
  const asked = async (peer: PeerId, question: Question, { signal }: { signal?: AbortSignal }): Promise<ByteReader> => {
    const bytes = await requests.request(peer, ringId, [encodeRingQuestion(question)], { signal, timeoutMs: ringLimits.timeoutMs, maxAnswerBytes: ringLimits.maxBytes })
    const reader = new ByteReader(bytes)
    if (bytes.byteLength === 0 || reader.u8() !== 1) throw new Refused(`${peer} answers what cannot be read`)
    return reader
  }
  return {
    async offer (peer, offer, wait) { await asked(peer, { kind: 'offer', ...offer }, wait) },
    async ask (peer, era, wait) { return (await asked(peer, { kind: 'ask', era }, wait)).rest().slice() },
    async votedFrom (peer, epoch, wait) {
      const reader = await asked(peer, { kind: 'votes', epoch }, wait)
      if (reader.remaining !== 4) throw new Refused(`${peer} answers what cannot be read`)
      return reader.u32()
    },
  }
}
