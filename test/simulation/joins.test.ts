import { describe, expect, test } from 'vitest'
import { tried } from '../support/tried.ts'
import { simulateJoins } from './join-run.ts'

// more: JOIN_RUNS=50, SIMULATION_SEED starts elsewhere; and npm run sim -- --joins
const runs = Number(process.env.JOIN_RUNS ?? 1)
const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('nodes that know of each other what they are told', () => {
  test('join while others are away, are put out and come back: each lets in each, and nothing that was acknowledged is lost', { timeout: 240_000 * runs }, async ({ task }) => {
    let [told, joined, nodeMs, lost] = [0, 0, 0, 0]
    const broken: string[] = []
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const run = await simulateJoins({ seed, minutes: 1 })
      if (run.violations.length > 0) broken.push(`seed ${seed}: ${run.violations.join('; ')}\n${run.events.join('\n')}`)
      lost += run.violations.length
      told += run.told
      joined += run.joined
      nodeMs += run.nodeMs
    }
    tried(task, { what: 'seeds of a simulated cluster that others join', times: runs, acknowledged: told, lost, nodeMs })
    expect(broken).toEqual([])
    // below it, nothing was tried
    expect(joined).toBeGreaterThan(2 * runs)
  })

  test('repeats to the byte from its seed', { timeout: 120_000 }, async () => {
    const [once, again] = [await simulateJoins({ seed: 5, minutes: 0.2 }), await simulateJoins({ seed: 5, minutes: 0.2 })]
    expect(again.digest).toBe(once.digest)
  })
})
