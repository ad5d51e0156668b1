import { ByteReader, ByteWriter, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Certificate, memberLimits, type Role } from '../cluster/index.ts'
import { PeerUnreachable, type Requests } from '../network/index.ts'
import { credentialLimits, type Credentials, readCredentials, type Verify, writeCredentials } from './membership.ts'

/**
 * Two nodes prove to each other that they belong to one cluster. The initiator shows itself first; the responder shows nothing, not even why,
 * to whoever is no member: a stranger that tries learns only that something answers here.
 */
export const helloId = '/dfs/hello/1.0.0'

export const helloLimits = {
  maxBytes: credentialLimits.maxBytes + 8 * 1024,
  /** A peer greets once a connection; one more for a race of two. */
  maxConcurrent: 2,
  maxVersions: 16,
  maxCapabilities: 32,
  /** A few round trips and the reading of a row. */
  timeoutMs: 10_000,
} as const

/** A row store, and how far its journal is on disk. */
export interface StorePosition {
  /** 16 bytes. */
  readonly id: Uint8Array
  readonly position: bigint
}

/** What this node says of itself, and of whom it greets. Asked afresh for every greeting. */
export interface Introduction extends Credentials {
  /** Versions of the protocols between nodes that this node speaks. */
  readonly versions: readonly number[]
  /** Names of optional abilities; unknown ones are ignored. */
  readonly capabilities: readonly string[]
  readonly freeBytes: number
  readonly layoutVersion: bigint
  /** Binary multiaddrs under which it listens. */
  readonly addresses: readonly Uint8Array[]
  readonly store: StorePosition
  /** The most that it has seen of the row store of whom it greets: who has less than that has forgotten. Undefined: it has seen none. */
  readonly yours: StorePosition | undefined
}

/** What a peer proved and said. */
export interface Greeting {
  readonly peer: PeerId
  readonly certificate: Certificate
  readonly role: Role
  readonly zone: string
  /** The highest that both speak. */
  readonly version: number
  readonly capabilities: readonly string[]
  readonly freeBytes: number
  readonly era: number
  readonly layoutVersion: bigint
  readonly addresses: readonly Uint8Array[]
  readonly store: StorePosition
  /** Of this node's store. */
  readonly yours: StorePosition | undefined
}

export interface HelloOptions {
  /** `shown`: the store that the peer has just shown. */
  self (peer: PeerId, shown?: StorePosition): Introduction
  readonly verify: Verify
  /** A peer has greeted us and is a member: admit it. Resolves before the answer goes out, so the peer's next request is served. */
  greeted (greeting: Greeting): void | Promise<void>
  /** A peer has greeted us and is no member, or could not be looked at. Resolves before it hears so, for then it hangs up. */
  refused? (peer: PeerId): Promise<void>
}

export interface Hello {
  register (requests: Requests): Promise<void>
  /**
   * Greets a peer. When it resolves both sides have verified each other.
   * @throws RequestRefused (it does not take us for a member, or no common version), Refused (we do not take it for one), PeerUnreachable
   */
  greet (peer: PeerId, options?: { signal?: AbortSignal }): Promise<Greeting>
}

const uniformRefusal = 'no'

export function helloProtocol (options: HelloOptions): Hello {
  let network: Requests | undefined

  async function answer (peer: PeerId, body: Uint8Array): Promise<readonly Uint8Array[]> {
    const theirs = await verified(peer, body, options.verify).catch(async (cause: unknown) => {
      await options.refused?.(peer)
      throw new Refused(uniformRefusal, { cause })
    })
    const ours = options.self(peer, theirs.store)
    await options.greeted(greetingOf(peer, theirs, commonVersion(ours, theirs)))
    return [encodeIntroduction(ours)]
  }

  return {
    async register (requests) {
      network = requests
      await requests.handle(helloId, answer, { maxRequestBytes: helloLimits.maxBytes, maxConcurrent: helloLimits.maxConcurrent, strangers: true })
    },
    async greet (peer, { signal } = {}) {
      if (network === undefined) throw new PeerUnreachable(peer, 'hello is not registered')
      const ours = options.self(peer)
      const answered = await network.request(peer, helloId, [encodeIntroduction(ours)], { signal, timeoutMs: helloLimits.timeoutMs, maxAnswerBytes: helloLimits.maxBytes })
      const theirs = await verified(peer, answered, options.verify)
      return greetingOf(peer, theirs, commonVersion(ours, theirs))
    },
  }
}

async function verified (peer: PeerId, bytes: Uint8Array, verify: Verify): Promise<Introduction> {
  let theirs: Introduction
  try { theirs = parseIntroduction(bytes) } catch (cause) { throw new Refused('a greeting that cannot be read', { cause }) }
  const verdict = await verify(peer, theirs)
  if (!verdict.isValid) throw new Refused(`${peer} is not a member: ${verdict.why}`)
  return theirs
}

function commonVersion (ours: Introduction, theirs: Introduction): number {
  const common = ours.versions.filter((version) => theirs.versions.includes(version))
  if (common.length === 0) throw new Refused(`no common version: ${ours.versions.join(', ')} here, ${theirs.versions.join(', ')} there`)
  return Math.max(...common)
}

function greetingOf (peer: PeerId, { certificate, era, capabilities, freeBytes, layoutVersion, addresses, store, yours }: Introduction, version: number): Greeting {
  return { peer, certificate, role: certificate.member.role, zone: certificate.member.zone, version, capabilities, freeBytes, era: era.number, layoutVersion, addresses, store, yours }
}

const introductionVersion = 2

/**
 * `02 | credentials | u8 n, n × u16 version | u8 n, n × (u8, capability) | u64 free bytes | u64 layout version | u8 n, n × (u8, multiaddr) | store | ?store`,
 * store = id(16) | u64 position; ?x is u8 0, or u8 1 | x.
 */
export function encodeIntroduction (introduction: Introduction): Uint8Array {
  const { versions, capabilities, freeBytes, layoutVersion, addresses, store, yours } = introduction
  const writer = writeCredentials(new ByteWriter().u8(introductionVersion), introduction).u8(versions.length)
  for (const version of versions) writer.u16(version)
  writer.u8(capabilities.length)
  for (const capability of capabilities) writer.short(utf8(capability))
  writer.u64(freeBytes).u64(layoutVersion).u8(Math.min(addresses.length, memberLimits.maxAddresses))
  for (const address of addresses.slice(0, memberLimits.maxAddresses)) writer.short(address)
  writer.raw(store.id).u64(store.position).u8(yours === undefined ? 0 : 1)
  if (yours !== undefined) writer.raw(yours.id).u64(yours.position)
  return writer.finish()
}

/** @throws MalformedBytes */
export function parseIntroduction (bytes: Uint8Array): Introduction {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== introductionVersion) throw new MalformedBytes('unknown version of a greeting')
  const credentials = readCredentials(reader)
  const versions = readList(reader, helloLimits.maxVersions, () => reader.u16())
  const capabilities = readList(reader, helloLimits.maxCapabilities, () => nameOf(reader.short()))
  const [freeBytes, layoutVersion] = [reader.u64(), reader.u64()]
  if (freeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes('more free bytes than any disk has')
  const addresses = readList(reader, memberLimits.maxAddresses, () => reader.short())
  const store = readStore(reader)
  const hasYours = reader.u8()
  if (hasYours > 1) throw new MalformedBytes('neither a store nor none')
  const yours = hasYours === 0 ? undefined : readStore(reader)
  reader.end()
  return { ...credentials, versions, capabilities, freeBytes: Number(freeBytes), layoutVersion, addresses, store, yours }
}

const readStore = (reader: ByteReader): StorePosition => ({ id: reader.raw(16).slice(), position: reader.u64() })

function readList<T> (reader: ByteReader, limit: number, read: () => T): readonly T[] {
  const count = reader.u8()
  if (count > limit) throw new MalformedBytes(`a list of ${count} exceeds ${limit}`)
  return Array.from({ length: count }, read)
}

function nameOf (bytes: Uint8Array): string {
  try { return textOf(bytes) } catch (cause) { throw new MalformedBytes('a capability is UTF-8', { cause }) }
}
