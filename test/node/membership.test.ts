import { describe, expect, test } from 'vitest'
import { closing, openLayout, settled } from '../../src/cluster/index.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { votersBy } from '../../src/node/membership.ts'
import { ClusterState } from '../../src/node/state.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed } from '../support/cluster-identities.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')

describe('who decides', () => {
  test('about clear rows, and compares them, are all voters: more than the replicas of any partition', () => {
    const names = ['founder', 'bob', 'carol', 'dave', 'eve', 'frank']
    const layout = settled(closing(openLayout(layoutMember('founder'))), names.map((name) => layoutMember(name)))
    const voters = votersBy(new ClusterState(memoryFiles(), { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(founder), era: cluster.era(1, [founder]), layout, members: [] }))
    expect(voters.ofPartition(clearPartition).toSorted()).toEqual(names.map(peerNamed).toSorted())
    expect(voters.ofPartition(0)).toHaveLength(5)
  })
})
