import { describe, expect, test } from 'vitest'
import { simulateWholeHistory, wholeHistories } from './whole-histories.ts'
import { toldVariants } from './whole-variants.ts'

const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a rule that engines keep for each other taken out, told step by step', () => {
  // in each of them, or nearly: what a node asks first is not told
  test.each(Object.entries(wholeHistories))('%s: it is found, and with the rule nothing is', { timeout: 240_000 }, async (name, history) => {
    const found: string[] = []
    for (let seed = firstSeed; seed < firstSeed + 3 && found.length === 0; seed++) {
      const whole = await simulateWholeHistory({ seed, history })
      expect(whole.violations, `seed ${seed}:\n${whole.events.join('\n')}`).toEqual([])
      found.push(...(await simulateWholeHistory({ seed, history, variant: toldVariants[name]?.() })).violations)
    }
    expect(found.length).toBeGreaterThan(0)
  })
})
