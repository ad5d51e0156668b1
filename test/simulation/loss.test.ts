import { describe, expect, test } from 'vitest'
import { tried } from '../support/tried.ts'
import { simulateLoss } from './loss-run.ts'

// more: LOSS_RUNS=50, SIMULATION_SEED starts elsewhere; and npm run sim -- --loss
const runs = Number(process.env.LOSS_RUNS ?? 3)
const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a cluster whose majority dies for good, and is given up', () => {
  test('goes on with what any survivor has, and lets nobody in who was given up', { timeout: 120_000 * runs }, async ({ task }) => {
    let [acknowledged, nodeMs, lost] = [0, 0, 0]
    const broken: string[] = []
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const run = await simulateLoss({ seed })
      if (run.violations.length > 0) broken.push(`seed ${seed}: ${run.violations.join('; ')}\n${run.events.join('\n')}`)
      lost += run.violations.length
      acknowledged += run.acknowledged
      nodeMs += run.nodeMs
    }
    tried(task, { what: 'seeds of a simulated cluster that loses its majority', times: runs, acknowledged, lost, nodeMs })
    expect(broken).toEqual([])
    // below it, nothing was tried
    expect(acknowledged).toBeGreaterThan(20 * runs)
  })

  test.each([10, 11, 16])('goes on with giving up what was cut off before the era, though the layout has settled meanwhile (seed %s: it was refused, and who was lost was let in again)', { timeout: 120_000 }, async (seed) => {
    const run = await simulateLoss({ seed })
    expect(run.violations, run.events.join('\n')).toEqual([])
  })
})
