import { expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { hash } from '../../../src/base/hash.ts'
import { sweeping, uploadSweepTask } from '../../../src/node/work/sweeping.ts'
import { tables } from '../../../src/tables/index.ts'
import { memoryListingIndex } from '../../../src/tables/memory-listing-index.ts'
import { bytesOf, NodeDied, target, uploadWorld } from '../../support/upload-nodes.ts'

const ballot = { counter: 1n, proposer: new Uint8Array(32) }

test('an index tells the scopes in which it has names of a table, and forgets those in which it has none', async () => {
  const index = memoryListingIndex()
  const [one, two] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)]
  const row = (table: number, scope: Uint8Array, name: string): Parameters<typeof index.update>[0][number] => ({ table: table as never, rowKey: hash(utf8(name)), ballot, listed: { name: utf8(name), scope, summary: undefined } })
  await index.update([row(tables.uploads, one, 'a'), row(tables.uploads, two, 'b'), row(tables.objects, new Uint8Array(16), 'c')])
  expect(await index.scopes(tables.uploads)).toEqual([one, two])
  await index.forget([{ table: tables.uploads, rowKey: hash(utf8('a')), ballot, name: utf8('a'), scope: one }])
  expect(await index.scopes(tables.uploads)).toEqual([two])
})

test('rows of an upload whose node has died are swept within an hour, by any member', async () => {
  const world = await uploadWorld()
  const { uploadId } = await world.node().uploads.create(target)
  await world.node().uploads.putPart(target, uploadId, 1, bytesOf('a part of it'))
  // the bucket twice, head and row are read, the row is changed, and nothing more happens
  await expect(world.mortalNode({ at: 5, when: 'after' }).uploads.abort(target, uploadId)).rejects.toThrow(NodeDied)
  expect(world.rowOf('k')?.pending).toEqual([])
  expect(world.uploadRows()).toHaveLength(2)
  let nowMs = 0
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs }
  const scope = world.uploadRows()[0]?.bucketId as Uint8Array
  const task = uploadSweepTask({ registers: world.parts.registers, index: { scopes: () => Promise.resolve([scope]) }, clock, warn: (message, cause) => { throw new Error(message, { cause }) } })
  const wait = { signal: new AbortController().signal }
  expect(await task.step(wait)).toBe('idle')
  expect(world.uploadRows()).toHaveLength(2)
  nowMs += sweeping.everyMs + 1
  while (await task.step(wait) === 'busy');
  expect(world.uploadRows()).toEqual([])
})
