import { describe, expect, test } from 'vitest'
import { simulateWholeHistory, type WholeHistory, wholeHistories } from './whole-histories.ts'
import { toldVariants } from './whole-variants.ts'

const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a rule that engines keep for each other taken out, told step by step', () => {
  // in each of them, or nearly: what a node asks first is not told
  test.each(Object.entries(wholeHistories))('%s: it is found, and with the rule nothing is', { timeout: 240_000 }, async (name, of) => {
    const [found, history]: [string[], WholeHistory] = [[], of]
    const also = history.beside === undefined ? undefined : toldVariants[history.beside]
    for (let seed = firstSeed; seed < firstSeed + 3 && found.length === 0; seed++) {
      const whole = await simulateWholeHistory({ seed, history, beside: also?.() })
      expect(whole.violations, `seed ${seed}:\n${whole.events.join('\n')}`).toEqual([])
      found.push(...(await simulateWholeHistory({ seed, history, variant: toldVariants[name]?.(), beside: also?.() })).violations)
      // the other one is enough
      if (also !== undefined) expect((await simulateWholeHistory({ seed, history, variant: toldVariants[name]?.() })).violations).toEqual([])
    }
    expect(found.length).toBeGreaterThan(0)
  })
})
