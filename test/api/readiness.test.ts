import { describe, expect, test } from 'vitest'
import { closing, openLayout, roles, settled } from '../../src/cluster/index.ts'
import { configOf } from '../../src/config.ts'
import type { ClusterState } from '../../src/node/state.ts'
import { nodeMetrics } from '../../src/node/health/metrics.ts'
import { type StatusFacts, statusOf } from '../../src/node/health/status.ts'
import type { ChangeProgress, CollectFound, CollectReport, RepairFound, RepairReport } from '../../src/node.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed } from '../support/cluster-identities.ts'

const names = ['a', 'b', 'c']
const cluster = paperCluster()
const [founder, ...others] = names.map((name) => layoutMember(name))
const layout = settled(closing(openLayout(founder as typeof others[0])), [founder as typeof others[0], ...others])

/** Node "a" of three, all well. */
const facts = (changed: Partial<StatusFacts> = {}): StatusFacts => ({
  config: configOf({ home: '/', options: { reserve: '0' } }).config,
  state: { layout, clusterId: cluster.clusterId, certificate: certificateOf(cluster.member('a')), members: new Map(), belongs: () => true } as unknown as ClusterState,
  peerId: peerNamed('a'), addresses: [], uptimeMs: 0, repair: undefined, reachable: [peerNamed('b'), peerNamed('c')], freeBytes: 1e9,
  blocks: { count: 0, bytes: 0, corrupt: 0, shards: 0, isReadOnly: false }, cache: { bytes: 0, limitBytes: 0 }, rows: { lostPartitions: () => new Set() },
  ...changed,
})

const found: RepairFound = { layoutVersion: '3', objectsAtRisk: 0, isAtLeast: false, shortBlocks: 0, goneBlocks: 0, narrowBlocks: 0, misplacedBlocks: 0, misplacedBytes: 0 }
const repair = (changed: Partial<RepairReport> = {}): RepairReport => ({
  state: 'idle', phase: 'waiting', why: undefined, doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, full: [], found,
  total: { broughtBlocks: 0, fetchedBlocks: 0, releasedBlocks: 0, movedBytes: 0, failures: 0 }, ...changed,
})

const collected: CollectFound = { condemnedBlocks: 0, condemnedBytes: 0, unreferencedBlocks: 0, unreferencedBytes: 0, heldUpBlocks: 0 }
const collect: CollectReport = {
  state: 'idle', phase: 'waiting', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, collectAfterMs: 1000, found: collected,
  total: { collectedBlocks: 0, collectedBytes: 0, sparedBlocks: 0, publishedDeaths: 0, abandonedUploads: 0 }, publishing: undefined,
}

describe('a node is ready when it can serve a read and a write', () => {
  test.each<[string, Partial<StatusFacts>, { isReady: boolean, health: readonly unknown[], rows?: object }]>([
    ['all is well', {}, { isReady: true, health: [] }],
    ['one voter is away', { reachable: [peerNamed('b')] }, { isReady: true, health: [expect.stringContaining('1 of 3 members do not answer')] }],
    ['two voters are away', { reachable: [] }, { isReady: false, health: [expect.stringContaining('fewer than a majority'), expect.stringContaining('2 of 3')] }],
    ['two voters are there, but one of them has forgotten', { reachable: [peerNamed('b')], forgetful: [peerNamed('b')] }, { isReady: false, health: [expect.stringContaining('fewer than a majority'), expect.stringContaining('1 of 3'), expect.stringContaining(`the row store of ${peerNamed('b')} was emptied`)] }],
    ['the block store is read-only', { blocks: { ...facts().blocks, isReadOnly: true, readOnlyReason: 'fsync failed' } }, { isReady: false, health: ['the block store takes no writes: fsync failed'] }],
    ['the row store is read-only', { rows: { ...facts().rows, readOnlyReason: 'the disk is full' } }, { isReady: false, health: ['this node does not vote: the disk is full'], rows: { isReadOnly: true } }],
    ['memory of rows is lost', { rows: { lostPartitions: () => new Set([7]) } }, { isReady: false, health: [expect.stringContaining('the memory of 1 partitions')] }],
    ['names are not all in the listing index yet', { listedShare: 0.999 }, { isReady: true, health: [expect.stringMatching(/^the listing index is made anew since the start, 99 % are there/)] }],
    ['the disk is nearly full, which others make up for', { freeBytes: 0 }, { isReady: true, health: [expect.stringContaining('no more free than the reserve')] }],
    ['collection is held up, paused, and fails', { collect: { ...collect, state: 'paused', failure: 'the index is shut', found: { ...collected, heldUpBlocks: 3 }, publishing: { phase: 'waiting', doneShare: 1, failure: 'too few replicas took 2 of 2 deaths' } } }, { isReady: true, health: [expect.stringMatching(/^3 blocks that nobody is known to need stay/), expect.stringContaining('too few replicas took 2'), expect.stringContaining('collection is paused'), 'collection fails: the index is shut'] }],
    ['every copy is there', { repair: repair() }, { isReady: true, health: [] }],
    ['copies are missing', { repair: repair({ found: { ...found, objectsAtRisk: 12, shortBlocks: 40, goneBlocks: 2 } }) }, { isReady: true, health: ['12 objects at risk: 40 blocks have fewer copies than they should, and of 2 too few are known to be left to read them'] }],
    ['more are missing than were counted', { repair: repair({ found: { ...found, objectsAtRisk: 10_000, isAtLeast: true, shortBlocks: 50_000 } }) }, { isReady: true, health: [expect.stringMatching(/^at least 10000 objects at risk: 50000 blocks/)] }],
    ['repair is paused, fails, and finds no room', { repair: repair({ state: 'paused', failure: 'the index is shut', full: ['peer'] }) }, { isReady: true, health: ['peer has no room for blocks that belong to it', expect.stringContaining('repair is paused'), 'repair fails: the index is shut'] }],
  ])('%s', (_what, changed, expected) => {
    expect(statusOf(facts(changed))).toMatchObject(expected)
  })
})

test('health says when one node alone of several has the keys', () => {
  const rows = (...members: Parameters<typeof certificateOf>[0][]) => ({ layout, clusterId: cluster.clusterId, certificate: certificateOf(cluster.member('a')), belongs: () => true, members: new Map(members.map((member, i) => [i, { certificate: certificateOf(member), capacityBytes: 1, addresses: [], storeId: undefined }])) }) as unknown as ClusterState
  const [a, b, storing] = [cluster.member('a'), cluster.member('b'), cluster.member('c', { role: roles.storage })]
  const healthOf = (state: ClusterState): string => statusOf(facts({ state })).health.join()
  expect(healthOf(rows(a, storing))).toContain(`one node alone has the keys (${peerNamed('a')})`)
  expect(healthOf(rows(a))).toBe('')
  expect(healthOf(rows(a, b, storing))).toBe('')
})

describe('redundancy below what it should be is told apart from what else may be wrong', () => {
  const risk = { objects: 0, isAtLeast: false, silent: [] }
  test.each<[string, Partial<StatusFacts>, { isDegraded: boolean, atRisk?: object, health?: readonly unknown[] }]>([
    ['all is well', { repair: repair(), atRisk: risk }, { isDegraded: false, atRisk: risk }],
    ['one that holds copies is away', { reachable: [peerNamed('b')] }, { isDegraded: true }],
    ['blocks are short here', { repair: repair({ found: { ...found, objectsAtRisk: 3, shortBlocks: 4 } }), atRisk: risk }, { isDegraded: true, atRisk: { objects: 3 } }],
    ['others know of more', { repair: repair({ found: { ...found, objectsAtRisk: 3, shortBlocks: 4 } }), atRisk: { ...risk, objects: 9, isAtLeast: true } }, { isDegraded: true, health: [expect.stringMatching(/^at least 9 objects at risk: 4 blocks/)] }],
    ['others alone know', { repair: repair(), atRisk: { ...risk, objects: 2 } }, { isDegraded: true, health: ['2 objects at risk: other nodes know of blocks that have fewer copies than they should'] }],
    ['blocks are short that no version is known to need', { repair: repair({ found: { ...found, shortBlocks: 1 } }), atRisk: risk }, { isDegraded: true }],
    ['there are fewer nodes than a redundancy asks for', { repair: repair({ found: { ...found, objectsAtRisk: 3, narrowBlocks: 5 } }), atRisk: risk }, { isDegraded: true, health: [expect.stringMatching(/^3 objects at risk: 5 blocks are to be on more nodes than there are that hold blocks: add nodes/)] }],
    ['the memory of rows was lost', { rows: { lostPartitions: () => new Set([7]) } }, { isDegraded: true }],
    ['a row store has forgotten', { forgetful: [peerNamed('b')] }, { isDegraded: true }],
    ['the disk is nearly full', { freeBytes: 0, repair: repair({ full: ['peer'] }), atRisk: risk }, { isDegraded: false }],
  ])('%s', (_what, changed, expected) => { expect(statusOf(facts(changed))).toMatchObject(expected) })
})

describe('the metrics of a node', () => {
  const metricsOf = async (changed: Partial<StatusFacts>): Promise<ReadonlyMap<string, number>> => {
    const lines = (await nodeMetrics().text(statusOf(facts(changed)))).split('\n').filter((line) => line.startsWith('dfs_') && !line.includes('{'))
    return new Map(lines.map((line) => line.split(' ')).map(([name = '', value]) => [name, Number(value)]))
  }
  const silent = { objects: 9, isAtLeast: true, silent: [peerNamed('b')] }
  test.each<[string, Partial<StatusFacts>, Record<string, number>]>([
    ['that is whole', { repair: repair(), atRisk: { objects: 0, isAtLeast: false, silent: [] } }, { dfs_degraded: 0, dfs_objects_at_risk: 0, dfs_cluster_objects_at_risk: 0, dfs_cluster_risk_silent: 0, dfs_blocks_short: 0, dfs_blocks_gone: 0, dfs_health_problems: 0, dfs_repair_surveyed: 1 }],
    ['with objects at risk', { repair: repair({ found: { ...found, objectsAtRisk: 3, shortBlocks: 4, goneBlocks: 2 } }), atRisk: silent }, { dfs_degraded: 1, dfs_objects_at_risk: 3, dfs_cluster_objects_at_risk: 9, dfs_cluster_risk_silent: 1, dfs_blocks_short: 4, dfs_blocks_gone: 2, dfs_health_problems: 1 }],
    ['with fewer nodes than a redundancy asks for', { repair: repair({ found: { ...found, narrowBlocks: 4 } }) }, { dfs_degraded: 1, dfs_blocks_short: 0, dfs_blocks_narrow: 4, dfs_health_problems: 1 }],
    ['where others alone know of objects at risk', { repair: repair(), atRisk: silent }, { dfs_degraded: 1, dfs_objects_at_risk: 0, dfs_cluster_objects_at_risk: 9 }],
    ['that holds no blocks', { repair: undefined }, { dfs_degraded: 0, dfs_objects_at_risk: 0, dfs_repair_surveyed: 0 }],
    ['that misses another, and whose memory of rows was lost', { reachable: [peerNamed('b')], rows: { lostPartitions: () => new Set([7]) } }, { dfs_degraded: 1, dfs_lost_partitions: 1 }],
  ])('%s say so', async (_what, changed, expected) => {
    const metrics = await metricsOf(changed)
    for (const [name, value] of Object.entries(expected)) expect(metrics.get(name), name).toBe(value)
  })

  test('follow the status: what was at risk and is whole again is 0 again', async () => {
    const metrics = nodeMetrics()
    await metrics.text(statusOf(facts({ repair: repair({ found: { ...found, objectsAtRisk: 3, shortBlocks: 4 } }) })))
    const text = await metrics.text(statusOf(facts({ repair: repair() })))
    expect(text).toContain('\ndfs_degraded 0\n')
    expect(text).toContain('\ndfs_objects_at_risk 0\n')
  })
})

test('a change that was looked at under the layout before says of this one neither that it is done nor who may be switched off', () => {
  const looked = (version: string): ChangeProgress => ({
    layout: { version, state: 'settled', members: 3 }, rowPartitionsLeft: 0, leftBytes: 0, isDone: true, isWhole: true, waitingFor: [],
    nodes: [{ peerId: peerNamed('d'), isAnswering: true, isInLayout: false, hasLooked: true, heldBytes: 0, misplacedBytes: 0, leftBytes: 0, shortBlocks: 0, mayBeSwitchedOff: true }],
  })
  expect(statusOf(facts({ change: looked(String(layout.version)) })).change).toMatchObject({ isDone: true, mayBeSwitchedOff: [peerNamed('d')] })
  expect(statusOf(facts({ change: looked(String(layout.version - 1n)) })).change).toMatchObject({ isDone: false, isWhole: false, mayBeSwitchedOff: [], waitingFor: [expect.stringContaining('not been looked at')] })
})
