import { systemClock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { seededRandom } from '../../src/base/random.ts'
import { encodeInviteRow, encodeMemberRow, hashOfStatement, type MemberRow, openLayout } from '../../src/cluster/index.ts'
import type { Files } from '../../src/disk/index.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import type { AskReplica } from '../../src/node/membership/clear-rows.ts'
import { acceptorsBy, clearRowRule, clusterAddress, layoutGuard, votersIn, writeFoundation } from '../../src/node/membership/membership.ts'
import { closingRegisters } from '../../src/node/layout/closing-registers.ts'
import { layoutSettler } from '../../src/node/layout/settle.ts'
import { ClusterState, readFacts, writeFacts } from '../../src/node/state.ts'
import { rowCodec } from '../../src/tables/codec.ts'
import { type Registers, tables } from '../../src/tables/index.ts'
import { memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { registers, type TablePeers } from '../../src/tables/registers.ts'
import { type TableReplica, tableReplica } from '../../src/tables/replica.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed } from './cluster-identities.ts'

export interface SettlingNode {
  readonly state: ClusterState
  readonly registers: Registers
  readonly settle: () => Promise<void>
}

export interface SettlingNodes {
  of (name: string): SettlingNode
  /** Questions that nodes asked of each other. */
  readonly asked: number
  /** Whom settling has told to be left out. */
  readonly leftOut: readonly PeerId[]
  /** The node dies of its so many-th step: a question that arrives and whose answer does not, or a write that does not reach the disk. */
  dieAfter (name: string, steps: number): void
  die (name: string): void
  /** What is on its disk comes back. */
  restart (name: string): Promise<void>
  /** As greetings do: everybody goes by the newest layout that anybody has. */
  greet (): Promise<void>
}

/** Members on paper, each with a disk of its own; the first is the founder, the others have joined, and no bucket has been made. */
export async function settlingNodes (names: readonly string[], rowOf = joinedRow): Promise<SettlingNodes> {
  const cluster = paperCluster()
  const members = names.map(rowOf)
  const [founder = ''] = names
  const lives = new Map<string, Life>()
  const disks = new Map(names.map((name) => [name, { files: memoryFiles(), rows: memoryRowDisk(layoutMember(name).storeId) }]))
  let asked = 0
  const leftOut: PeerId[] = []

  const start = async (name: string): Promise<void> => {
    const { files, rows } = disks.get(name) as NonNullable<ReturnType<typeof disks.get>>
    const self = peerNamed(name)
    const life = { stepsLeft: Infinity, isDead: false } as Life
    lives.set(name, life)
    const step = (): void => {
      if (--life.stepsLeft === 0) life.isDead = true
      if (life.isDead) throw new Unavailable(`${name} is dead`)
    }
    const mortal: Files = { ...files, writeDurable: async (path, parts) => { step(); await files.writeDurable(path, parts) } }
    const facts = await readFacts(files)
    if (facts === undefined) throw new Error(`${name} was never made`)
    const state = new ClusterState(mortal, facts)
    const codec = rowCodec({ clusterId: cluster.clusterId, keys: undefined, signer: keyNamed(name), random: seededRandom(1), checkClear: clearRowRule(state, () => {}) })
    const store = new MemoryRowStore({ disk: rows, ballotOf: (table, record) => codec.ballotOf(table, record), sync: async () => { step() } })
    const peers: TablePeers = {
      reachable: () => new Set([...lives].filter(([, { isDead }]) => !isDead).map(([other]) => peerNamed(other))),
      ask: async (to, request) => {
        asked++
        const target = [...lives].find(([other]) => peerNamed(other) === to)?.[1]
        if (life.isDead || target === undefined || target.isDead) throw new Unavailable('not connected')
        const answer = await target.replica.answer(self, request)
        step()
        return answer
      },
    }
    const replica = tableReplica({ self, store, codec, voters: acceptorsBy(state, self), layout: layoutGuard(state, () => peers), isMember: () => true })
    const engine = closingRegisters(registers({
      self, peers, replica, counters: store, voters: votersIn(state), codec, describe: () => undefined, clock: systemClock, random: seededRandom(names.indexOf(name)),
      adoptLayout: async (encoded) => { await state.adoptLayout(encoded) },
    }), state)
    const ask: AskReplica = async (peer, question) => {
      const request = { version: state.layout.version, ...question }
      return peer === self ? replica.answer(self, request) : peers.ask(peer, request, {})
    }
    const settle = layoutSettler({ state, registers: engine, codec, ask, onLeftOut: (peers) => { leftOut.push(...peers) } })
    Object.assign(life, { replica, node: { state, registers: engine, settle: async () => { await settle({}) } }, adopt: async (version: bigint, from: PeerId) => { await layoutGuard(state, () => peers).adopt(version, from) } })
  }

  for (const [i, name] of names.entries()) {
    await writeFacts(disks.get(name)?.files ?? memoryFiles(), {
      clusterId: cluster.clusterId, authority: cluster.authority, certificate: members[i]?.certificate ?? certificateOf(cluster.member(name)), era: cluster.era(1, members.map(({ certificate }) => certificate.member)),
      layout: openLayout(layoutMember(founder)), members,
    })
    await start(name)
  }
  const lifeOf = (name: string): Life => lives.get(name) as Life
  const first = lifeOf(founder).node
  await writeFoundation(first.state, first.registers, peerNamed(founder))
  for (const row of members) {
    const { member } = row.certificate
    await first.registers.change(clusterAddress(tables.members, member.subject), () => ({ kind: 'write', value: encodeMemberRow(row), result: undefined }))
    await first.registers.change(clusterAddress(tables.invites, member.subject), (value) => value === undefined ? { kind: 'write', value: encodeInviteRow({ state: 'used', statementHash: hashOfStatement(member) }), result: undefined } : { kind: 'keep', result: undefined })
  }
  return {
    get asked () { return asked },
    leftOut,
    of: (name) => lifeOf(name).node,
    dieAfter: (name, steps) => { lifeOf(name).stepsLeft = steps },
    die: (name) => { lifeOf(name).isDead = true },
    async restart (name) {
      await start(name)
      const { state, registers: engine } = lifeOf(name).node
      await writeFoundation(state, engine, peerNamed(name))
    },
    async greet () {
      const alive = [...lives].filter(([, { isDead }]) => !isDead)
      const [[newest, { node }]] = alive.toSorted(([, a], [, b]) => Number(b.node.state.layout.version - a.node.state.layout.version)) as [[string, Life]]
      for (const [, { adopt }] of alive) await adopt(node.state.layout.version, peerNamed(newest))
    },
  }
}

interface Life {
  stepsLeft: number
  isDead: boolean
  readonly node: SettlingNode
  readonly replica: TableReplica
  readonly adopt: (version: bigint, from: PeerId) => Promise<void>
}

export const joinedRow = (name: string): MemberRow => ({ certificate: certificateOf(paperCluster().member(name)), capacityBytes: 1000, addresses: [], storeId: layoutMember(name).storeId })
