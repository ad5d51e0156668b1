import { expect, test } from 'vitest'
import { changing, closing, openLayout, settled } from '../../../src/cluster/index.ts'
import { layoutReportOf } from '../../../src/node/layout/layout-report.ts'
import { layoutMember } from '../../support/cluster-identities.ts'

test('a layout tells who has how many partitions, now and to come', () => {
  const [founder, second, third, fresh] = [layoutMember('founder'), layoutMember('second'), layoutMember('third'), layoutMember('fresh')]
  const layout = settled(closing(openLayout(founder)), [founder, second, third])
  expect(layoutReportOf(layout)).toMatchObject({ version: '3', state: 'settled', voters: 3 })
  expect(layoutReportOf(layout).members.map(({ present, next }) => [present, next])).toEqual([1, 2, 3].map(() => [{ rows: 4096, blocks: 4096 }, undefined]))

  const { state, members } = layoutReportOf(changing(layout, [founder, second, { ...fresh, zone: 'cellar' }]))
  expect([state, members.length]).toEqual(['changing', 4])
  expect(members.find(({ peerId }) => peerId === third.peerId)).toMatchObject({ present: { rows: 4096, blocks: 4096 }, next: undefined })
  expect(members.find(({ peerId }) => peerId === fresh.peerId)).toMatchObject({ zone: 'cellar', present: undefined, next: { rows: 4096, blocks: 4096 } })
})
