import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { cpus, loadavg, totalmem } from 'node:os'
import { mib } from './measure.ts'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What it is compared with, in the same run. */
  readonly ratio?: number
  readonly against?: string
  /** Of the ratio if there is one, else of the value. */
  readonly target?: Target
}

export type Target = { readonly atLeast: number } | { readonly atMost: number }

/** The one table: printed line by line as figures come, kept for the JSON. */
export class Report {
  readonly machine = machine()
  readonly #figures: Array<Figure & { readonly section: string, readonly isMet?: boolean }> = []
  #section = ''

  /** `settings`: what a reader must know to run it again. */
  constructor (settings: Readonly<Record<string, unknown>>) {
    const { model, cores, memoryGiB, node, date, commit, loadAverage } = this.machine
    console.log(`${cores} × ${model}, ${memoryGiB} GiB, Node ${node}, ${date}, commit ${commit}, load average at start ${loadAverage.join(' ')}`)
    console.log(Object.entries(settings).map(([name, value]) => `${name} ${String(value)}`).join(', '))
    console.log(`\n${line('', 'figure', '', 'ratio', 'target')}`)
  }

  section (name: string): void {
    this.#section = name
    console.log(`\n${name}`)
  }

  add (name: string, value: number, unit: string, more: Pick<Figure, 'ratio' | 'against' | 'target'> = {}): void {
    const { ratio, against, target } = more
    const isMet = target === undefined ? undefined : 'atLeast' in target ? (ratio ?? value) >= target.atLeast : (ratio ?? value) <= target.atMost
    this.#figures.push({ section: this.#section, name, value, unit, ...more, isMet })
    const wanted = target === undefined ? '' : `${'atLeast' in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`}${isMet === true ? '' : '  MISSED'}`
    console.log(line(`  ${name}`, numberText(value), unit, ratio === undefined ? '' : `${numberText(ratio)} × ${against}`, wanted))
  }

  /** The highest of each. */
  addPeaks (peaks: Readonly<Record<string, ReadonlyArray<{ readonly peakBytes: number }>>>, { target }: { target?: Target } = {}): void {
    for (const [name, of] of Object.entries(peaks)) this.add(`peak memory, ${name}`, Math.max(...of.map(({ peakBytes }) => peakBytes)) / 1e6, 'MB', { target })
  }

  /** Figures that miss their target. */
  get missed (): readonly string[] { return this.#figures.filter(({ isMet }) => isMet === false).map(({ section, name }) => `${section}: ${name}`) }

  note (text: string): void { console.log(`  ${text}`) }

  async writeJson (file: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
    await writeFile(file, `${JSON.stringify({ machine: this.machine, settings, figures: this.#figures }, null, 2)}\n`)
  }
}

const line = (name: string, value: string, unit: string, ratio: string, target: string): string =>
  `${name.padEnd(66)}${value.padStart(9)} ${unit.padEnd(8)}${ratio.padEnd(26)}${target}`.trimEnd()

const numberText = (value: number): string => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(3)

function machine (): { model: string, cores: number, memoryGiB: number, node: string, date: string, commit: string, loadAverage: string[] } {
  return {
    model: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(mib(totalmem()) / 1024),
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    loadAverage: loadavg().map((load) => load.toFixed(1)),
  }
}

function commit (): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return 'unknown' // a copy without its history
  }
}
