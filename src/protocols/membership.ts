import { type ByteReader, type ByteWriter, equals, MalformedBytes } from '../base/bytes.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import { type Certificate, encodeCertificate, type Era, eraLimits, isByAuthority, isEraByRight, isInEra, isSameEra, mergedEra, readCertificate, readEra, statementLimits, type Verdict, verdictOf, writeEra } from '../cluster/index.ts'

/** What a node shows to prove that it belongs: its certificate and the era it knows. */
export interface Credentials {
  readonly certificate: Certificate
  readonly era: Era
}

/** Whether a peer, proven by its connection, belongs. Adopts a higher era that comes with valid credentials. Rejects when that could not be found out. */
export type Verify = (peer: PeerId, credentials: Credentials) => Promise<Verdict>

/** Where the check finds what this node knows. */
export interface MembershipSources {
  readonly clusterId: Uint8Array
  readonly authority: Uint8Array
  era (): Era
  /** Makes a merged era durable, closes sessions of who left. */
  adopt (era: Era): Promise<void>
  /** Adopts the era that a majority of voters has, if that can be found out; this peer shows one that is not known here. */
  askVoters (peer: PeerId, shown: Era): Promise<void>
  /** H of the member statement in the members row of this key: from the row as this node has it, else from the voters. Undefined: no such row. */
  memberRowHash (peerKey: Uint8Array): Promise<Uint8Array | undefined>
}

/** The check that hello makes of either side. */
export const membershipCheck = (sources: MembershipSources): Verify => async (peer, { certificate, era: shown }) => {
  const { clusterId, authority } = sources
  if (!equals(certificate.member.subject, keyOf(peer))) return { isValid: false, why: 'a certificate of another peer' }
  const era = await risenEra(sources, peer, shown)
  if (era === undefined) return { isValid: false, why: 'an era by nobody in the chain' }
  // a chain that anybody can make for himself is not worth a majority's answer
  const chain = verdictOf(certificate, { clusterId, authority, era, memberRowHash: 'unchecked' })
  if (!chain.isValid) return chain
  const memberRowHash = isInEra(certificate, era) ? undefined : await sources.memberRowHash(certificate.member.subject)
  const verdict = verdictOf(certificate, { clusterId, authority, era, memberRowHash })
  if (verdict.isValid && !isSameEra(mergedEra(era, sources.era()), sources.era())) await sources.adopt(mergedEra(era, sources.era()))
  // whom another era has put out meanwhile had no session yet that could be ended
  return isSameEra(era, sources.era()) ? verdict : verdictOf(certificate, { clusterId, authority, era: sources.era(), memberRowHash })
}

/**
 * What holds if the shown era is believed; one that changes nothing here needs no right of its own. The authority's word is believed at once. An admin's is
 * not: a removed one could show an era of its own making to whoever has not heard of its removal. It is asked of a majority of voters, and while
 * that cannot be had the peer is looked at under the era known here.
 */
async function risenEra (sources: MembershipSources, peer: PeerId, shown: Era): Promise<Era | undefined> {
  const { clusterId, authority } = sources
  const current = sources.era()
  if (shown.number < current.number || isSameEra(shown, current)) return current
  if (!isEraByRight(shown, { clusterId, authority })) return undefined
  if (!isByAuthority(shown, authority)) {
    await sources.askVoters(peer, shown)
    return sources.era()
  }
  try { return mergedEra(current, shown) } catch (error) {
    if (error instanceof MalformedBytes) return undefined
    throw error
  }
}

export const credentialLimits = {
  /** A certificate, and as many era and admin statements as one era may have. */
  maxBytes: 2048 + eraLimits.maxStatements * (4 + statementLimits.maxEraBytes) + (eraLimits.maxStatements + eraLimits.maxAdmins) * (4 + statementLimits.maxBytes),
} as const

/** `certificate | u8 count, count × (u32 length, era statement)`. */
export function writeCredentials (writer: ByteWriter, { certificate, era }: Credentials): ByteWriter {
  writer.raw(encodeCertificate(certificate))
  return writeEra(writer, era)
}

/** @throws MalformedBytes */
export const readCredentials = (reader: ByteReader): Credentials => ({ certificate: readCertificate(reader), era: readEra(reader) })
