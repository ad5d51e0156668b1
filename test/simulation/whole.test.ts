import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { tried } from '../support/tried.ts'
import { type ObjectOperation, objectViolations } from './object-history.ts'
import { simulateWhole } from './whole-run.ts'

// more: WHOLE_RUNS=50, SIMULATION_SEED starts elsewhere; and npm run sim
const runs = Number(process.env.WHOLE_RUNS ?? 1)
const firstSeed = Number(process.env.SIMULATION_SEED ?? 1)

describe('a whole cluster, while everything goes wrong', () => {
  test('keeps what it acknowledged, and becomes whole when faults cease: objects, layouts, repair and collection together', { timeout: 120_000 * runs }, async ({ task }) => {
    let [acknowledged, nodeMs, lost] = [0, 0, 0]
    const broken: string[] = []
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const run = await simulateWhole({ seed, minutes: 1 })
      if (run.violations.length > 0) broken.push(`seed ${seed}: ${run.violations.join('; ')}\n${run.events.join('\n')}`)
      lost += run.violations.length
      acknowledged += run.acknowledged
      nodeMs += run.nodeMs
    }
    tried(task, { what: 'seeds of a whole simulated cluster', times: runs, acknowledged, lost, nodeMs })
    expect(broken).toEqual([])
    // below it, nothing was tried
    expect(acknowledged).toBeGreaterThan(10 * runs)
  })

  test('repeats to the byte from its seed, in another process too', { timeout: 120_000 }, async () => {
    const sim = async (...more: readonly string[]): Promise<string> => {
      const { stdout } = await promisify(execFile)(process.execPath, ['scripts/sim.ts', '--seed', '3', '--minutes', '0.3', '--json', '--verbose', ...more])
      return stdout.split('\n').filter((line) => !line.includes('"wall"')).join('\n')
    }
    const [once, again] = [await sim(), await sim()]
    expect(again).toBe(once)
    expect(once).toContain('"digest"')
    const { digest } = await simulateWhole({ seed: 3, minutes: 0.3 })
    expect(once).toContain(digest)
  })
})

describe('the checker of objects', () => {
  const at = (startMs: number, endMs: number, did: ObjectOperation['did']): ObjectOperation => ({ key: 'k', what: `${did.kind} at ${startMs}`, startMs, endMs, did })
  const put = (version: string, startMs: number, endMs: number, condition?: 'absent' | { version: string }): ObjectOperation => at(startMs, endMs, { kind: 'put', version, condition })
  const read = (saw: string | undefined, startMs: number, endMs: number): ObjectOperation => at(startMs, endMs, { kind: 'read', saw })

  test('accepts what a register could have told, whatever became of the unknown', () => {
    expect(objectViolations([put('a', 0, 2), put('b', 1, Infinity), read('b', 3, 4), at(4, 5, { kind: 'remove' }), read(undefined, 6, 7), put('c', 0, Infinity)])).toEqual([])
  })
  test.each<[string, readonly ObjectOperation[]]>([
    ['a read that misses what was acknowledged', [put('a', 0, 1), read(undefined, 2, 3)]],
    ['what was deleted and is back', [put('a', 0, 1), at(2, 3, { kind: 'remove' }), read('a', 4, 5)]],
    ['a read that goes back', [put('a', 0, 1), put('b', 2, 3), read('b', 4, 5), read('a', 6, 7)]],
    ['two that were the first', [put('a', 0, 1, 'absent'), put('b', 2, 3, 'absent')]],
    ['a version that was replaced after it had been', [put('a', 0, 1), put('b', 2, 3), put('c', 4, 5, { version: 'a' })]],
    ['a condition that held, and was told not to', [put('a', 0, 1), at(2, 3, { kind: 'refused', condition: { version: 'a' } })]],
  ])('refuses %s', (_, history) => { expect(objectViolations(history).length).toBe(1) })
})
