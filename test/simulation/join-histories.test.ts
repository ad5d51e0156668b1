import { describe, expect, test } from 'vitest'
import { joinHistories } from './join-histories.ts'
import { joinVariants } from './join-variants.ts'
import { simulateLayoutHistory, type Stage } from './layout-histories.ts'

const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a rule of membership taken out where nodes do not know each other, told step by step', () => {
  test.each(Object.entries(joinHistories))('%s: it is found, and with the rule nothing is', { timeout: 240_000 }, async (name, history) => {
    const who = { ...history, hasJoins: true, history: async (stage: Stage): Promise<void> => history.told(stage) }
    const found: string[] = []
    for (let seed = firstSeed; seed < firstSeed + 3 && found.length === 0; seed++) {
      const whole = await simulateLayoutHistory({ seed, ...who })
      expect(whole.violations, `seed ${seed}:\n${whole.events.join('\n')}`).toEqual([])
      found.push(...(await simulateLayoutHistory({ seed, ...who, variant: joinVariants[name]?.() })).violations)
    }
    expect(found.length).toBeGreaterThan(0)
  })
})
