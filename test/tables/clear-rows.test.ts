import { expect, test } from 'vitest'
import { partitionOf } from '../../src/base/bytes.ts'
import { ClearRows } from '../../src/tables/clear-rows.ts'
import { type StoredRow, tables } from '../../src/tables/index.ts'
import { seedNamed } from '../support/cluster-identities.ts'

const ballot = { counter: 1n, proposer: seedNamed('proposer') }
const row: StoredRow = { table: tables.members, rowKey: seedNamed('row'), promised: ballot, accepted: seedNamed('record') }

test('who asks for the clear rows while a partition is looked into that came back waits for it too: what another is told lacks none of them', async () => {
  let isLost = true
  const read = Promise.withResolvers<void>()
  const clear = new ClearRows({
    codec: { ballotOf: () => ballot },
    store: {
      lostPartitions: () => new Set(),
      get: async () => row,
      rows: async function * (partition: number) {
        if (isLost || partition !== partitionOf(row.rowKey)) return
        await read.promise
        yield row
      },
    } as unknown as ConstructorParameters<typeof ClearRows>[0]['store'],
  })
  expect((await clear.digest()).count).toBe(0)
  isLost = false
  clear.refilled([partitionOf(row.rowKey)])
  const counts = Promise.all([clear.digest(), clear.digest()])
  read.resolve()
  expect((await counts).map(({ count }) => count)).toEqual([1, 1])
})
