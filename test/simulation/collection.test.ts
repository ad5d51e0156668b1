import { describe, expect, test } from 'vitest'
import { tried } from '../support/tried.ts'
import { simulateCollection } from './collection-run.ts'
import { collectionVariants } from './collection-variants.ts'

// more: RACES=1000; COLLECTION_SEED starts elsewhere
const races = Number(process.env.RACES ?? 16)
const firstSeed = Number(process.env.COLLECTION_SEED ?? 1)

describe('collection, while everything else goes on', () => {
  test('takes away no block that is needed, and all that is not: puts of shared blocks, whole or in shards, overwrites, deletions, stalled uploads, slow reads, nodes killed and cut off, a disk that forgets', { timeout: 120_000 + 10_000 * races }, async ({ task }) => {
    let [acknowledged, collected, nodeMs, lost] = [0, 0, 0, 0]
    const failed: string[] = []
    for (let seed = firstSeed; seed < firstSeed + races; seed++) {
      const run = await simulateCollection({ seed, isForgetting: seed % 2 === 0, isSpread: seed % 3 === 0 })
      acknowledged += run.acknowledged
      collected += run.collected
      nodeMs += run.nodeMs
      lost += run.violations.length
      if (run.violations.length > 0) failed.push(`seed ${seed}: ${run.violations.join('; ')}`)
    }
    tried(task, { what: `seeds of collection against everything else, ${collected.toLocaleString('en')} blocks collected`, times: races, acknowledged, lost, nodeMs })
    expect(failed).toEqual([])
    // it is worth nothing if nothing happens
    expect(acknowledged / races).toBeGreaterThan(20)
    expect(collected / races).toBeGreaterThan(10)
  })

  test('repeats from its seed', async () => {
    expect(await simulateCollection({ seed: 3 })).toEqual(await simulateCollection({ seed: 3 }))
  })
})

describe('a rule of collection taken out', () => {
  test.each(Object.entries(collectionVariants))('%s: the simulation finds it', { timeout: 600_000 }, async (_, { seed: known, variant, isForgetting }) => {
    const isFound = async (seed: number): Promise<boolean> => (await simulateCollection({ seed, variant, isForgetting })).violations.length > 0
    let found = await isFound(known) ? known : undefined
    for (let seed = firstSeed; seed < firstSeed + 40 && found === undefined; seed++) if (await isFound(seed)) found = seed
    expect(found).toBeDefined()
  })
})
