import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { tables } from '../../src/tables/index.ts'
import type { IndexedRow, IndexPage } from '../../src/tables/listing-index.ts'
import { memoryIndexLimits, memoryListingIndex } from '../../src/tables/memory-listing-index.ts'
import { memoryListingIndex as plainIndex } from '../support/table-memory-index.ts'

const table = tables.objects
const scope = new Uint8Array(16).fill(1)
const proposer = new Uint8Array(32).fill(9)
const none = new Uint8Array(0)

const rowOf = (name: string, counter: bigint, summary: Uint8Array | undefined): IndexedRow => ({ table, rowKey: hash(utf8(name)), ballot: { counter, proposer }, listed: { name: utf8(name), scope, summary } })
const below = (random: Random, end: number): number => Math.floor(random.fraction() * end)
const nameOf = (random: Random): string => `${'abc'.charAt(below(random, 3))}${random.fraction() < 0.5 ? '/' : ''}${below(random, 4000)}${'x'.repeat(random.fraction() < 0.01 ? 900 : 0)}`

/** As one text: what differs in a thousand arrays of bytes takes a runner minutes to print. */
const shown = ({ entries, truncated }: IndexPage): string => JSON.stringify({ truncated, entries: entries.map(({ name, rowKey, ballot, summary }) => [hexOf(name), hexOf(rowKey), String(ballot.counter), hexOf(ballot.proposer), summary === undefined ? null : hexOf(summary)]) })

describe('the listing index in memory', () => {
  test.each([1, 2, 3])('gives what an index would that sorts everything on every page (%i)', async (seed) => {
    const random = seededRandom(seed)
    const [packed, plain] = [memoryListingIndex(), plainIndex()]
    const counters = new Map<string, bigint>()
    for (let i = 0; i < 6 * memoryIndexLimits.runLength; i++) {
      const name = nameOf(random)
      const counter = counters.get(name) ?? 0n
      if (random.fraction() < 0.2) {
        const gone = [{ table, rowKey: hash(utf8(name)), ballot: { counter, proposer }, name: utf8(name), scope }]
        for (const index of [packed, plain]) await index.forget(gone)
        continue
      }
      counters.set(name, counter + 1n)
      const row = rowOf(name, counter + 1n, random.fraction() < 0.1 ? undefined : random.bytes(random.fraction() < 0.01 ? 4096 : below(random, 200)))
      for (const index of [packed, plain]) await index.update([row])
    }
    const asked = [{ prefix: none, after: undefined, limit: 1001 }, ...Array.from({ length: 60 }, () => ({ prefix: utf8(nameOf(random).slice(0, below(random, 3))), after: random.fraction() < 0.5 ? undefined : utf8(nameOf(random)), limit: 1 + below(random, 1001) }))]
    for (const one of asked) expect(shown(await packed.page({ table, scope, ...one })) === shown(await plain.page({ table, scope, ...one }))).toBe(true)
    expect(await packed.scopes(table)).toEqual([scope])
  })

  test('gives pages that what comes later does not change', async () => {
    const index = memoryListingIndex()
    for (let i = 0; i < 100; i++) await index.update([rowOf(`name ${i}`, 1n, utf8(`summary ${i}`))])
    const ask = async (): Promise<IndexPage> => index.page({ table, scope, prefix: none, after: undefined, limit: 50 })
    const page = await ask()
    const same = shown(await ask())
    for (let i = 0; i < 1000; i++) await index.update([rowOf(`name ${i}`, 2n, utf8('other'))])
    expect(shown(page) === same).toBe(true)
  })

  test('keeps the later ballot, whichever is shown last', async () => {
    const index = memoryListingIndex()
    for (const counter of [2n, 1n]) await index.update([rowOf('name', counter, utf8(String(counter)))])
    expect((await index.page({ table, scope, prefix: none, after: undefined, limit: 1 })).entries).toMatchObject([{ ballot: { counter: 2n }, summary: utf8('2') }])
  })
})
