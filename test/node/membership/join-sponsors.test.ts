import { beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { clusterRowKeys, encodeLayout, encodeMemberRow, type InviteToken, openLayout, roles } from '../../../src/cluster/index.ts'
import { type Joining, joinOver } from '../../../src/node/membership/join.ts'
import { joinId, joinLimits, joinProtocol } from '../../../src/protocols/join.ts'
import { tables } from '../../../src/tables/index.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'
import { type MemoryNetwork, memoryNetwork } from '../../support/memory-requests.ts'
import { memoryRegisters } from '../../support/memory-registers.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')
let network: MemoryNetwork
let dialled: string[]

beforeEach(async () => {
  [network, dialled] = [memoryNetwork(), []]
  const registers = memoryRegisters()
  registers.put({ table: tables.layout, scope: clusterRowKeys.scope, key: clusterRowKeys.layout }, encodeLayout(openLayout(layoutMember('founder'))))
  registers.put({ table: tables.members, scope: clusterRowKeys.scope, key: founder.subject }, encodeMemberRow({ certificate: certificateOf(founder), capacityBytes: 5, addresses: [], storeId: layoutMember('founder').storeId }))
  await joinProtocol({
    clusterId: cluster.clusterId, authority: cluster.authority, certificate: () => certificateOf(founder), era: () => cluster.era(1, [founder]), hearEra: async () => {}, registers, clock: systemClock,
    memberRows: async () => registers.valuesOf(tables.members), sealRing: () => { throw new Error('storage takes no keys') },
  }).register(network.of(peerNamed('founder')))
})

async function refusing (name: string, why: string): Promise<void> {
  await network.of(peerNamed(name)).handle(joinId, async () => { throw new Error(why) }, { maxRequestBytes: joinLimits.maxRequestBytes, maxConcurrent: 1, strangers: true })
}

const addressOf = (name: string, port = 1): string => `/ip4/127.0.0.1/tcp/${port}/p2p/${peerNamed(name)}`
const isAway = (address: string): boolean => address.endsWith(peerNamed('away'))

async function joinBy (sponsors: readonly string[], token: InviteToken = cluster.token('invite', { roles: roles.storage })): ReturnType<typeof joinOver> {
  const joining = { keyring: { exchangeSeed: seedNamed('bob kx') }, token, storeId: layoutMember('bob').storeId, capacityBytes: 1000, zone: '', addresses: [] } as unknown as Joining
  const dial = async ([address = '']: readonly string[]): Promise<PeerId> => {
    dialled.push(address)
    if (isAway(address)) throw new Unavailable('nobody answers')
    return address.split('/').at(-1) as PeerId
  }
  return joinOver({ network: { peerId: peerNamed('bob'), dial, requests: network.of(peerNamed('bob')) } as unknown as Parameters<typeof joinOver>[0]['network'], clock: systemClock, sponsors }, joining)
}

test('who is refused by one sponsor, which waits for its keys or lies, joins by the next', async () => {
  await refusing('liar', 'the invite has been used')
  const { members } = await joinBy([addressOf('liar'), addressOf('founder')])
  expect(members).toHaveLength(2)
})

test('who is refused by all is told why, each reason once, and asks nobody twice', async () => {
  await refusing('carol', 'the invite was revoked')
  await refusing('dave', 'the invite was revoked')
  await expect(joinBy([addressOf('carol'), addressOf('carol', 2), addressOf('away'), addressOf('dave')])).rejects.toThrow(/^the cluster refuses: the invite was revoked$/)
  expect(dialled).toEqual([addressOf('carol'), addressOf('away'), addressOf('dave')])
})
