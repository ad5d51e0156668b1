import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { UnknownOutcome } from '../../../src/base/errors.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { closing, encodeLayout, encodeMemberRow, openLayout, settled } from '../../../src/cluster/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { clearRowRule, clusterAddress, layoutAddress, writeFoundation } from '../../../src/node/membership/membership.ts'
import { tableEngine, type TableEngineParts } from '../../../src/node/rows/table-engine.ts'
import { ClusterState } from '../../../src/node/state.ts'
import { rowCodec } from '../../../src/tables/codec.ts'
import { tables } from '../../../src/tables/index.ts'
import { MemoryRowStore } from '../../../src/tables/memory-row-store.ts'
import { keyNamed, layoutMember, paperCluster, peerNamed } from '../../support/cluster-identities.ts'
import { joinedRow } from '../../support/settling-nodes.ts'

/** The founder, alone, while the layout closes. */
function closingFounder () {
  const cluster = paperCluster()
  const [founder, row] = [layoutMember('founder'), joinedRow('founder')]
  const closed = closing(openLayout(founder))
  const state = new ClusterState(memoryFiles(), { clusterId: cluster.clusterId, authority: cluster.authority, certificate: row.certificate, era: cluster.era(1, [row.certificate.member]), layout: closed, members: [row] })
  const codec = rowCodec({ clusterId: cluster.clusterId, keys: undefined, signer: keyNamed('founder'), random: seededRandom(1), checkClear: clearRowRule(state, () => {}) })
  const network = { requests: undefined, reachable: () => [], admission: { admitted: new Set(), onChange: () => {} } }
  const rows = new MemoryRowStore({ ballotOf: (table, record) => codec.ballotOf(table, record) })
  const { registers } = tableEngine({ self: peerNamed('founder'), state, codec, network, rows, clock: systemClock, random: seededRandom(2), warn: () => {}, saved: () => {} } as unknown as TableEngineParts)
  const change = async (): Promise<void> => registers.change(clusterAddress(tables.members, row.certificate.member.subject), () => ({ kind: 'write', value: encodeMemberRow({ ...row, zone: 'attic' }), result: undefined }))
  const write = async (layout: typeof closed): Promise<void> => registers.change(layoutAddress, () => ({ kind: 'write', value: encodeLayout(layout), result: undefined }))
  return { founder, row, closed, state, registers, change, write }
}

test('a founder that has chosen the settled layout, and was cut off before it went by it, starts again', async () => {
  const { founder, closed, state, registers, change, write } = closingFounder()
  await write(closed)
  await change()
  await write(settled(closed, [founder]))
  await writeFoundation(state, registers, founder.peerId)
})

test('what a founder changes when it has chosen the settled layout, and does not go by it yet, it does not tell as done', async () => {
  const { founder, row, closed, registers, change, write } = closingFounder()
  await write(closed)
  await change()
  await write(settled(closed, [founder]))
  await expect(change()).rejects.toThrow(UnknownOutcome)
  // who does it again finds it done, and known to the founder alone
  const again = async (): Promise<void> => registers.change(clusterAddress(tables.members, row.certificate.member.subject), (value) => {
    expect(value).toEqual(encodeMemberRow({ ...row, zone: 'attic' }))
    return { kind: 'keep', result: undefined }
  })
  await expect(again()).rejects.toThrow(UnknownOutcome)
})
