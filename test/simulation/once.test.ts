import { expect, test } from 'vitest'
import { simulateCollection } from './collection-run.ts'
import { simulateJoins } from './join-run.ts'
import { simulateLayout } from './layout-run.ts'
import { simulateLoss } from './loss-run.ts'
import { simulateWhole } from './whole-run.ts'

/** One seed of each simulation that is too long for every change: a fault that shows at once shows here. More of them: `npm run test:longer`, `npm run prove`. */
interface Run { readonly violations: readonly string[], readonly nodeMs: number, readonly acknowledged: number, readonly events?: readonly string[] }

const simulations: Readonly<Record<string, () => Promise<Run>>> = {
  'the whole of it': async () => simulateWhole({ seed: 3, minutes: 0.3 }),
  'the loss of a majority': async () => simulateLoss({ seed: 2 }),
  'others that join': async () => { const run = await simulateJoins({ seed: 3, minutes: 0.2 }); return { ...run, acknowledged: run.told } },
  'rows while the layout changes': async () => { const run = await simulateLayout({ seed: 3, minutes: 0.2 }); return { ...run, acknowledged: run.appended } },
  'collection against everything else': async () => simulateCollection({ seed: 3, isSpread: true }),
}

test.each(Object.entries(simulations))('%s, simulated for one seed, keeps what it acknowledged', { timeout: 120_000 }, async (_, simulate) => {
  const { violations, nodeMs, acknowledged, events = [] } = await simulate()
  expect(violations, events.join('\n')).toEqual([])
  expect(acknowledged).toBeGreaterThan(5)
  expect(nodeMs).toBeGreaterThan(0)
})
