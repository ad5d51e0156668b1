import { parseArgs } from 'node:util'
import { simulateJoins } from '../test/simulation/join-run.ts'
import { simulateLayout } from '../test/simulation/layout-run.ts'
import { simulateLoss } from '../test/simulation/loss-run.ts'
import { simulateWhole } from '../test/simulation/whole-run.ts'
import { worldVariants } from '../test/simulation/world-variants.ts'

/**
 * `npm run sim`: small clusters that do everything at once, in one process, on a virtual clock. The same seed gives the same lines, to the byte, on every machine.
 */
const usage = `npm run sim -- [--seed N] [--runs N] [--minutes M] [--variant NAME] [--rows | --replacement | --loss | --joins] [--json] [--verbose]

  --seed N        of the first run, from 1 (1)
  --runs N        one after the other, each with the next seed (1)
  --minutes M     of simulated trouble, before what was written is looked for (3)
  --variant NAME  a rule of the product is taken out, as it is named in test/simulation/
  --rows          rows and layouts alone
  --replacement   of those, every node is followed by another, in good weather
  --loss          a majority dies for good, and is given up; it takes as long as it takes
  --joins         nodes that know each other only by what they are told join while others are away, and are put out
  --json          one object a line; what the real clock says on lines of its own that name "wall"
  --verbose       what happened, too

It ends with 1 when a promise was broken, with 2 for wrong options.`

class WrongOption extends Error {}

function givenOptions () {
  try {
    return parseArgs({ options: {
      seed: { type: 'string', default: '1' }, runs: { type: 'string', default: '1' }, minutes: { type: 'string', default: '3' }, variant: { type: 'string' }, help: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false }, verbose: { type: 'boolean', default: false }, rows: { type: 'boolean', default: false }, replacement: { type: 'boolean', default: false }, loss: { type: 'boolean', default: false }, joins: { type: 'boolean', default: false },
    } }).values
  } catch (cause) {
    throw new WrongOption(`${(cause as Error).message}\n(npm run sim -- --help lists the options)`, { cause })
  }
}

type Given = ReturnType<typeof givenOptions>

async function main (): Promise<void> {
  const values = givenOptions()
  if (values.help) { console.log(usage); return }
  const variant = values.variant === undefined ? undefined : worldVariants[values.variant]
  if (values.variant !== undefined && variant === undefined) throw new WrongOption(`there is no variant "${values.variant}"; there are:\n  ${Object.keys(worldVariants).join('\n  ')}`)
  for (const own of ['loss', 'joins'] as const) if (values[own] && (values.rows || values.replacement || (values.loss && values.joins))) throw new WrongOption(`--${own} is a simulation of its own: without ${['--rows', '--replacement', '--loss', '--joins'].filter((other) => other !== `--${own}`).join(', ').replace(/, ([^,]*)$/, ' and $1')}`)
  await simulate({ ...values, seed: whole('seed', values.seed), runs: whole('runs', values.runs), minutes: positive('minutes', values.minutes) }, variant)
}

interface Wanted extends Omit<Given, 'seed' | 'runs' | 'minutes'> { readonly seed: number, readonly runs: number, readonly minutes: number }

async function simulate (values: Wanted, variant: (typeof worldVariants)[string] | undefined): Promise<void> {
  const { seed: firstSeed, runs, minutes, json: isJson } = values
  const startMs = performance.now()
  let [nodeMs, broken] = [0, 0]
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const cpu = process.cpuUsage()
    const { events, ...run } = values.joins ? await simulateJoins({ seed, minutes, variant: variant?.() }) : values.loss ? await simulateLoss({ seed, variant: variant?.() }) : values.rows || values.replacement ? await simulateLayout({ seed, minutes, variant: variant?.(), isReplacement: values.replacement }) : await simulateWhole({ seed, minutes, variant: variant?.() })
    const used = process.cpuUsage(cpu)
    nodeMs += run.nodeMs
    if (run.violations.length > 0) broken++
    if (values.verbose || (run.violations.length > 0 && !values.json)) for (const line of events) told({ seed, event: line }, line)
    const { violations, ...counts } = run
    told({ seed, ...run }, `seed ${seed}: ${violations.length === 0 ? 'kept' : `BROKEN: ${violations.join('; ')}`}; ${Object.entries(counts).map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value) : value}`).join(', ')}`)
    told({ wall: { seed, cpuSeconds: round((used.user + used.system) / 1e6) } }, `wall: seed ${seed}: ${round((used.user + used.system) / 1e6)} s of CPU`)
  }
  told({ runs, broken, nodeDays: round(nodeMs / 86_400_000) }, `${runs} runs, ${broken} broken, ${round(nodeMs / 86_400_000)} node-days`)
  told({ wall: { seconds: round((performance.now() - startMs) / 1000) } }, `wall: ${round((performance.now() - startMs) / 1000)} s`)
  if (broken > 0) process.exitCode = 1

  function told (object: object, text: string): void { console.log(isJson ? JSON.stringify(object) : text) }
}

function round (value: number): number { return Math.round(value * 1000) / 1000 }

function positive (name: string, text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new WrongOption(`--${name} is "${text}"; it takes a number above 0`)
  return value
}

function whole (name: string, text: string): number {
  if (!Number.isSafeInteger(positive(name, text))) throw new WrongOption(`--${name} is "${text}"; it takes a whole number from 1`)
  return Number(text)
}

await main().catch((error: unknown) => {
  if (!(error instanceof WrongOption)) throw error
  console.error(error.message)
  process.exitCode = 2
})
