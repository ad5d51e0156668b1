import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import type { InviteState as InviteFacts, NodeStatus, PeerStatus } from '../../node.ts'
import { inviteOptionsOf, peerIn } from '../local/node-routes.ts'
import { untilStopped } from './calls.ts'
import { type ChangeCall, changesOf } from './changes.ts'
import { type ClusterService, type InviteSchema, InviteState, type NodeSchema, Severity, type StatusSchema } from './generated/dfs/v1/cluster_pb.ts'
import { looks } from './looks.ts'
import { nameIn, numberIn } from './names.ts'
import { layoutStates, roles } from './role-names.ts'
import type { RpcParts } from './service.ts'
import { msIn, whole, wholeIfKnown } from './whole.ts'

const severities = { error: Severity.ERROR, warning: Severity.WARNING, note: Severity.NOTE } as const
const inviteStates = { open: InviteState.OPEN, used: InviteState.USED, revoked: InviteState.REVOKED, expired: InviteState.EXPIRED, lapsed: InviteState.LAPSED } as const

export function clusterService (parts: Pick<RpcParts, 'node' | 'clock'>): ServiceImpl<typeof ClusterService> {
  return { ...askedOf(parts), ...changesOf(parts) }
}

function askedOf ({ node, clock }: Pick<RpcParts, 'node' | 'clock'>): Omit<ServiceImpl<typeof ClusterService>, ChangeCall> {
  const look = async (): Promise<{ status: NodeStatus, peers: readonly PeerStatus[] }> => ({ status: await node.status(), peers: node.peers() })
  return {
    getStatus: async () => ({ status: statusMessageOf(await node.status()) }),
    watchStatus: ({ everyMs }, context) => untilStopped(context, async function * (signal) {
      for await (const { status, peers } of looks(everyMs, { clock, signal, look, sameness: whatMatters })) yield { status: statusMessageOf(status), nodes: nodesOf(status, peers) }
    }),
    async diagnose (_, { signal }) {
      return { findings: (await node.doctor({ signal })).map(({ severity, ...words }) => ({ ...words, severity: numberIn(severities, severity) })) }
    },
    async listNodes () {
      const { status, peers } = await look()
      return { nodes: nodesOf(status, peers) }
    },
    async createInvites ({ uses, role, notAfter, zone }) {
      return { tokens: [...await node.invite(inviteOptionsOf({ uses: uses === 0 ? 1 : uses, role: nameIn(roles, role, 'role'), notAfterMs: msIn('not_after', notAfter), zone }))] }
    },
    listInvites: async (_, { signal }) => ({ invites: (await node.invites({ signal })).map(inviteMessageOf) }),
    async revokeInvite ({ invite }, { signal }) { await node.revokeInvite(invite, { signal }); return {} },
    async setDraining ({ peerId, draining }, { signal }) { await node.setDraining(peerIn(peerId), draining, { signal }); return {} },
    removeNode: async ({ peerId }, { signal }) => node.removeMember(peerIn(peerId), { signal }),
    rotateKeys: async (_, { signal }) => node.rotateKeys({ signal }),
    listAdmins: async () => ({ peerIds: [...node.admins()] }),
    async addAdmin ({ peerId }, { signal }) { await node.addAdmin(peerIn(peerId), { signal }); return { peerIds: [...node.admins()] } },
    async removeAdmin ({ peerId }, { signal }) { await node.removeAdmin(peerIn(peerId), { signal }); return { peerIds: [...node.admins()] } },
  }
}

/** All but what changes by itself with every look. */
function whatMatters ({ status: { uptimeMs: _uptime, blocks: { freeBytes: _free, ...blocks }, repair: _repair, scrub: _scrub, collect: _collect, convert: _convert, compare: _compare, announce: _announce, ...status }, peers }: { status: NodeStatus, peers: readonly PeerStatus[] }): unknown {
  return [status, blocks, peers.map(({ latencyMs: _latency, freeBytes: _theirs, ...peer }) => peer)]
}

function statusMessageOf ({ peerId, clusterId, version, role, zone, addresses, uptimeMs, layout, blocks, cache, rows, isReady, health, atRisk, isDegraded, change }: NodeStatus): MessageInitShape<typeof StatusSchema> {
  return {
    peerId, clusterId, version, zone, isReady, isDegraded,
    atRisk: { objects: whole(atRisk.objects), isAtLeast: atRisk.isAtLeast, silentPeerIds: [...atRisk.silent] },
    role: numberIn(roles, role),
    addresses: [...addresses],
    uptimeMs: whole(uptimeMs),
    layout: { version: layout.version, state: numberIn(layoutStates, layout.state), members: layout.members, voters: layout.voters },
    blocks: {
      count: whole(blocks.count), bytes: whole(blocks.bytes), quotaBytes: wholeIfKnown(blocks.quotaBytes), freeBytes: whole(blocks.freeBytes),
      corrupt: whole(blocks.corrupt), isReadOnly: blocks.isReadOnly,
    },
    cache: { bytes: whole(cache.bytes), limitBytes: whole(cache.limitBytes) },
    rows: { lostPartitions: rows.lostPartitions, isReadOnly: rows.isReadOnly },
    health: [...health],
    change: change === undefined ? undefined : {
      isDone: change.isDone, isWhole: change.isWhole, leftBytes: whole(change.leftBytes), rowPartitionsLeft: change.rowPartitionsLeft, waitingFor: [...change.waitingFor], mayBeSwitchedOffPeerIds: [...change.mayBeSwitchedOff],
    },
  }
}

/** Who belongs and who has been met, the node asked first. */
function nodesOf ({ peerId: self, members, addresses, version, blocks }: NodeStatus, peers: readonly PeerStatus[]): Array<MessageInitShape<typeof NodeSchema>> {
  const met = new Map(peers.map((peer) => [peer.peerId, peer]))
  const belonging = members.map(({ peerId, role, zone, capacityBytes, isConnected }) => {
    const peer = peerId === self ? { addresses, version, freeBytes: blocks.freeBytes, latencyMs: undefined } : met.get(peerId)
    return {
      peerId, zone, isConnected, capacityBytes: wholeIfKnown(capacityBytes), isMember: true, isSelf: peerId === self, role: numberIn(roles, role), addresses: [...peer?.addresses ?? []],
      version: peer?.version, freeBytes: wholeIfKnown(peer?.freeBytes), latencyMs: peer?.latencyMs,
    }
  })
  const others = peers.filter(({ peerId }) => !members.some((member) => member.peerId === peerId)).map(({ peerId, role, isConnected, isMember, addresses: theirs, version: their, latencyMs }) =>
    ({ peerId, isConnected, isMember, role: numberIn(roles, role), addresses: [...theirs], version: their, latencyMs }))
  return [...belonging.toSorted((a, b) => Number(b.isSelf) - Number(a.isSelf)), ...others]
}

const inviteMessageOf = ({ key, state, usedBy, roles: allowed, zone, notAfterMs, madeMs }: InviteFacts): MessageInitShape<typeof InviteSchema> => ({
  key, usedBy, zone,
  state: numberIn(inviteStates, state),
  roles: allowed.map((role) => numberIn(roles, role)),
  notAfter: notAfterMs === undefined ? undefined : timestampFromMs(notAfterMs),
  made: timestampFromMs(madeMs),
})
