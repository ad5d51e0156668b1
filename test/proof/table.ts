import type { Reporter, TestModule } from 'vitest/node'
import type { Tried } from '../support/tried.ts'

/** Prints, after a run, what was tried, how often, and what was lost. */
export default class Table implements Reporter {
  onTestRunEnd (modules: readonly TestModule[]): void {
    process.stdout.write(`\n${tableOf(modules)}`)
  }
}

/** Of a test, what the table needs. */
interface Entry {
  readonly fullName: string
  meta (): { readonly tried?: readonly Tried[] }
  result (): { readonly state: string }
}
interface Entries {
  readonly relativeModuleId: string
  state (): string
  readonly children: { allTests (): Iterable<Entry> }
}

/**
 * A row for each thing that was tried, summed up within its file. What was skipped, or failed before it could say, has a row of its own too: what was not tried must
 * not look as if there were nothing to try.
 */
export function tableOf (modules: readonly Entries[]): string {
  const rows = modules.flatMap((module) => {
    const tests = [...module.children.allTests()]
    // a file that cannot be loaded has none
    if (tests.length === 0 && module.state() === 'failed') return [line([module.relativeModuleId, '0', '-', '-', 'failed'])]
    const told = Map.groupBy(tests.flatMap((test) => (test.meta().tried ?? []).map((row) => ({ ...row, state: test.result().state }))), ({ what }) => what)
    const silent = tests.filter((test) => test.meta().tried === undefined && ['skipped', 'failed'].includes(test.result().state))
    return [...[...told.values()].map(summedUp), ...silent.map((test) => line([test.fullName, '0', '-', '-', test.result().state]))]
  })
  return [line(['tried', 'times', 'acknowledged', 'lost', '']), ...rows, ...simulatedIn(modules), ''].join('\n')
}

function simulatedIn (modules: readonly Entries[]): readonly string[] {
  const runs = modules.flatMap((module) => [...module.children.allTests()]).flatMap((test) => test.meta().tried ?? []).filter(({ nodeMs }) => nodeMs !== undefined)
  if (runs.length === 0) return []
  const sum = (of: (row: Tried) => number): number => runs.reduce((total, row) => total + of(row), 0)
  return [`simulated: ${sum(({ times }) => times).toLocaleString('en')} seeds, ${(sum(({ nodeMs = 0 }) => nodeMs) / 86_400_000).toFixed(2)} node-days`]
}

function summedUp (rows: ReadonlyArray<Tried & { readonly state: string }>): string {
  const sum = (of: (row: Tried) => number | undefined): string => rows.reduce((total, row) => total + (of(row) ?? 0), 0).toLocaleString('en')
  const hasWrites = rows.some(({ acknowledged }) => acknowledged !== undefined)
  return line([rows[0]?.what ?? '', sum(({ times }) => times), hasWrites ? sum(({ acknowledged }) => acknowledged) : '-', sum(({ lost }) => lost), rows.find(({ state }) => state !== 'passed')?.state ?? 'passed'])
}

const line = ([what, times, acknowledged, lost, state]: readonly [string, string, string, string, string]): string =>
  `${(what.length > 72 ? `${what.slice(0, 71)}…` : what).padEnd(72)} ${times.padStart(9)} ${acknowledged.padStart(13)} ${lost.padStart(6)}  ${state}`
