import { expect, test } from 'vitest'
import type { Tried } from '../support/tried.ts'
import { tableOf } from './table.ts'

type Outcome = readonly [name: string, state: string, ...tried: readonly Tried[]]
const file = (state: string, ...outcomes: readonly Outcome[]): Parameters<typeof tableOf>[0][number] => ({
  relativeModuleId: 'test/proof/a.proof.ts', state: () => state,
  children: { allTests: () => outcomes.map(([fullName, of, ...tried]) => ({ fullName, meta: () => tried.length === 0 ? {} : { tried }, result: () => ({ state: of }) })) },
})
const rowsOf = (...files: ReadonlyArray<ReturnType<typeof file>>): string[] => tableOf(files).split('\n').slice(1, -1).map((row) => row.replaceAll(/ {2,}/g, '  '))

test('the table of proofs says what was tried, how often, and what was lost, and sums up what one file tries in several tests', () => {
  expect(rowsOf(file('passed', ['one', 'passed', { what: 'kills', times: 1000, acknowledged: 20, lost: 0 }], ['two', 'passed', { what: 'kills', times: 500, acknowledged: 3, lost: 0 }, { what: 'scans', times: 2, lost: 0 }], ['a test of something else', 'passed'])))
    .toEqual(['kills  1,500  23  0  passed', 'scans  2  -  0  passed'])
})

test('the table of proofs ends with how many seeds were simulated, and for how many node-days', () => {
  expect(rowsOf(file('passed', ['one', 'passed', { what: 'seeds', times: 1000, lost: 0, nodeMs: 43_200_000 }], ['two', 'passed', { what: 'kills', times: 500, lost: 0 }]), file('passed', ['three', 'passed', { what: 'others', times: 5, lost: 0, nodeMs: 129_600_000 }])).at(-1))
    .toBe('simulated: 1,005 seeds, 2.00 node-days')
})

test('the table of proofs has what was skipped, what failed before it could say, and files that cannot be loaded: it is never shorter for them', () => {
  expect(rowsOf(file('failed', ['needs root', 'skipped'], ['broke down', 'failed'], ['lost', 'failed', { what: 'rounds', times: 3, acknowledged: 9, lost: 1 }], ['kept', 'passed', { what: 'rounds', times: 1, acknowledged: 1, lost: 0 }]), file('failed')))
    .toEqual(['rounds  4  10  1  failed', 'needs root  0  -  -  skipped', 'broke down  0  -  -  failed', 'test/proof/a.proof.ts  0  -  -  failed'])
})
