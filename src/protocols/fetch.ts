import type { Budget } from '../base/budget.ts'
import { ByteReader } from '../base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf } from '../base/cid.ts'
import { Corrupt, NotFound } from '../base/errors.ts'
import { lend } from '../base/lease.ts'
import type { PeerId } from '../base/peer-id.ts'
import { BlockCorrupt, type Blocks, type Shards } from '../blockstore/index.ts'
import type { Requests } from '../network/index.ts'
import { answerWithShard, readWanted } from './fetch-shard.ts'

/**
 * `/dfs/fetch/1.0.0`: pulls blocks, several in flight; the receiver decides how many. "Not here" is an answer, and says nothing about a block that is
 * here and rotten: wrong bytes never go out.
 *
 * request = H(block)(32) | [u32 offset | u32 length]     answer = 00 (not here) | 01, bytes
 * shard   = H(block)(32) | k u8 | m u8 | index u8 | n × list(16)
 *                                                        answer = 00 | 01 | u32 bits of the indexes that are here | the shard's record
 * k and m 00: of any code. The index is a wish, ff: none; if that shard is not here, another of the code is sent. None is sent under a list that is named.
 */
export const fetchProtocol = '/dfs/fetch/1.0.0'

export const fetchLimits = {
  maxRequestBytes: 128,
  maxAnswerBytes: 2 * 1024 * 1024 + 4096,
  /** False lists that a question names. */
  maxLists: 4,
  /** Of one peer at once. */
  maxConcurrent: 32,
  timeoutMs: 15_000,
} as const

const [notHere, here, rangeBytes] = [0, 1, 8]

export interface FetchParts {
  /** Asked in this order. */
  readonly sources: ReadonlyArray<Pick<Blocks, 'get'>>
  readonly shards: Pick<Shards, 'get' | 'of'>
  /** What is held for all peers together; see HandlerLimits. */
  readonly budget: Budget
  /** Told of each request while it is answered: a user of the asker waits for it. */
  readonly users?: { begin (kind: () => string): Disposable }
}

export async function serveFetch (requests: Requests, { sources, shards, budget, users }: FetchParts): Promise<void> {
  await requests.handle(fetchProtocol, async (_peer, body, { signal }) => {
    let answerBytes = 0
    using _waiting = users?.begin(() => `fetch ${Math.ceil(Math.log2(answerBytes + 1))}`)
    const reader = new ByteReader(body)
    const cid = cidOfDigest(reader.raw(32))
    if (reader.remaining !== 0 && reader.remaining !== rangeBytes) return await answerWithShard(shards, readWanted(cid, reader))
    const range = reader.remaining === 0 ? undefined : { offset: reader.u32(), length: reader.u32() }
    reader.end()
    const block = await found(cid, sources, signal)
    if (block === undefined) return [Uint8Array.of(notHere)]
    const answer = range === undefined ? block : block.subarray(range.offset, range.offset + range.length)
    answerBytes = answer.byteLength
    return [Uint8Array.of(here), answer]
  }, { ...fetchLimits, holding: { budget, answerBytes: fetchLimits.maxAnswerBytes } })
}

async function found (cid: Cid, sources: FetchParts['sources'], signal: AbortSignal): Promise<Uint8Array | undefined> {
  for (const source of sources) {
    try {
      return await source.get(cid, { signal })
    } catch (error) {
      // absent or rotten here: the asker goes to another holder; the store has set the rotten one aside and told
      if (!(error instanceof NotFound) && !(error instanceof Corrupt)) throw error
    }
  }
  return undefined
}

/** The whole block, its bytes checked against the CID, lent (base/lease.ts). @throws PeerUnreachable, RequestRefused; BlockCorrupt if the peer lies */
export async function fetchFrom (requests: Requests, peer: PeerId, cid: Cid, { signal }: { signal?: AbortSignal }): Promise<Uint8Array | 'not here'> {
  const { timeoutMs, maxAnswerBytes } = fetchLimits
  const answer = await requests.request(peer, fetchProtocol, [digestOf(cid)], { signal, timeoutMs, maxAnswerBytes })
  if (answer.byteLength === 1 && answer[0] === notHere) return 'not here'
  const block = answer.subarray(1)
  if (answer[0] !== here || cidOf(block) !== cid) throw new BlockCorrupt(cid, { cause: new Error(`${peer} sent other bytes`) })
  return lend(block)
}

