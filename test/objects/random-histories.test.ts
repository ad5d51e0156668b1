import { describe, expect, test } from 'vitest'
import { objectHistory } from '../support/object-histories.ts'
import { objectVariants } from '../support/object-variants.ts'
import { tried } from '../support/tried.ts'

// more: OBJECT_HISTORIES=3000; OBJECT_SEED starts elsewhere
const runs = Number(process.env.OBJECT_HISTORIES ?? 60)
const firstSeed = Number(process.env.OBJECT_SEED ?? 1)

describe('objects of two buckets, while everything is done to them at once', () => {
  test('are what was acknowledged, and every id that has blocks is in one place until it is dead: puts, deletes, copies, uploads, conversions, tags, settings, buckets, what is given up, and rows that cannot be had', { timeout: 60_000 + 1000 * runs }, async ({ task, onTestFailed }) => {
    let [acknowledged, lost] = [0, 0]
    const broken: string[] = []
    let told: readonly string[] = []
    onTestFailed(() => { console.log([broken[0], ...told].join('\n')) })
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const history = await objectHistory({ seed })
      if (history.violations.length > 0 && broken.length === 0) told = history.events
      if (history.violations.length > 0) broken.push(`seed ${seed}: ${history.violations.join('; ')}`)
      lost += history.violations.length
      acknowledged += history.acknowledged
    }
    tried(task, { what: 'seeds of random histories of objects', times: runs, acknowledged, lost })
    expect(broken).toEqual([])
    // below it, nothing was tried
    expect(acknowledged).toBeGreaterThan(10 * runs)
  })

  test('repeat from their seed', async () => {
    for (const seed of [3, 6]) expect(await objectHistory({ seed })).toEqual(await objectHistory({ seed }))
  })
})

describe('a rule of the object engine taken out', () => {
  test.each(Object.entries(objectVariants))('%s: a history finds it', { timeout: 120_000 }, async (_, { seed: known, variant }) => {
    const isFound = async (seed: number): Promise<boolean> => (await objectHistory({ seed, variant: variant() })).violations.length > 0
    let found = await isFound(known) ? known : undefined
    for (let seed = firstSeed; seed < firstSeed + 400 && found === undefined; seed++) if (await isFound(seed)) found = seed
    expect(found).toBeDefined()
  })
})
