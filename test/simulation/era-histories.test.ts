import { describe, expect, test } from 'vitest'
import { simulateLayoutHistory, type Stage } from './layout-histories.ts'
import { eraHistories } from './era-histories.ts'
import { eraVariants } from './era-variants.ts'

const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a rule of eras taken out, told step by step', () => {
  // in each of them, or nearly: what a node asks first is not told
  test.each(Object.entries(eraHistories))('%s: it is found, and with the rule nothing is', { timeout: 240_000 }, async (name, history) => {
    const who = { ...history, history: async (stage: Stage): Promise<void> => history.told(stage) }
    const found: string[] = []
    for (let seed = firstSeed; seed < firstSeed + 3 && found.length === 0; seed++) {
      const whole = await simulateLayoutHistory({ seed, ...who })
      expect(whole.violations, `seed ${seed}:\n${whole.events.join('\n')}`).toEqual([])
      found.push(...(await simulateLayoutHistory({ seed, ...who, variant: eraVariants[name]?.() })).violations)
    }
    expect(found.length).toBeGreaterThan(0)
  })
})
