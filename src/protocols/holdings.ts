import { ByteReader, ByteWriter, MalformedBytes, partitionCount } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'

/**
 * `/dfs/holdings/1.0.0`: what a node has of blocks, how much more it would take, and how far it is in bringing them where the layout has them; so that any member can say beforehand what a change
 * would move, and afterwards when it is done.
 *
 * question = 01 | u8 (0 sums, 1 and bytes by partition)
 * answer   = 01 | u64 version of the layout it has looked at everything under (0 none) | u8 flags | u64 held | u64 limit (all ones: none) | u64 room on the disk | u64 misplaced | u64 left | u32 short blocks | u16 n | n × (u16 partition | u64 bytes of copies | u64 bytes of shards)
 * flags    : 1 it holds blocks; 2 nothing is left to do that it knows of; 4 something went wrong with the last of it
 */
export const holdingsProtocol = '/dfs/holdings/1.0.0'

export const holdingsLimits = {
  /** As long as it may count, and some more. */
  timeoutMs: 10_000,
  /** From one peer at once: counting reads the index. */
  maxConcurrent: 1,
  maxRequestBytes: 16,
  maxAnswerBytes: 64 + partitionCount * 18,
} as const

export interface Holdings {
  /** The version of the layout under which it last looked at everything. 0: it has not since its start. */
  readonly surveyedVersion: bigint
  readonly holdsBlocks: boolean
  /** Nothing is left to do that it knows of. */
  readonly isAtRest: boolean
  /** What was left could not all be done: a peer had no room, or did not answer. */
  readonly hasFailures: boolean
  readonly heldBytes: number
  /** So many it takes in all; undefined: what the disk has. */
  readonly limitBytes: number | undefined
  /** So much more than the reserve its disk has free. */
  readonly roomBytes: number
  /** Lies here and belongs elsewhere. */
  readonly misplacedBytes: number
  /** Of the work that it has listed, not done yet. */
  readonly leftBytes: number
  /** Blocks of which it sees fewer copies than there should be. */
  readonly shortBlocks: number
  /** By partition, of those that were counted. */
  readonly partitions: ReadonlyMap<number, { readonly copies: number, readonly shards: number }>
}

const formatVersion = 1
const noLimit = 2n ** 64n - 1n
const flagNames = ['holdsBlocks', 'isAtRest', 'hasFailures'] as const

/** Answers members from now on. */
export async function serveHoldings (requests: Requests, holdings: (options: { byPartition: boolean, signal: AbortSignal }) => Promise<Holdings>): Promise<void> {
  const { maxRequestBytes, maxConcurrent } = holdingsLimits
  await requests.handle(holdingsProtocol, async (_peer, body, { signal }) => {
    if (body.byteLength !== 2 || body[0] !== formatVersion || (body[1] ?? 2) > 1) throw new MalformedBytes('a question about holdings that is none')
    return [encodeHoldings(await holdings({ byPartition: body[1] === 1, signal }))]
  }, { maxRequestBytes, maxConcurrent })
}

/** @throws PeerUnreachable, RequestRefused (a node from before there was this question), Corrupt */
export async function holdingsAt (requests: Requests, peer: PeerId, { byPartition, signal }: { byPartition: boolean, signal?: AbortSignal }): Promise<Holdings> {
  const { timeoutMs, maxAnswerBytes } = holdingsLimits
  const answer = await requests.request(peer, holdingsProtocol, [Uint8Array.of(formatVersion, byPartition ? 1 : 0)], { signal, timeoutMs, maxAnswerBytes })
  try { return decodeHoldings(answer) } catch (cause) { throw new Corrupt(`${peer} told of its holdings something unreadable`, { cause }) }
}

export function encodeHoldings (holdings: Holdings): Uint8Array {
  const { surveyedVersion, heldBytes, limitBytes, roomBytes, misplacedBytes, leftBytes, shortBlocks, partitions } = holdings
  const writer = new ByteWriter().u8(formatVersion).u64(surveyedVersion).u8(flagNames.reduce((bits, name, i) => holdings[name] ? bits | 1 << i : bits, 0))
  writer.u64(heldBytes).u64(limitBytes ?? noLimit).u64(roomBytes).u64(misplacedBytes).u64(leftBytes).u32(shortBlocks).u16(partitions.size)
  for (const [partition, { copies, shards }] of partitions) writer.u16(partition).u64(copies).u64(shards)
  return writer.finish()
}

/** @throws MalformedBytes */
export function decodeHoldings (bytes: Uint8Array): Holdings {
  const reader = new ByteReader(bytes)
  const is = reader.u8()
  if (is !== formatVersion) throw new MalformedBytes(`holdings of version ${is}`)
  const [surveyedVersion, flags, heldBytes, limitBytes, roomBytes, misplacedBytes, leftBytes, shortBlocks, count] = [reader.u64(), reader.u8(), sizeIn(reader), limitIn(reader), sizeIn(reader), sizeIn(reader), sizeIn(reader), reader.u32(), reader.u16()]
  if (flags >>> flagNames.length !== 0) throw new MalformedBytes(`flags ${flags}`)
  if (count > partitionCount) throw new MalformedBytes(`${count} partitions`)
  const partitions = new Map<number, { copies: number, shards: number }>()
  for (let i = 0; i < count; i++) {
    const partition = reader.u16()
    if (partition >= partitionCount || partitions.has(partition)) throw new MalformedBytes(`partition ${partition}, or twice`)
    partitions.set(partition, { copies: sizeIn(reader), shards: sizeIn(reader) })
  }
  reader.end()
  const flag = Object.fromEntries(flagNames.map((name, i) => [name, (flags >>> i & 1) === 1])) as Record<typeof flagNames[number], boolean>
  return { surveyedVersion, ...flag, heldBytes, limitBytes, roomBytes, misplacedBytes, leftBytes, shortBlocks, partitions }
}

const sizeIn = (reader: ByteReader): number => sizeOf(reader.u64())

function limitIn (reader: ByteReader): number | undefined {
  const limit = reader.u64()
  return limit === noLimit ? undefined : sizeOf(limit)
}

function sizeOf (size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes('more bytes than any disk has')
  return Number(size)
}
