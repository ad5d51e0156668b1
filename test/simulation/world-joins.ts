import type { Clock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import type { Random } from '../../src/base/random.ts'
import { type AdminStatement, encodeLayout, encodeMemberRow, eraOf, type EraStatement, hashOfStatement, type Layout, type LayoutMember, type MemberRow, type MemberStatement, parseToken, type RoleName, signStatement } from '../../src/cluster/index.ts'
import type { Files } from '../../src/disk/index.ts'
import { ClusterKeys, exchangeKeyOf, type Keyring, type KeyringKey } from '../../src/encryption/index.ts'
import { addressBytes, addressText } from '../../src/network/addresses.ts'
import { answeringFirst } from '../../src/network/reach.ts'
import { StorePositions } from '../../src/node/layout/store-positions.ts'
import { type MemberSide, memberSideOf } from '../../src/node/member-side.ts'
import { makeInvites } from '../../src/node/membership/invite.ts'
import { joinOnDisk, joinOver } from '../../src/node/membership/join.ts'
import { readKeyring, writeKeyring } from '../../src/node/membership/keys.ts'
import { acceptedEra } from '../../src/node/membership/eras.ts'
import { type Meeting, meetingOf } from '../../src/node/membership/meeting.ts'
import { MemberSearch } from '../../src/node/membership/member-search.ts'
import { clusterAddress, layoutAddress } from '../../src/node/membership/membership.ts'
import type { Retag } from '../../src/node/membership/retag.ts'
import { keylessRing, ringOf } from '../../src/node/membership/ring-keeper.ts'
import { UnknownPeers } from '../../src/node/membership/unknown-peers.ts'
import type { TableEngine } from '../../src/node/rows/table-engine.ts'
import { type ClusterState, writeFacts } from '../../src/node/state.ts'
import type { BackgroundTask } from '../../src/node/work/background.ts'
import { ringPeers, serveRing } from '../../src/protocols/ring.ts'
import { type RowAddress, type RowCodec, type RowStore, tables } from '../../src/tables/index.ts'
import type { DiskRows } from '../../src/tables/row-store.ts'
import { certificateOf, keyNamed, paperCluster, seedNamed } from '../support/cluster-identities.ts'
import type { Life, Networks, WorldNetwork } from './world-network.ts'

const paper = paperCluster()
const keyringKey: KeyringKey = { kind: 'key', key: seedNamed('key file') }
const ring = { names: seedNamed('N'), epochs: new Map([[1, seedNamed('S 1')]]) }

/** Rules of membership that can be taken out here. */
export interface JoinsVariant {
  /** What learns of those who are not known. */
  readonly unknown?: (unknown: UnknownPeers) => UnknownPeers
  /** With what a node meets others. */
  readonly meeting?: (parts: Parameters<typeof meetingOf>[0]) => Parameters<typeof meetingOf>[0]
  /** What the files of a machine are told that joins. */
  readonly joiningFiles?: (files: Files) => Files
}

interface Founder { readonly name: string, readonly as: LayoutMember, readonly address: string, readonly files: Files }

/** A cluster on the disks of its founders, who know each other and nobody else; the first has the authority's key. Gives their rows. */
export async function founded (founders: readonly Founder[], { admins, layout, random }: { readonly admins: readonly string[], readonly layout: Layout, readonly random: Random }): Promise<readonly MemberRow[]> {
  const authority = keyNamed('cluster authority')
  const members = founders.map(({ name, as: { role, zone } }) => signStatement(authority, {
    clusterId: paper.clusterId, era: 1, subject: keyNamed(name).publicKey, kind: 'member', role, kx: exchangeKeyOf(seedNamed(`${name} kx`)), serial: 1, zone,
  }) as MemberStatement)
  const keys = new ClusterKeys({ clusterId: paper.clusterId, ...ring })
  const statements: readonly AdminStatement[] = admins.map((name) => paper.admin(name))
  const era = eraOf([signStatement(authority, {
    clusterId: paper.clusterId, era: 1, subject: new Uint8Array(32), kind: 'era', checkN: keys.checkNames, floor: 0, checks: [{ epoch: 1, check: keys.epoch(1).check }],
    listed: [...members, ...statements].map((statement) => ({ subject: statement.subject, statementHash: hashOfStatement(statement) })),
  }) as EraStatement, ...statements])
  const rows = founders.map(({ as: { capacityBytes, storeId }, address }, i): MemberRow => ({ certificate: certificateOf(members[i] as MemberStatement), capacityBytes, addresses: [addressBytes(address)], storeId }))
  for (const [i, { name, files }] of founders.entries()) {
    await writeKeyring(files, {
      nodeSeed: seedNamed(name), exchangeSeed: seedNamed(`${name} kx`), diskKey: seedNamed(`${name} disk`), clusterId: paper.clusterId, ring, authoritySeed: i === 0 ? seedNamed('cluster authority') : undefined,
    }, keyringKey, { random })
    await writeFacts(files, { clusterId: paper.clusterId, authority: paper.authority, certificate: (rows[i] as MemberRow).certificate, era, layout, members: rows })
  }
  return rows
}

export interface JoiningParts {
  readonly networks: Networks
  readonly life: Life
  readonly files: Files
  readonly wallMs: () => number
  readonly storeId: Uint8Array
  readonly capacityBytes: number
  readonly variant: JoinsVariant
  /** Told of each file that is on its disk. */
  readonly wrote: (path: string) => void
}

/** `dfs join TOKEN`, by the product's steps, at a machine whose peer is told by its name. @throws as the product; Unavailable if it dies over it */
export async function joinWith ({ networks, life, files, wallMs, storeId, capacityBytes, variant, wrote }: JoiningParts, text: string): Promise<void> {
  const { time, random } = networks.parts
  const token = parseToken(text)
  const clock: Clock = { ...time.clock(() => life.isAlive), wallMs }
  const network = networks.open({ life, clock, greet: undefined })
  let isDrawn = false
  const ofName: Random = { fraction: () => random.fraction(), bytes: (length) => { if (isDrawn) return random.bytes(length); isDrawn = true; return seedNamed(life.name) } }
  const mortal: Files = { ...files, writeDurable: async (path, parts, options) => {
    await files.writeDurable(path, parts, options)
    wrote(path)
    if (!life.isAlive) await new Promise(() => {})
  } }
  const died = async (): Promise<never> => {
    while (life.isAlive) await time.sleep(100)
    throw new Unavailable(`${life.name} died while it joined`)
  }
  try {
    await network.listen()
    const joined = joinOnDisk({ files: variant.joiningFiles?.(mortal) ?? mortal, key: keyringKey, random: ofName }, token, async (keyring: Keyring) => joinOver(
      { network: network.asNetwork, clock, sponsors: answeringFirst(token.addresses.map(addressText), async (address) => network.reach(address)) },
      { keyring, token, storeId, capacityBytes, zone: '', addresses: network.addresses() }))
    await Promise.race([joined, died()])
  } finally {
    network.end()
  }
}

export interface MeetingNodeParts {
  readonly networks: Networks
  readonly life: Life
  readonly files: Files
  readonly state: ClusterState
  readonly clock: Clock
  readonly random: Random
  readonly variant: JoinsVariant
  readonly evictAfterMs: number
  readonly say: (what: string) => void
  readonly layoutChanged: (layout: Layout, why: string) => void
}

/** A node that knows of others what the product tells it: as `open.ts` wires it, over a network of the world. */
export class MeetingNode {
  readonly unknown: UnknownPeers
  network!: WorldNetwork
  positions!: StorePositions
  meeting!: Meeting
  /** Undefined: a node without keys. */
  side: MemberSide | undefined
  readonly #parts: MeetingNodeParts
  #engine: TableEngine | undefined

  constructor (parts: MeetingNodeParts) {
    this.#parts = parts
    const unknown = new UnknownPeers({ state: parts.state, ask: () => this.#tables.ask, reachable: () => this.network.reachable(), clock: parts.clock })
    this.unknown = parts.variant.unknown?.(unknown) ?? unknown
  }

  get #tables (): TableEngine {
    if (this.#engine === undefined) throw new Error('its tables are not there yet')
    return this.#engine
  }

  async open (rows: RowStore, codec: RowCodec): Promise<void> {
    const { files, state, networks, life, clock, variant, say } = this.#parts
    this.positions = await StorePositions.open({ files, state, rows, warn: () => {} })
    const parts: Parameters<typeof meetingOf>[0] = {
      files, state, clock, positions: this.positions, unknown: this.unknown, givenUp: { has: () => false }, network: () => this.network.asNetwork, registers: () => this.#tables.registers, peers: () => this.#tables.peers, acceptedEra: async () => acceptedEra(rows, codec),
      newestEpoch: () => this.side?.epochs.newest, freeBytes: () => 0, warn: () => {},
      log: { info: (_, message) => { if (message === 'an era has begun') say(`${life.name}: era ${state.era.number}`) } },
    }
    this.meeting = meetingOf(variant.meeting?.(parts) ?? parts)
    this.network = networks.open({ life, clock, greet: this.meeting.greet })
    await this.meeting.begin()
  }

  /** When its tables are there and are served. */
  async serve (engine: TableEngine, { rows, codec, ask }: { readonly rows: RowStore, readonly codec: RowCodec, readonly ask: TableEngine['ask'] }): Promise<void> {
    const { files, state, clock, random, evictAfterMs, layoutChanged } = this.#parts
    this.#engine = engine
    const network = this.network.asNetwork
    const rings = ringPeers(network.requests)
    const keyring = await readKeyring(files, keyringKey)
    // rows are not sealed here: they have no tags
    const retag = { demand: () => 0 } as unknown as Retag
    if (keyring?.ring !== undefined) {
      this.side = await memberSideOf({
        config: { evictAfterMs }, files, keyring: { ...keyring, ring: keyring.ring }, key: keyringKey, keys: new ClusterKeys({ clusterId: state.clusterId, ...keyring.ring }), state, network, tables: { ...engine, ask }, rows: rows as DiskRows, codec,
        positions: this.positions, greetings: this.meeting.greetings, eras: this.meeting.eras, rings, clock, random, warn: () => {},
        logger: { info: (fields: { readonly why?: string }, message: string) => { if (message === 'the layout changes') layoutChanged(state.layout, fields.why ?? '') } } as Parameters<typeof memberSideOf>[0]['logger'],
      })
    }
    await serveRing(network.requests, this.side === undefined ? keylessRing(retag) : ringOf(this.side.epochs, retag))
  }

  tasks ({ isFrozen, look }: { readonly isFrozen: () => boolean, readonly look: () => void }): readonly BackgroundTask[] {
    const { state, clock } = this.#parts
    const search = new MemberSearch({ network: this.network.asNetwork, members: () => state.expected(), clock, warn: () => {} })
    return [
      { name: 'layout', step: async (wait) => isFrozen() ? 'idle' : await this.side?.keeper.step(wait) ?? 'idle' },
      { name: 'greetings', step: async (wait) => this.meeting.greetings.step(wait) },
      { name: 'peers that are not known', step: async (wait) => this.unknown.step(wait) },
      { name: 'search for members', step: async (wait) => search.step(wait) },
      { name: 'era', step: async (wait) => this.meeting.eras.step(wait) },
      { name: 'who joined while an era began', step: async (wait) => await this.side?.eraParts.latecomers.step(wait) ?? 'idle' },
      { name: 'keys of epochs', step: async (wait) => await this.side?.epochs.step(wait) ?? 'idle' },
      { name: 'accounts', step: async () => { look(); return 'idle' } },
    ]
  }

  /** `dfs invite` at this node. @throws Refused */
  async invite (role: RoleName): Promise<string> {
    const { files, state, random } = this.#parts
    const keyring = await readKeyring(files, keyringKey)
    if (keyring === undefined) throw new Error('a node without a keyring')
    const [token = ''] = makeInvites({ state, keyring, random, addresses: this.network.addresses().map(addressBytes), listens: true, wanted: { role } })
    return token
  }

  /** The rows of the founders and of their layout, as the first bucket puts them before all. */
  async found (rows: readonly MemberRow[]): Promise<void> {
    const [{ registers }, { layout }] = [this.#tables, this.#parts.state]
    const ifAbsent = async (address: RowAddress, value: Uint8Array): Promise<void> => registers.change(address, (current) => current === undefined ? { kind: 'write', value, result: undefined } : { kind: 'keep', result: undefined })
    for (const row of rows) await ifAbsent(clusterAddress(tables.members, row.certificate.member.subject), encodeMemberRow(row))
    await ifAbsent(layoutAddress, encodeLayout(layout))
  }

  /** Whom it lets in now. */
  get admitted (): ReadonlySet<PeerId> { return this.network.admission.admitted }
  get peerId (): PeerId { return peerIdOf(keyNamed(this.#parts.life.name).publicKey) }
}
