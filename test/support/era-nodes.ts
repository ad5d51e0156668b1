import { systemClock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { seededRandom } from '../../src/base/random.ts'
import { type Certificate, encodeEra, encodeMemberRow, eraAfter, eraOf, type EraStatement, hashOfStatement, type MemberRow, type MemberStatement, openLayout, type Role, roles, signStatement } from '../../src/cluster/index.ts'
import type { Files } from '../../src/disk/index.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { ClusterKeys, exchangeKeyOf, type Keyring, type KeyringKey } from '../../src/encryption/index.ts'
import type { AskReplica } from '../../src/node/membership/clear-rows.ts'
import { Epochs } from '../../src/node/membership/epochs.ts'
import type { EraChangeParts } from '../../src/node/membership/era-change.ts'
import { Latecomers } from '../../src/node/membership/latecomers.ts'
import { acceptedEra, eraAddress, Eras, eraSuccession } from '../../src/node/membership/eras.ts'
import { everyMemberRow } from '../../src/node/membership/every-member.ts'
import { FloorKeeper } from '../../src/node/rows/floor-keeper.ts'
import { readKeyring, writeKeyring } from '../../src/node/membership/keys.ts'
import { memoryOfThoseWho } from '../../src/node/membership/memory.ts'
import { Retag } from '../../src/node/membership/retag.ts'
import { keylessRing, ringOf } from '../../src/node/membership/ring-keeper.ts'
import { UnknownPeers } from '../../src/node/membership/unknown-peers.ts'
import { clearRowRule, clusterAddress } from '../../src/node/membership/membership.ts'
import { membershipSources } from '../../src/node/membership/membership-sources.ts'
import { endSessions, epochCapability, epochIn } from '../../src/node/membership/sessions.ts'
import { ClusterState, readFacts, writeFacts } from '../../src/node/state.ts'
import { type Greeting, type Hello, helloProtocol } from '../../src/protocols/hello.ts'
import { membershipCheck } from '../../src/protocols/membership.ts'
import { ringPeers, serveRing } from '../../src/protocols/ring.ts'
import { serveTables, tablePeers } from '../../src/protocols/table.ts'
import { rowCodec } from '../../src/tables/codec.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { type Registers, type RowCodec, tables } from '../../src/tables/index.ts'
import type { RowSettler } from '../../src/tables/late-delivery.ts'
import { memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { registers as registersOver } from '../../src/tables/registers.ts'
import { type OwnReplica, tableReplica } from '../../src/tables/replica.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from './cluster-identities.ts'
import { type MemoryNetwork, memoryNetwork } from './memory-requests.ts'

/** A member of a cluster in one process: its own disk, rows, keyring and view of the era; everything between nodes goes over requests. */
export interface EraNode {
  readonly self: PeerId
  readonly state: ClusterState
  readonly parts: EraChangeParts
  readonly retag: Retag
  readonly unknown: UnknownPeers
  readonly floors: FloorKeeper
  readonly epochs: Epochs
  readonly eras: Eras
  readonly keys: ClusterKeys
  readonly registers: Registers & { readonly settle: RowSettler }
  readonly replica: OwnReplica
  readonly store: MemoryRowStore
  readonly codec: RowCodec
  /** Whom it has proven to be members, and has not put out. */
  readonly admitted: ReadonlySet<PeerId>
  greet (name: string): Promise<void>
}

export interface EraNodes {
  readonly network: MemoryNetwork
  readonly names: readonly string[]
  of (name: string): EraNode
  /** The keyring on its disk. */
  keyringOf (name: string): Promise<Keyring>
  die (name: string): void
  /** Dies of its so many-th step from now: a write to its disk, or a question of its that was answered. */
  dieAfter (name: string, steps: number): void
  /** Whether it died since it was last started. */
  isDead (name: string): boolean
  /** With what is on its disk; greets everybody, as a supervisor would. */
  restart (name: string): Promise<void>
  /** Everybody greets everybody that lives, as often as it takes. */
  greetAll (): Promise<void>
}

const keyringKey: KeyringKey = { kind: 'key', key: seedNamed('key file') }
const cluster = paperCluster()
export const firstSecret = seedNamed('S 1')
export const namesSecret = seedNamed('N')
const ring = { names: namesSecret, epochs: new Map([[1, firstSecret]]) }

export interface EraNodesOptions {
  /** Member unless said otherwise. */
  readonly roleOf?: (name: string) => Role
  /** Who have joined since the era began, which does not list them. */
  readonly newcomers?: readonly string[]
  /** Who were away since before the newcomers joined, and know nothing of them. */
  readonly away?: readonly string[]
  /** The newcomers have joined in an era that this one, whom the authority had made an admin meanwhile, made: it lists the others, and who was away knows nothing of it. */
  readonly eraBy?: string
  /** That one was an admin before, too, as who was away knows. */
  readonly wasAdmin?: boolean
}

/** The first is the founder and has the authority's key; all have joined, and all decide about every row. */
export async function eraNodes (names: readonly string[], { roleOf = () => roles.member, newcomers = [], away = [], eraBy, wasAdmin = false }: EraNodesOptions = {}): Promise<EraNodes> {
  const [founder = ''] = names
  const network = memoryNetwork()
  const voterNames = names.filter((name) => roleOf(name) !== roles.storage)
  const voterPeers = voterNames.map(peerNamed)
  const voters = votersBy({ version: () => 1n, groupsOf: () => [voterPeers] })
  const members = names.map((name) => signStatement(keyNamed('cluster authority'), {
    clusterId: cluster.clusterId, era: eraBy !== undefined && newcomers.includes(name) ? 2 : 1, subject: keyNamed(name).publicKey, kind: 'member', role: roleOf(name), kx: exchangeKeyOf(seedNamed(`${name} kx`)), serial: 1, zone: '',
  }) as MemberStatement)
  const rows: readonly MemberRow[] = members.map((member, i) => ({ certificate: certificateOf(member), capacityBytes: 1, addresses: [], storeId: roleOf(names[i] ?? '') === roles.storage ? undefined : layoutMember(names[i] ?? '').storeId }))
  const firstKeys = new ClusterKeys({ clusterId: cluster.clusterId, ...ring })
  const admins = eraBy !== undefined && wasAdmin ? [cluster.admin(eraBy)] : []
  const firstEra = eraOf([...admins, signStatement(keyNamed('cluster authority'), {
    clusterId: cluster.clusterId, era: 1, subject: new Uint8Array(32), kind: 'era', checkN: firstKeys.checkNames, floor: 0, checks: [{ epoch: 1, check: firstKeys.epoch(1).check }],
    listed: [...admins, ...members.filter((_, i) => !newcomers.includes(names[i] ?? ''))].map((statement) => ({ subject: statement.subject, statementHash: hashOfStatement(statement) })),
  }) as EraStatement])
  const standing = members.filter((_, i) => !newcomers.includes(names[i] ?? ''))
  const era = eraBy === undefined ? firstEra : eraAfter(firstEra, { signer: keyNamed(eraBy), listed: [...standing, cluster.admin(eraBy)] })
  const disks = new Map(names.map((name) => [name, { files: memoryFiles(), rows: memoryRowDisk(layoutMember(name).storeId) }]))
  const lives = new Map<string, Life>()
  const nameOf = (peer: PeerId): string => names.find((name) => peerNamed(name) === peer) ?? ''
  const lifeOf = (name: string): Life => lives.get(name) as Life

  async function start (name: string): Promise<void> {
    const { files, rows: rowDisk } = disks.get(name) as NonNullable<ReturnType<typeof disks.get>>
    const self = peerNamed(name)
    const life = { stepsLeft: Infinity, isDead: false, greetings: new Map() } as unknown as Life
    const step = (): void => {
      if (--life.stepsLeft <= 0 && !life.isDead) { life.isDead = true; network.kill(self) }
      if (life.isDead) throw new Unavailable(`${name} is dead`)
    }
    const mortal: Files = { ...files, writeDurable: async (path, parts) => { step(); await files.writeDurable(path, parts); step() } }
    const facts = await readFacts(files)
    const keyring = await readKeyring(files, keyringKey)
    if (facts === undefined || keyring?.ring === undefined) throw new Error(`${name} was never made`)
    const state = new ClusterState(mortal, facts)
    const isKeyless = facts.certificate.member.role !== roles.member
    const keys = isKeyless ? undefined : new ClusterKeys({ clusterId: cluster.clusterId, ...keyring.ring })
    let retag: Retag | undefined
    // every look at the clock is long after the one before
    const hasty = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 1e6 }
    const unknown = new UnknownPeers({ state, ask: () => ask, reachable: () => reachable(), clock: hasty })
    const codec = rowCodec({ clusterId: cluster.clusterId, keys, signer: keyNamed(name), random: seededRandom(names.indexOf(name)), checkClear: clearRowRule(state, (proposer) => { unknown.note(proposer) }), floor: () => state.era.floor, demanded: () => retag?.demanded ?? 0 })
    const store = new MemoryRowStore({ disk: rowDisk, ballotOf: (table, record) => codec.ballotOf(table, record), sync: async () => { step() } })
    const requests = network.of(self)
    const mortalRequests: typeof requests = { ...requests, request: async (...asked) => { const answer = await requests.request(...asked); step(); return answer }, handle: async (...of) => requests.handle(...of) }
    const reachable = (): readonly PeerId[] => [...life.greetings.keys()].filter((peer) => !lifeOf(nameOf(peer)).isDead)
    const peers = tablePeers(mortalRequests, () => new Set(reachable()))
    const replica = tableReplica({
      self, store, codec, voters, isMember: (peer) => state.isMember(peer), isKeyless, succession: eraSuccession(state, codec),
      layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    const registers = registersOver({ self, peers, replica, counters: store, voters, codec, describe: () => undefined, clock: systemClock, random: seededRandom(names.indexOf(name)), adoptLayout: async () => {} })
    const eras = new Eras({ state, registers: () => registers, voters: () => voters, accepted: async () => acceptedEra(store, codec), clock: systemClock, risen: () => {
      for (const peer of endSessions({ state, greetings: life.greetings, network: { expel: async (left) => { network.estrange(self, left) } }, warn: () => {} })) network.estrange(self, peer)
    } })
    const rings = ringPeers(mortalRequests)
    const epochs = new Epochs({
      files: mortal, keyring: { ...keyring, ring: keyring.ring }, key: keyringKey, keys: keys ?? firstKeys, state, peers: rings, random: seededRandom(names.indexOf(name) + 100), clock: systemClock,
      members: () => reachable().flatMap((peer) => { const greeting = life.greetings.get(peer); return greeting?.role === roles.member ? [{ peer, epoch: epochIn(greeting) }] : [] }),
    })
    const hello: Hello = helloProtocol({
      self: () => ({ certificate: state.certificate, era: state.era, versions: [1], capabilities: [epochCapability(epochs.newest)], freeBytes: 0, layoutVersion: 1n, addresses: [], store: { id: rowDisk.storeId, position: 0n }, yours: undefined }),
      verify: membershipCheck(membershipSources({ state, eras, registers: () => registers, unknown })),
      greeted: (greeting) => { life.greetings.set(greeting.peer, greeting) },
    })
    const greet = async (peer: PeerId): Promise<void> => { life.greetings.set(peer, await hello.greet(peer)) }
    const ask: AskReplica = async (peer, question, wait) => peer === self ? replica.answer(self, { version: 1n, ...question }) : peers.ask(peer, { version: 1n, ...question }, wait)
    const parts: EraChangeParts = {
      self, state, keyring, eras, epochs, latecomers: new Latecomers({ clock: systemClock, warn: () => {} }), registers, peers: rings,
      memberRows: async (wait) => everyMemberRow({ state, codec, ask, registers, voters }, wait),
      voters, reachable: () => new Set(reachable()), remembers: () => true, memoryOf: async (peers, wait) => memoryOfThoseWho({ ask }, peers, wait), warn: () => {},
      spread: async () => { await Promise.allSettled(reachable().map(greet)) },
    }
    await hello.register(mortalRequests)
    await serveTables(mortalRequests, replica)
    const tagging = new Retag({ self, state, store, replica, codec, voters, ask, taggedIn: keys === undefined ? undefined : () => keys.currentEpoch, reachable })
    retag = tagging
    await serveRing(mortalRequests, isKeyless ? keylessRing(tagging) : ringOf(epochs, tagging))
    const floors = new FloorKeeper({ eraParts: parts, everyVoter: () => voterPeers.filter((peer) => state.belongs(peer)), demand: (epoch) => tagging.demand(epoch), peers: rings, clock: hasty })
    const node: EraNode = { self, state, parts, unknown, retag: tagging, floors, epochs, eras, keys: keys ?? firstKeys, registers, replica, store, codec, get admitted () { return new Set(life.greetings.keys()) }, greet: async (other) => greet(peerNamed(other)) }
    Object.assign(life, { node })
    lives.set(name, life)
    network.revive(self)
  }

  for (const name of names) {
    const disk = disks.get(name)?.files ?? memoryFiles()
    const certificate: Certificate = rows[names.indexOf(name)]?.certificate as Certificate
    await writeKeyring(disk, {
      nodeSeed: seedNamed(name), exchangeSeed: seedNamed(`${name} kx`), diskKey: seedNamed('disk'), clusterId: cluster.clusterId, ring, authoritySeed: name === founder ? seedNamed('cluster authority') : undefined,
    }, keyringKey, { random: seededRandom(7) })
    await writeFacts(disk, { clusterId: cluster.clusterId, authority: cluster.authority, certificate, era: away.includes(name) ? firstEra : era, layout: openLayout(layoutMember(founder)), members: rows.filter((_, i) => !away.includes(name) || !newcomers.includes(names[i] ?? '')) })
    await start(name)
  }
  const nodes: EraNodes = {
    network, names,
    of: (name) => lifeOf(name).node,
    async keyringOf (name) { return await readKeyring(disks.get(name)?.files ?? memoryFiles(), keyringKey) as Keyring },
    die (name) { lifeOf(name).isDead = true; network.kill(peerNamed(name)) },
    dieAfter (name, steps) { lifeOf(name).stepsLeft = steps },
    isDead: (name) => lifeOf(name).isDead,
    async restart (name) {
      await start(name)
      await nodes.greetAll()
    },
    async greetAll () {
      for (let i = 0; i < 2; i++) {
        for (const [name, { node, isDead }] of lives) if (!isDead) await Promise.allSettled(names.filter((other) => other !== name && !lifeOf(other).isDead).map((other) => node.greet(other)))
      }
    },
  }
  await nodes.greetAll()
  if (era !== firstEra) await nodes.of(founder).registers.change(eraAddress, () => ({ kind: 'write', value: encodeEra(era), result: undefined }))
  for (const row of rows) {
    await nodes.of(founder).registers.change(clusterAddress(tables.members, row.certificate.member.subject), () => ({ kind: 'write', value: encodeMemberRow(row), result: undefined }))
  }
  return nodes
}

interface Life {
  stepsLeft: number
  isDead: boolean
  readonly greetings: Map<PeerId, Greeting>
  readonly node: EraNode
}
