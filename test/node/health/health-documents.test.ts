import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { closing, openLayout, settled } from '../../../src/cluster/index.ts'
import { configOf } from '../../../src/config.ts'
import { type StatusFacts, statusOf } from '../../../src/node/health/status.ts'
import type { ClusterState } from '../../../src/node/state.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed } from '../../support/cluster-identities.ts'

const cluster = paperCluster()
const layoutOf = (...names: readonly string[]): ClusterState['layout'] => {
  const members = names.map((name) => layoutMember(name))
  return settled(closing(openLayout(members[0] as typeof members[0] & object)), members)
}
const total = new Proxy({}, { get: () => 0 })

/** Node "a", with whom nothing is well. */
const unwell = (changed: object = {}, names: readonly string[] = ['a', 'b', 'c']): readonly string[] => statusOf({
  config: configOf({ home: '/' }).config,
  state: { layout: layoutOf(...names), clusterId: cluster.clusterId, certificate: certificateOf(cluster.member('a')), members: new Map(), belongs: () => false } as unknown as ClusterState,
  peerId: peerNamed('a'), addresses: [], uptimeMs: 0, reachable: [], forgetful: [peerNamed('b')], freeBytes: 0, givenUp: [peerNamed('c')], leftOut: [peerNamed('d')], listedShare: 0.5,
  blocks: { count: 0, bytes: 0, corrupt: 2, shards: 0, isReadOnly: true, readOnlyReason: 'the disk is full' }, cache: { bytes: 0, limitBytes: 0 }, rows: { lostPartitions: () => new Set([1]), readOnlyReason: 'an fsync failed' },
  repair: { state: 'paused', failure: 'why', full: ['c'], found: { objectsAtRisk: 1, shortBlocks: 2, goneBlocks: 1, narrowBlocks: 3 }, total },
  collect: { state: 'paused', failure: 'why', found: { heldUpBlocks: 1 }, publishing: { failure: 'why' }, total }, convert: { state: 'paused', failure: 'why', found: { versions: 1 }, total },
  scrub: { state: 'paused', failure: 'why', phase: 'reading', found: { damagedFiles: 1, wrongReferences: 1 } }, compare: { state: 'paused', total }, indexDamage: [{ file: '1.log' }],
  ...changed,
} as unknown as StatusFacts).health

/** Of the table in docs/OPERATIONS.md, what each line begins with, or has in it; N and M are numbers, … is anything. */
async function documented (): Promise<readonly RegExp[]> {
  const text = await readFile(new URL('../../../docs/OPERATIONS.md', import.meta.url), 'utf8')
  const table = text.slice(text.indexOf('| line | means | do |')).split('\n\n')[0] ?? ''
  const cells = table.split('\n').slice(2).map((row) => row.split('|')[1]?.trim() ?? '')
  return cells.flatMap((cell) => cell.split('; ')).map((cell) => {
    const said = cell.split(':')[0] ?? ''
    return new RegExp(said.replaceAll(/[.*+?^${}()[\]\\]/g, '\\$&').replaceAll(/\b[NM]\b/g, '\\d+').replaceAll('…', '.*'))
  })
}

describe('docs/OPERATIONS.md', () => {
  test('has each line of health', async () => {
    const rows = await documented()
    const lines = [
      ...unwell(), ...unwell({ reachable: [peerNamed('b')] }, ['a', 'b']),
      // of other parts, and of other clusters
      'one node alone has the keys (a): if its keyring is lost nobody can ever read anything',
      'the layout changes, and waits for b to take over', 'what survived the loss of a majority is put together, and waits for b; who of them is lost too has to be given up as well',
      'b stay in the layout though away: without them some rows would have no majority of those who know them',
      'this node\'s capacity of 5 bytes is not counted on: why', 'this node\'s capacity was set to 5 bytes, and the cluster counts on 6: say so on a member',
    ]
    expect(lines.length).toBeGreaterThan(25)
    expect(lines.filter((line) => !rows.some((row) => row.test(line)))).toEqual([])
  })
})
