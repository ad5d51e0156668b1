import { decode, encode } from 'cborg'
import { equals, MalformedBytes } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Certificate, closing, describeMember, encodeCertificate, encodeLayout, encodeMemberRow, type Era, eraOf, hashOfStatement, isSuccessor, type Layout, type MemberRow, parseCertificate, parseLayout, parseMemberRow, parseStatementOf, roles } from '../cluster/index.ts'
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
const formatVersion = 1

/** The facts of a node on disk; every change is durable before it is seen. */
export class ClusterState {
  readonly #files: Files
  #facts: ClusterFacts
  readonly #members: Map<PeerId, MemberRow>
  #encodedLayout: Uint8Array
  #saving: Promise<void> = Promise.resolve()

  constructor (files: Files, facts: ClusterFacts) {
    this.#files = files
    this.#facts = facts
    this.#members = new Map(facts.members.map((row) => [describeMember(row).peerId, row]))
    this.#encodedLayout = encodeLayout(facts.layout)
  }

  get clusterId (): Uint8Array { return this.#facts.clusterId }
  get authority (): Uint8Array { return this.#facts.authority }
  get certificate (): Certificate { return this.#facts.certificate }
  get era (): Era { return this.#facts.era }
  get layout (): Layout { return this.#facts.layout }
  get encodedLayout (): Uint8Array { return this.#encodedLayout }
  get members (): ReadonlyMap<PeerId, MemberRow> { return this.#members }

  /** Holds the data key, so may propose for sealed rows. */
  isMember (peer: PeerId): boolean { return this.#members.get(peer)?.certificate.member.role === roles.member }

  memberHash (peer: PeerId): Uint8Array | undefined {
    const row = this.#members.get(peer)
    return row === undefined ? undefined : hashOfStatement(row.certificate.member)
  }

  async adoptEra (era: Era): Promise<void> {
    this.#facts = { ...this.#facts, era }
    await this.#save()
  }

  /** A layout of a higher version that follows from the one known. @throws Corrupt if it does not follow */
  async adoptLayout (encoded: Uint8Array): Promise<void> {
    const layout = readLayout(encoded)
    if (layout.version <= this.layout.version) return
    if (!follows(this.layout, layout)) throw new Corrupt(`layout ${layout.version} does not follow from layout ${this.layout.version}`)
    this.#facts = { ...this.#facts, layout }
    this.#encodedLayout = encoded.slice()
    await this.#save()
  }

  async remember (row: MemberRow): Promise<void> {
    const { peerId } = describeMember(row)
    const known = this.#members.get(peerId)
    if (known !== undefined && equals(encodeMemberRow(known), encodeMemberRow(row))) return
    this.#members.set(peerId, row)
    await this.#save()
  }

  // one after the other: the last one written is the last one made
  async #save (): Promise<void> {
    const saving = this.#saving.catch(() => {}).then(async () => { await writeFacts(this.#files, { ...this.#facts, members: [...this.#members.values()] }) })
    this.#saving = saving
    await saving
  }
}

/** Whether `next` follows from `current` by the pure function, one step or two. */
export const follows = (current: Layout, next: Layout): boolean =>
  isSuccessor(current, next) || (current.state === 'open' && isSuccessor(closing(current), next))

export async function writeFacts (files: Files, { clusterId, authority, certificate, era, layout, members }: ClusterFacts): Promise<void> {
  await files.writeDurable(path, [encode([formatVersion, clusterId, authority, encodeCertificate(certificate), era.statements.map(({ bytes }) => bytes), encodeLayout(layout), members.map(encodeMemberRow)])])
}

/** Undefined if this folder is no node's yet. @throws Corrupt */
export async function readFacts (files: Files): Promise<ClusterFacts | undefined> {
  if (await files.size(path) === undefined) return undefined
  try {
    const [version, clusterId, authority, certificate, era, layout, members] = decode(await files.read(path)) as [number, Uint8Array, Uint8Array, Uint8Array, Uint8Array[], Uint8Array, Uint8Array[]]
    if (version !== formatVersion) throw new MalformedBytes(`version ${version}`)
    return { clusterId, authority, certificate: parseCertificate(certificate), era: eraOf(era.map((bytes) => parseStatementOf('era', bytes))), layout: parseLayout(layout), members: members.map(parseMemberRow) }
  } catch (cause) {
    throw new Corrupt(`the file "${path}" in the data folder is damaged: ${(cause as Error).message}`, { cause })
  }
}

function readLayout (encoded: Uint8Array): Layout {
  try { return parseLayout(encoded) } catch (cause) { throw new Corrupt('a layout is not well-formed', { cause }) }
}
