import { decode, encode } from 'cborg'
import { equals, MalformedBytes } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { withDigest, withoutDigest } from '../base/hash.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Certificate, closing, describeMember, encodeCertificate, encodeLayout, encodeMemberRow, type Era, eraOf, eraPartOf, hashOfStatement, isDeclaredByRight, isSameEra, isSuccessor, type Layout, type MemberRow, mergedEra, parseCertificate, parseLayout, parseMemberRow, parseStatement, roles, statementsOfEra, verdictOf } from '../cluster/index.ts'
import type { Files } from '../disk/index.ts'

/** What this node knows of its cluster, public and durable: who it is in it, who else, and who decides. */
export interface ClusterFacts {
  /** 16 bytes. */
  readonly clusterId: Uint8Array
  /** Ed25519 key, 32 bytes. */
  readonly authority: Uint8Array
  readonly certificate: Certificate
  readonly era: Era
  readonly layout: Layout
  readonly members: readonly MemberRow[]
}

const path = 'cluster'
const formatVersion = 2

/**
 * The facts of a node, as they are on disk: a layout that was seen here before it is there could be answered under, and forgotten by a crash. Changes are
 * made one after the other, each of what the one before has left.
 */
export class ClusterState {
  readonly #files: Files
  #facts: ClusterFacts
  #members: ReadonlyMap<PeerId, MemberRow>
  #belonging: ReadonlySet<PeerId>
  #encodedLayout: Uint8Array
  #changing: Promise<void> = Promise.resolve()

  constructor (files: Files, facts: ClusterFacts) {
    this.#files = files
    this.#facts = facts
    this.#members = byPeer(facts.members)
    this.#belonging = belongingIn(facts)
    this.#encodedLayout = encodeLayout(facts.layout)
  }

  get clusterId (): Uint8Array { return this.#facts.clusterId }
  get authority (): Uint8Array { return this.#facts.authority }
  get certificate (): Certificate { return this.#facts.certificate }
  get era (): Era { return this.#facts.era }
  get layout (): Layout { return this.#facts.layout }
  get encodedLayout (): Uint8Array { return this.#encodedLayout }
  get members (): ReadonlyMap<PeerId, MemberRow> { return this.#members }

  /** Whether the era has this peer, as its members row shows it. */
  belongs (peer: PeerId): boolean { return this.#belonging.has(peer) }

  /** Everybody who belongs, and of the layout also those whose members row is not known here yet. */
  expected (): ReadonlySet<PeerId> {
    return new Set([...this.#belonging, ...this.#facts.layout.members.map(({ peerId }) => peerId).filter((peer) => !this.#members.has(peer))])
  }

  /** Belongs and holds the data key, so may propose. */
  isMember (peer: PeerId): boolean { return this.belongs(peer) && this.wasMember(peer) }

  /** Holds the data key now, or did when what it signed was chosen: a row does not fall with whoever proposed it last. */
  wasMember (peer: PeerId): boolean { return this.#members.get(peer)?.certificate.member.role === roles.member }

  memberHash (peer: PeerId): Uint8Array | undefined {
    const row = this.#members.get(peer)
    return row === undefined ? undefined : hashOfStatement(row.certificate.member)
  }

  /** What holds after hearing of this era too; eras only rise. */
  async adoptEra (era: Era): Promise<void> {
    await this.#change((facts) => {
      const merged = mergedEra(facts.era, era)
      return isSameEra(merged, facts.era) ? facts : { ...facts, era: merged }
    })
  }

  /** What is to be done, and on disk, before a layout is adopted. */
  beforeLayout: (layout: Layout) => Promise<void> = async () => {}

  /**
   * A layout of a higher version that follows from the one known; `isChosen`: or any, for whoever says so is known to speak of what was chosen, and some may
   * have been missed. One that was declared after a loss follows from none, and is believed by who declared it. @throws Corrupt if it does not follow
   */
  async adoptLayout (encoded: Uint8Array, { isChosen = false }: { isChosen?: boolean } = {}): Promise<void> {
    const layout = readLayout(encoded)
    await this.#change((facts) => {
      if (layout.version <= facts.layout.version) return facts
      if (layout.recovery !== undefined && !isDeclaredByRight(layout, facts)) throw new Corrupt(`layout ${layout.version} was declared by nobody who may`)
      if (layout.recovery === undefined && !isChosen && !follows(facts.layout, layout)) throw new Corrupt(`layout ${layout.version} does not follow from layout ${facts.layout.version}`)
      return { ...facts, layout }
    })
  }

  /** Acts while the layout of this version is gone by, and adopts none meanwhile. False: it is another already, and nothing was done. */
  async whileAt (version: bigint, act: () => Promise<void>): Promise<boolean> {
    const acting = this.#changing.then(async () => {
      if (this.#facts.layout.version !== version) return false
      await act()
      return true
    })
    this.#changing = acting.then(() => {}, () => {})
    return await acting
  }

  async remember (row: MemberRow): Promise<void> {
    const { peerId } = describeMember(row)
    await this.#change((facts) => {
      const members = byPeer(facts.members)
      const known = members.get(peerId)
      if (known !== undefined && equals(encodeMemberRow(known), encodeMemberRow(row))) return facts
      return { ...facts, members: [...members.set(peerId, row).values()] }
    })
  }

  async #change (next: (facts: ClusterFacts) => ClusterFacts): Promise<void> {
    const change = this.#changing.then(async () => {
      const facts = next(this.#facts)
      if (facts === this.#facts) return
      if (facts.layout !== this.#facts.layout) await this.beforeLayout(facts.layout)
      await writeFacts(this.#files, facts)
      if (facts.layout !== this.#facts.layout) this.#encodedLayout = encodeLayout(facts.layout)
      this.#members = byPeer(facts.members)
      if (facts.era !== this.#facts.era || facts.members !== this.#facts.members) this.#belonging = belongingIn(facts)
      this.#facts = facts
    })
    // whoever asked for a change that fails is told; the next one starts from what is on disk
    this.#changing = change.catch(() => {})
    await change
  }
}

const byPeer = (members: readonly MemberRow[]): Map<PeerId, MemberRow> => new Map(members.map((row) => [describeMember(row).peerId, row]))

function belongingIn ({ clusterId, authority, era, members }: ClusterFacts): ReadonlySet<PeerId> {
  const isValid = ({ certificate }: MemberRow): boolean => verdictOf(certificate, { clusterId, authority, era, memberRowHash: hashOfStatement(certificate.member) }).isValid
  return new Set(members.filter(isValid).map((row) => describeMember(row).peerId))
}

/** Whether `next` follows from `current` by the pure function, one step or two. */
export const follows = (current: Layout, next: Layout): boolean =>
  isSuccessor(current, next) || (current.state === 'open' && isSuccessor(closing(current), next))

export async function writeFacts (files: Files, { clusterId, authority, certificate, era, layout, members }: ClusterFacts): Promise<void> {
  const facts = encode([formatVersion, clusterId, authority, encodeCertificate(certificate), statementsOfEra(era).map(({ bytes }) => bytes), encodeLayout(layout), members.map(encodeMemberRow)])
  await files.writeDurable(path, [withDigest(facts)])
}

/** Whether this folder is a node's already. */
export const isNode = async (files: Files): Promise<boolean> => await files.size(path) !== undefined

/** Undefined if this folder is no node's yet. @throws Corrupt */
export async function readFacts (files: Files): Promise<ClusterFacts | undefined> {
  if (await files.size(path) === undefined) return undefined
  try {
    const [version, clusterId, authority, certificate, era, layout, members] = decode(checked(await files.read(path))) as [number, Uint8Array, Uint8Array, Uint8Array, Uint8Array[], Uint8Array, Uint8Array[]]
    if (version !== formatVersion) throw new MalformedBytes(`version ${version}`)
    return { clusterId, authority, certificate: parseCertificate(certificate), era: eraOf(era.map((bytes) => eraPartOf(parseStatement(bytes)))), layout: parseLayout(layout), members: members.map(parseMemberRow) }
  } catch (cause) {
    throw new Corrupt(`the file "${path}" in the data folder is damaged (${(cause as Error).message}); put back a copy of it, an older one will do`, { cause })
  }
}

// a key, a store id or a holder with another bit reads as well as the right one, and would have this node ask other voters than the others do
function checked (bytes: Uint8Array): Uint8Array {
  const facts = withoutDigest(bytes)
  if (facts === undefined) throw new MalformedBytes('its checksum does not fit')
  return facts
}

function readLayout (encoded: Uint8Array): Layout {
  try { return parseLayout(encoded) } catch (cause) { throw new Corrupt('a layout is not well-formed', { cause }) }
}
