import type { Reporter, TestModule } from 'vitest/node'

/** Prints, after a run, what was tried, how often, and what was lost. */
export default class Table implements Reporter {
  onTestRunEnd (modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const rows = tests.flatMap((test) => (test.meta().tried ?? []).map((row) => ({ ...row, state: test.result().state })))
    if (rows.length === 0) return
    process.stdout.write(`\n${line('tried', 'times', 'acknowledged', 'lost', '')}\n`)
    for (const { what, times, acknowledged, lost, state } of rows) {
      process.stdout.write(`${line(what, times.toLocaleString('en'), acknowledged?.toLocaleString('en') ?? '-', lost.toLocaleString('en'), state)}\n`)
    }
  }
}

const line = (what: string, times: string, acknowledged: string, lost: string, state: string): string =>
  `${what.padEnd(72)} ${times.padStart(9)} ${acknowledged.padStart(13)} ${lost.padStart(6)}  ${state}`
