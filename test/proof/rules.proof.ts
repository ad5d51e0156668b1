import { describe, expect, test } from 'vitest'
import { simulateWhole } from '../simulation/whole-run.ts'
import { wholeVariants } from '../simulation/whole-variants.ts'
import { tried } from '../support/tried.ts'

// docs/decisions/0032-simulation.md has all rules, and where each is taken out; these are found where everything works together
const seeds = Number(process.env.RULE_SEEDS ?? 12)
const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a rule of what engines keep for each other, taken out', () => {
  test.each(Object.entries(wholeVariants))('%s: the simulation of the whole finds it', { timeout: 150_000 * seeds }, async (_, variant) => {
    let found: string | undefined
    let runs = 0
    for (let seed = firstSeed; seed < firstSeed + seeds && found === undefined; seed++, runs++) [found] = (await simulateWhole({ seed, minutes: 1, variant: variant() })).violations
    expect(found, `${runs} seeds do not find it`).toBeDefined()
  })

  test('with all rules the same seeds are kept', { timeout: 150_000 * seeds }, async ({ task }) => {
    let [acknowledged, nodeMs, lost] = [0, 0, 0]
    const broken: string[] = []
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const run = await simulateWhole({ seed, minutes: 1 })
      if (run.violations.length > 0) broken.push(`seed ${seed}: ${run.violations.join('; ')}\n${run.events.join('\n')}`)
      lost += run.violations.length
      acknowledged += run.acknowledged
      nodeMs += run.nodeMs
    }
    tried(task, { what: 'seeds that find what a missing rule breaks, with all rules', times: seeds, acknowledged, lost, nodeMs })
    expect(broken).toEqual([])
  })
})
