import { ByteReader, ByteWriter, MalformedBytes } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'

/**
 * `/dfs/conversion/1.0.0`: how far a member has come with what it looks after of buckets whose redundancy was changed. Told to people, and decides nothing.
 *
 * question = 01
 * answer   = 01 | u8 flags | u32 surveyed | u64 versions left | u64 bytes left | u64 bytes done | u64 bytes in all | u64 ms left
 * flags    : 1 it is paused; 2 there is more than it counted
 * ms left  : that it expects to need for what is left; all ones: it cannot say
 * surveyed : of what the buckets were set to when it last looked at everything; 0: not yet since its start
 */
export const conversionProtocol = '/dfs/conversion/1.0.0'

export const conversionAnswerLimits = {
  timeoutMs: 5000,
  /** From one peer at once. */
  maxConcurrent: 4,
  maxRequestBytes: 16,
  maxAnswerBytes: 64,
} as const

export interface ToldConversion {
  readonly isPaused: boolean
  readonly isAtLeast: boolean
  readonly surveyed: number
  readonly leftVersions: number
  readonly leftBytes: number
  readonly doneBytes: number
  readonly totalBytes: number
  /** Undefined: it cannot say. */
  readonly etaMs: number | undefined
}

const formatVersion = 1
const unknown = (1n << 64n) - 1n

/** Answers members from now on. */
export async function serveConversion (requests: Requests, told: () => ToldConversion): Promise<void> {
  const { maxRequestBytes, maxConcurrent } = conversionAnswerLimits
  await requests.handle(conversionProtocol, async (_peer, body) => {
    if (body.byteLength !== 1 || body[0] !== formatVersion) throw new MalformedBytes('a question about conversion that is none')
    return [encodeTold(told())]
  }, { maxRequestBytes, maxConcurrent })
}

/** @throws PeerUnreachable, RequestRefused (a node from before there was this question), Corrupt */
export async function conversionAt (requests: Requests, peer: PeerId, { signal }: { signal?: AbortSignal }): Promise<ToldConversion> {
  const { timeoutMs, maxAnswerBytes } = conversionAnswerLimits
  const answer = await requests.request(peer, conversionProtocol, [Uint8Array.of(formatVersion)], { signal, timeoutMs, maxAnswerBytes })
  try { return decodeTold(answer) } catch (cause) { throw new Corrupt(`${peer} told of its conversion something unreadable`, { cause }) }
}

export function encodeTold ({ isPaused, isAtLeast, surveyed, leftVersions, leftBytes, doneBytes, totalBytes, etaMs }: ToldConversion): Uint8Array {
  const writer = new ByteWriter().u8(formatVersion).u8((isPaused ? 1 : 0) | (isAtLeast ? 2 : 0)).u32(surveyed)
  for (const count of [leftVersions, leftBytes, doneBytes, totalBytes]) writer.u64(Math.round(count))
  return writer.u64(etaMs === undefined ? unknown : Math.round(etaMs)).finish()
}

/** @throws MalformedBytes */
export function decodeTold (bytes: Uint8Array): ToldConversion {
  const reader = new ByteReader(bytes)
  const [is, flags, surveyed] = [reader.u8(), reader.u8(), reader.u32()]
  if (is !== formatVersion || flags > 3) throw new MalformedBytes(`a conversion of version ${is}, flags ${flags}`)
  const [leftVersions, leftBytes, doneBytes, totalBytes] = [reader.u64(), reader.u64(), reader.u64(), reader.u64()].map(Number) as [number, number, number, number]
  const left = reader.u64()
  reader.end()
  if (![leftVersions, leftBytes, doneBytes, totalBytes, ...left === unknown ? [] : [Number(left)]].every(Number.isSafeInteger)) throw new MalformedBytes('a conversion of more than there can be')
  return { isPaused: (flags & 1) !== 0, isAtLeast: (flags & 2) !== 0, surveyed, leftVersions, leftBytes, doneBytes, totalBytes, etaMs: left === unknown ? undefined : Number(left) }
}
