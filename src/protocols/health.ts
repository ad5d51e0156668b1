import { ByteReader, ByteWriter, fromHex, hexOf, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'

/**
 * `/dfs/health/1.0.0`: how a node is, and which versions of objects it knows to be at risk, so that any node can tell one number for the cluster.
 *
 * question = 01
 * answer   = 01 | u64 ms since the epoch | u8 flags | u8 length, software version | u32 short blocks | u16 n | n × first 8 of a version id
 * flags    : 1 it has looked at everything since its start, under the layout that it knows; 2 more is at risk than it lists; 4 it holds blocks; 8 its repair is paused; 16 it has scrubbed once; 32 its scrub is paused
 *
 * The clock is told to people, and decides nothing. A version id is public to all who hold its blocks; 8 bytes tell versions apart.
 */
export const healthProtocol = '/dfs/health/1.0.0'

export const healthLimits = {
  maxVersions: 10_000,
  maxVersionText: 64,
  timeoutMs: 5000,
  /** From one peer at once. */
  maxConcurrent: 4,
  maxRequestBytes: 16,
  maxAnswerBytes: 96 * 1024,
} as const

export interface Health {
  /** By that node's clock. */
  readonly wallMs: number
  readonly hasSurveyed: boolean
  /** More versions are at risk than are listed. */
  readonly isTruncated: boolean
  readonly holdsBlocks: boolean
  readonly isRepairPaused: boolean
  readonly hasScrubbed: boolean
  readonly isScrubPaused: boolean
  readonly softwareVersion: string
  readonly shortBlocks: number
  /** The first 8 bytes of each, hexadecimal; at most `maxVersions`. */
  readonly versionsAtRisk: readonly string[]
}

const formatVersion = 1
const versionLength = 8
const flagNames = ['hasSurveyed', 'isTruncated', 'holdsBlocks', 'isRepairPaused', 'hasScrubbed', 'isScrubPaused'] as const

/** Answers members from now on. */
export async function serveHealth (requests: Requests, health: () => Health): Promise<void> {
  const { maxRequestBytes, maxConcurrent } = healthLimits
  await requests.handle(healthProtocol, async (_peer, body) => {
    if (body.byteLength !== 1 || body[0] !== formatVersion) throw new MalformedBytes('a question about health that is none')
    return [encodeHealth(health())]
  }, { maxRequestBytes, maxConcurrent })
}

/** @throws PeerUnreachable, RequestRefused (a node from before there was this question), Corrupt */
export async function healthAt (requests: Requests, peer: PeerId, { signal }: { signal?: AbortSignal }): Promise<Health> {
  const { timeoutMs, maxAnswerBytes } = healthLimits
  const answer = await requests.request(peer, healthProtocol, [Uint8Array.of(formatVersion)], { signal, timeoutMs, maxAnswerBytes })
  try { return decodeHealth(answer) } catch (cause) { throw new Corrupt(`${peer} told of its health something unreadable`, { cause }) }
}

export function encodeHealth (health: Health): Uint8Array {
  const listed = health.versionsAtRisk.slice(0, healthLimits.maxVersions)
  const told = { ...health, isTruncated: health.isTruncated || listed.length < health.versionsAtRisk.length }
  const flags = flagNames.reduce((bits, name, i) => told[name] ? bits | 1 << i : bits, 0)
  const writer = new ByteWriter().u8(formatVersion).u64(Math.max(0, Math.round(health.wallMs))).u8(flags).short(utf8(health.softwareVersion.slice(0, healthLimits.maxVersionText))).u32(health.shortBlocks).u16(listed.length)
  for (const version of listed) writer.raw(fromHex(version))
  return writer.finish()
}

/** @throws MalformedBytes */
export function decodeHealth (bytes: Uint8Array): Health {
  const reader = new ByteReader(bytes)
  const is = reader.u8()
  if (is !== formatVersion) throw new MalformedBytes(`health of version ${is}`)
  const [wallMs, flags, softwareVersion, shortBlocks, count] = [Number(reader.u64()), reader.u8(), textOf(reader.short()), reader.u32(), reader.u16()]
  if (flags >>> flagNames.length !== 0) throw new MalformedBytes(`flags ${flags}`)
  // it is shown to people
  if (softwareVersion.length > healthLimits.maxVersionText || !/^[\w.+-]*$/.test(softwareVersion)) throw new MalformedBytes('no software version')
  if (count > healthLimits.maxVersions) throw new MalformedBytes(`${count} versions at risk`)
  const versionsAtRisk = Array.from({ length: count }, () => hexOf(reader.raw(versionLength)))
  reader.end()
  const flag = Object.fromEntries(flagNames.map((name, i) => [name, (flags >>> i & 1) === 1])) as Record<typeof flagNames[number], boolean>
  return { wallMs, ...flag, softwareVersion, shortBlocks, versionsAtRisk }
}

/** A version id as it is told here. */
export const toldVersion = (versionId: string): string => versionId.slice(0, 2 * versionLength)
