import { ByteReader, ByteWriter, concat, fromHex, hexOf, MalformedBytes } from '../base/bytes.ts'
import { type Cid, digestOf } from '../base/cid.ts'
import { Corrupt, NotFound } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Shards } from '../blockstore/index.ts'
import { decodeShard, encodeShard, listLength, maxShardHeadBytes, type Shard, shardBytesOf, shardLimits, type ShardName } from '../blockstore/shard.ts'
import type { Requests } from '../network/index.ts'
import type { FoundShard, WantedShard } from '../replication/index.ts'
import { fetchLimits, fetchProtocol } from './fetch.ts'

/** What /dfs/fetch says of shards; the bytes are told in fetch.ts. */
const [notHere, here, anyIndex, anyCode] = [0, 1, 0xff, 0]

export function readWanted (cid: Cid, reader: ByteReader): WantedShard {
  const [k, m, index] = [reader.u8(), reader.u8(), reader.u8()]
  const not: string[] = []
  while (reader.remaining > 0) not.push(hexOf(reader.raw(listLength)))
  if (not.length > fetchLimits.maxLists) throw new MalformedBytes(`a question that names ${not.length} lists`)
  return { cid, redundancy: k === anyCode ? undefined : { k, m }, index: index === anyIndex ? undefined : index, not }
}

/** The answer, in parts. What is rotten is as if it were not here; an error of the disk is thrown, for the shard may well be here. */
export async function answerWithShard (shards: Pick<Shards, 'get' | 'of'>, wanted: WantedShard): Promise<readonly Uint8Array[]> {
  const names = await fitting(shards, wanted)
  for (const [at, name] of names.entries()) {
    const shard = await shards.get(name).catch((error: unknown) => { if (error instanceof NotFound || error instanceof Corrupt) return undefined; throw error })
    if (shard === undefined) continue
    const bits = names.slice(at).filter(({ k, m }) => k === shard.k && m === shard.m).reduce((sum, { index }) => (sum | 1 << index) >>> 0, 0)
    return [new ByteWriter().u8(here).u32(bits).finish(), ...encodeShard(shard)]
  }
  return [Uint8Array.of(notHere)]
}

/** The one that is wished for first. */
async function fitting (shards: Pick<Shards, 'of'>, { cid, redundancy, index, not }: WantedShard): Promise<readonly ShardName[]> {
  const names: ShardName[] = []
  for await (const name of shards.of(cid)) if ((redundancy === undefined || (name.k === redundancy.k && name.m === redundancy.m)) && !not.includes(name.list)) names.push(name)
  return names.sort((a, b) => Number(b.index === index) - Number(a.index === index))
}

/** A shard of the block, right by its own hash. Its list may yet be false. @throws PeerUnreachable, RequestRefused; Corrupt if the peer lies */
export async function fetchShardFrom (requests: Requests, peer: PeerId, wanted: WantedShard, { signal }: { signal?: AbortSignal }): Promise<FoundShard | 'not here'> {
  const { cid, redundancy, index, not } = wanted
  const question = concat([digestOf(cid), Uint8Array.of(redundancy?.k ?? anyCode, redundancy?.m ?? anyCode, index ?? anyIndex), ...not.slice(0, fetchLimits.maxLists).map(fromHex)])
  const answer = await requests.request(peer, fetchProtocol, [question], { signal, timeoutMs: fetchLimits.timeoutMs, maxAnswerBytes: answerBytesOf(wanted) })
  if (answer.byteLength === 1 && answer[0] === notHere) return 'not here'
  try {
    const reader = new ByteReader(answer)
    if (reader.u8() !== here) throw new MalformedBytes('an answer of an unknown kind')
    const bits = reader.u32()
    const shard = decodeShard(reader.rest())
    if (!isWanted(shard, wanted)) throw new MalformedBytes('another shard than was asked for')
    return { shard, others: Array.from({ length: shard.k + shard.m }, (_, i) => i).filter((i) => (bits >>> i & 1) === 1) }
  } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Corrupt(`${peer} sent something else than a shard of block ${cid}`, { cause })
    throw cause
  }
}

const isWanted = (shard: Shard, { cid, redundancy, not }: WantedShard): boolean =>
  shard.cid === cid && !not.includes(shard.list) && (redundancy === undefined || (shard.k === redundancy.k && shard.m === redundancy.m))

/** What an answer may be as long as: what waits for its memory, waits for no more than this. */
export const answerBytesOf = ({ redundancy }: Pick<WantedShard, 'redundancy'>): number =>
  8 + maxShardHeadBytes + shardBytesOf({ blockLength: shardLimits.maxBlockBytes, k: redundancy?.k ?? 1 })
