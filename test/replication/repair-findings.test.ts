import { expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import type { Reference } from '../../src/replication/index.ts'
import { Findings, type Work } from '../../src/replication/repair-findings.ts'
import type { BlockPlan } from '../../src/replication/repair-plan.ts'

const [self, other, third] = ['self', 'other', 'third'] as PeerId[] as [PeerId, PeerId, PeerId]
const versionOf = (name: string, copies: number): Reference => ({ versionId: hash(utf8(name)), redundancy: { k: 1, m: copies - 1 } })
const plan = (surviving: number, wanted: number): BlockPlan => ({ surviving, wanted, asked: wanted, push: [third], tell: [], fetchFrom: [], releaseTo: [], isMisplaced: false, references: 1, substitutes: [] })

test('a block that is mended takes nothing from the risk of a version that it was no risk to (an object with another short block was told as safe)', async () => {
  const [shared, own] = [cidOf(utf8('shared')), cidOf(utf8('own'))]
  const [ofTwo, ofThree] = [versionOf('of two', 2), versionOf('of three', 3)]
  const references = new Map<Cid, readonly Reference[]>([[shared, [ofTwo, ofThree]], [own, [ofTwo]]])
  const findings = new Findings({
    holder: { async * references (cid) { yield * references.get(cid) ?? [] } }, inventory: { sizeOf: async () => 1 },
    placement: { holdersOf: () => [self, other, third], version: () => 1n },
  })
  // two copies are enough for one of its versions
  const [work] = await findings.note({ cid: shared, plan: plan(2, 3), shardPlans: [], isStranded: false }) as [Work]
  await findings.note({ cid: own, plan: plan(1, 2), shardPlans: [], isStranded: false })
  expect(findings.told()).toMatchObject({ shortBlocks: 2, versionsAtRisk: 2 })
  await findings.mended(shared, work.item.isAtRisk ?? (() => true))
  expect(findings.told()).toMatchObject({ shortBlocks: 1, versionsAtRisk: 1 })
  expect(findings.atRisk.ids(9)).toEqual([hexOf(ofTwo.versionId)])
})
