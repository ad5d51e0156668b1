import { expect, test } from 'vitest'
import { partitionOf, textOf, utf8 } from '../../src/base/bytes.ts'
import { type RowAddress, tables } from '../../src/tables/index.ts'
import { World } from '../simulation/world.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const keys = ['a', 'b', 'c']
const addressOf = (key: string): RowAddress => ({ table: tables.accessKeys, scope: new Uint8Array(16), key: utf8(key) })
const partitions = keys.map((key) => partitionOf(plainCodec.rowKeyOf(addressOf(key))))

/** Nodes, of which "wit" is a witness, with a row for each key; then what `trouble` does, and five minutes. */
async function afterTrouble (names: readonly string[], trouble: (world: World) => void): Promise<{ world: World, changes: readonly string[] }> {
  const world = new World({ seed: 1, names, founders: names.length, witnesses: ['wit'], weather: { loss: 0, duplicates: 0, maxLatencyMs: 20, stragglers: 0, maxSyncMs: 5 } })
  let isOver = false
  const story = (async () => {
    await world.begin(names.length)
    await world.time.sleep(1_000)
    for (const name of names) await world.join(name, 'ann')
    await world.time.sleep(5_000)
    for (const key of keys) await world.registersOf('ann')?.change<undefined>(addressOf(key), () => ({ kind: 'write', value: utf8(key), result: undefined }))
    await world.time.sleep(5_000)
    trouble(world)
    await world.time.sleep(300_000)
    isOver = true
  })()
  await Promise.race([world.time.run(() => isOver), story])
  return { world, changes: world.events.filter((line) => line.includes(': layout ')) }
}
const losesAll = (world: World, name: string): void => { for (const partition of partitions) world.rot(name, partition) }
async function expectWhole (world: World): Promise<void> {
  expect([...world.process('wit')?.store.lostPartitions() ?? []]).toEqual([])
  const read = (async () => Promise.all(keys.map(async (key) => world.registersOf('ann')?.read(addressOf(key)))))()
  let values: ReadonlyArray<Uint8Array | undefined> | undefined
  void read.then((found) => { values = found })
  await world.time.run(() => values !== undefined)
  expect(values?.map((value) => textOf(value ?? new Uint8Array()))).toEqual(keys)
}

test('a witness beside one member has back what it lost, by one change of the layout', { timeout: 120_000 }, async () => {
  const { world, changes } = await afterTrouble(['ann', 'wit'], (of) => { losesAll(of, 'wit') })
  await expectWhole(world)
  expect(changes.map((line) => line.replace(/^\d+ ann: layout \d+ /, ''))).toEqual(['changing of ann,wit: memory of rows that was lost is to be taken over', 'settled of ann,wit: all has been taken over'])
})

test('a witness beside two members has back what it lost, by one change of the layout', { timeout: 120_000 }, async () => {
  const { world, changes } = await afterTrouble(['ann', 'bob', 'wit'], (of) => { losesAll(of, 'wit') })
  await expectWhole(world)
  expect(changes).toHaveLength(2)
})
