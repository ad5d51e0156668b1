import { parseArgs } from 'node:util'
import { simulateLayout } from '../test/simulation/layout-run.ts'
import { simulateLoss } from '../test/simulation/loss-run.ts'
import { simulateWhole } from '../test/simulation/whole-run.ts'
import { worldVariants } from '../test/simulation/world-variants.ts'

/**
 * `npm run sim -- --seed 7 --runs 20 --minutes 3 [--variant NAME] [--rows] [--replacement] [--loss] [--json] [--verbose]`: small clusters that do everything at once, in one
 * process, on a virtual clock; with `--rows` rows and layouts alone, with `--replacement` of those every node is followed by another in good weather, with `--loss` of those a majority dies for good and is given up. The same seed
 * gives the same lines, to the byte, on every machine; with `--json` one object a line, and what the real clock says on lines of its own that name `wall`. Ends
 * with 1 when a promise was broken.
 */
const { values } = parseArgs({ options: {
  seed: { type: 'string', default: '1' }, runs: { type: 'string', default: '1' }, minutes: { type: 'string', default: '3' }, variant: { type: 'string' },
  json: { type: 'boolean', default: false }, verbose: { type: 'boolean', default: false }, rows: { type: 'boolean', default: false }, replacement: { type: 'boolean', default: false }, loss: { type: 'boolean', default: false },
} })
const [firstSeed, runs, minutes] = [number('seed', values.seed), number('runs', values.runs), number('minutes', values.minutes)]
const variant = values.variant === undefined ? undefined : worldVariants[values.variant]
if (values.variant !== undefined && variant === undefined) throw new Error(`there is no variant "${values.variant}"; there are ${Object.keys(worldVariants).join('; ')}`)
const isRows = values.rows || values.replacement

const startMs = performance.now()
let [nodeMs, broken] = [0, 0]
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  const cpu = process.cpuUsage()
  const { events, ...run } = values.loss ? await simulateLoss({ seed, variant: variant?.() }) : isRows ? await simulateLayout({ seed, minutes, variant: variant?.(), isReplacement: values.replacement }) : await simulateWhole({ seed, minutes, variant: variant?.() })
  const used = process.cpuUsage(cpu)
  nodeMs += run.nodeMs
  if (run.violations.length > 0) broken++
  if (values.verbose || (run.violations.length > 0 && !values.json)) for (const line of events) tell({ seed, event: line }, line)
  const { violations, ...counts } = run
  tell({ seed, ...run }, `seed ${seed}: ${violations.length === 0 ? 'kept' : `BROKEN: ${violations.join('; ')}`}; ${Object.entries(counts).map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value) : value}`).join(', ')}`)
  tell({ wall: { seed, cpuSeconds: round((used.user + used.system) / 1e6) } }, `wall: seed ${seed}: ${round((used.user + used.system) / 1e6)} s of CPU`)
}
tell({ runs, broken, nodeDays: round(nodeMs / 86_400_000) }, `${runs} runs, ${broken} broken, ${round(nodeMs / 86_400_000)} node-days`)
tell({ wall: { seconds: round((performance.now() - startMs) / 1000) } }, `wall: ${round((performance.now() - startMs) / 1000)} s`)
if (broken > 0) process.exitCode = 1

function tell (object: object, text: string): void { console.log(values.json ? JSON.stringify(object) : text) }
function round (value: number): number { return Math.round(value * 1000) / 1000 }
function number (name: string, text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} takes a number above 0`)
  return value
}
