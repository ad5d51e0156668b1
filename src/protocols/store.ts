import type { Budget } from '../base/budget.ts'
import { ByteReader, ByteWriter, concat, MalformedBytes } from '../base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf } from '../base/cid.ts'
import { Corrupt, Refused, StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'
import type { Holder, Reference, StoreOutcome } from '../replication/index.ts'

/**
 * `/dfs/store/1.0.0`: pushes blocks. A holder is first offered the address with the version that wants it, for it may have the block; then it is sent the
 * bytes, and answers when block and reference are on its disk. Small blocks are sent at once: an offer would cost more than it could save.
 *
 * offer   = 01 | reference | u32 length                  answer: u8 outcome (want, had, full, refused)
 * payload = 02 | reference | block                       answer: u8 outcome (stored, full, refused, corrupt)
 * reference = H(block)(32) | versionId(32) | k u8 | m u8
 */
export const storeProtocol = '/dfs/store/1.0.0'

export const storeLimits = {
  /** The longest block (2 MiB and its overhead) with its reference. */
  maxBlockBytes: 2 * 1024 * 1024 + 1024,
  maxRequestBytes: 2 * 1024 * 1024 + 2048,
  maxAnswerBytes: 16,
  /** From one peer at once. */
  maxConcurrent: 32,
  timeoutMs: 30_000,
  /** Up to here a block travels without being offered first. */
  unofferedBytes: 64 * 1024,
} as const

const kinds = { offer: 1, payload: 2 } as const
const outcomes = ['want', 'had', 'stored', 'full', 'refused', 'corrupt'] as const
type Outcome = typeof outcomes[number]

/** Serves a holder to members. `budget` bounds what is held for all peers together; see HandlerLimits. */
export async function serveStore (requests: Requests, { holder, budget, warn }: { holder: Holder, budget: Budget, warn: (message: string, cause: unknown) => void }): Promise<void> {
  const { maxRequestBytes, maxConcurrent } = storeLimits
  await requests.handle(storeProtocol, async (_peer, body) => [Uint8Array.of(outcomes.indexOf(await outcomeOf(holder, body, warn)))],
    { maxRequestBytes, maxConcurrent, holding: { budget, answerBytes: 0 } })
}

async function outcomeOf (holder: Holder, body: Uint8Array, warn: (message: string, cause: unknown) => void): Promise<Outcome> {
  const reader = new ByteReader(body)
  const kind = reader.u8()
  const { cid, reference } = readReference(reader)
  try {
    if (kind === kinds.offer) {
      const length = reader.u32()
      reader.end()
      if (length > storeLimits.maxBlockBytes) return 'refused'
      return await holder.keep(cid, reference) === 'kept' ? 'had' : 'want'
    }
    if (kind !== kinds.payload) throw new MalformedBytes(`a store request of kind ${kind}`)
    const block = reader.rest()
    if (block.byteLength > storeLimits.maxBlockBytes) return 'refused'
    if (cidOf(block) !== cid) return 'corrupt'
    await holder.store(cid, block, reference)
    return 'stored'
  } catch (error) {
    if (error instanceof StoreFull) return 'full'
    if (error instanceof Corrupt) return 'corrupt'
    if (error instanceof Refused) return 'refused'
    if (!(error instanceof MalformedBytes)) warn('a block could not be stored', error)
    throw error
  }
}

/** Offers and sends one block; resolves when it is on the peer's disk, or with why not. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function storeAt (requests: Requests, peer: PeerId, { cid, bytes, reference }: { cid: Cid, bytes: Uint8Array, reference: Reference }, { signal }: { signal?: AbortSignal }): Promise<StoreOutcome> {
  const head = writeReference(cid, reference)
  const ask = async (parts: readonly Uint8Array[]): Promise<Outcome> => {
    const { timeoutMs, maxAnswerBytes } = storeLimits
    const answer = await requests.request(peer, storeProtocol, parts, { signal, timeoutMs, maxAnswerBytes })
    const outcome = outcomes[answer[0] ?? outcomes.length]
    if (answer.byteLength !== 1 || outcome === undefined) throw new Corrupt(`${peer} answered a block with something unknown`)
    return outcome
  }
  if (bytes.byteLength > storeLimits.unofferedBytes) {
    const offered = await ask([Uint8Array.of(kinds.offer), head, new ByteWriter().u32(bytes.byteLength).finish()])
    if (offered !== 'want') return outcomeFor(peer, offered)
  }
  return outcomeFor(peer, await ask([Uint8Array.of(kinds.payload), head, bytes]))
}

function outcomeFor (peer: PeerId, outcome: Outcome): StoreOutcome {
  switch (outcome) {
    case 'stored': case 'had': case 'full': case 'refused': return outcome
    case 'corrupt': throw new Corrupt(`${peer} received other bytes than were sent`)
    case 'want': throw new Corrupt(`${peer} wants what it was just given`)
    default: return outcome satisfies never
  }
}

const writeReference = (cid: Cid, { versionId, redundancy: { k, m } }: Reference): Uint8Array => concat([digestOf(cid), versionId, Uint8Array.of(k, m)])

function readReference (reader: ByteReader): { cid: Cid, reference: Reference } {
  const cid = cidOfDigest(reader.raw(32))
  const versionId = reader.raw(32).slice()
  const redundancy = { k: reader.u8(), m: reader.u8() }
  if (redundancy.k === 0) throw new MalformedBytes('a redundancy of no shards, from which nothing could be read')
  return { cid, reference: { versionId, redundancy } }
}
