import { mkdir, rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { clusterRowKeys, encodeLayout, encodeMemberRow, encodeToken, openLayout, roles } from '../../../src/cluster/index.ts'
import type { Config } from '../../../src/config.ts'
import { addressBytes } from '../../../src/network/addresses.ts'
import { joinCluster } from '../../../src/node/membership/join.ts'
import { joinProtocol } from '../../../src/protocols/join.ts'
import { tables } from '../../../src/tables/index.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'
import { memoryRegisters } from '../../support/memory-registers.ts'
import { startNetwork } from '../../../src/network/libp2p-network.ts'
import { systemRandom } from '../../../src/base/random.ts'
import { temporaryFolder } from '../../support/temporary.ts'

test('a join that is cut off when its keyring is written, and it is no node yet, goes on as the same peer, by the same invite', async () => {
  await using folder = await temporaryFolder()
  const cluster = paperCluster()
  const founder = cluster.member('founder')
  const registers = memoryRegisters()
  registers.put({ table: tables.layout, scope: clusterRowKeys.scope, key: clusterRowKeys.layout }, encodeLayout(openLayout(layoutMember('founder'))))
  registers.put({ table: tables.members, scope: clusterRowKeys.scope, key: founder.subject }, encodeMemberRow({ certificate: certificateOf(founder), capacityBytes: 5, addresses: [], storeId: layoutMember('founder').storeId }))
  const quiet = { debug: () => {}, info: () => {}, warn: () => {} }
  await using network = await startNetwork({ seed: seedNamed('founder'), listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom, greet: undefined, isMember: () => true, log: quiet })
  await joinProtocol({
    clusterId: cluster.clusterId, authority: cluster.authority, certificate: () => certificateOf(founder), era: () => cluster.era(1, [founder]), hearEra: async () => {}, registers, clock: systemClock,
    memberRows: async () => registers.valuesOf(tables.members), sealRing: () => { throw new Error('storage takes no keys') },
  }).register(network.requests)
  await network.listen()
  const token = encodeToken(cluster.token('invite', { roles: roles.storage, addresses: network.addresses().map(addressBytes) }))
  const config = { data: `${folder.path}/node`, listen: [], announce: [], zone: '', capacityBytes: 1000 } as unknown as Config
  const secrets = { kind: 'key-file', path: `${folder.path}/key` } as const

  // what cannot be written over is where the first cut falls
  await mkdir(`${config.data}/peers.json/full`, { recursive: true })
  await expect(joinCluster(config, secrets, token)).rejects.toThrow()
  expect(registers.valuesOf(tables.members)).toHaveLength(2)
  await rm(`${config.data}/peers.json`, { recursive: true })
  const { peerId } = await joinCluster(config, secrets, token)
  expect(peerId).not.toBe(peerNamed('founder'))
  expect(registers.valuesOf(tables.members)).toHaveLength(2)
})
