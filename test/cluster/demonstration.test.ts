import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

const script = join(import.meta.dirname, '..', '..', 'scripts', 'cluster.ts')

interface Running { readonly child: ChildProcess, readonly stdout: () => string, readonly stderr: () => string, readonly ended: Promise<number | null> }
interface Result { readonly event: 'result', readonly ok: boolean, readonly reason?: string, readonly proved: readonly string[], readonly notProved: readonly string[], readonly mibPerSecond: Record<string, number> }

function started (...args: string[]): Running {
  const child = spawn(process.execPath, [script, ...args])
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (bytes: Buffer) => { stdout += bytes.toString() })
  child.stderr.on('data', (bytes: Buffer) => { stderr += bytes.toString() })
  return { child, stdout: () => stdout, stderr: () => stderr, ended: once(child, 'close').then(([code]) => code as number | null) }
}

const objectsOf = (stdout: string): object[] => stdout.trim().split('\n').map((line) => JSON.parse(line) as object)
const resultOf = (stdout: string): Result => objectsOf(stdout).at(-1) as Result
/** Neither gone nor ended and not yet buried by its parent (proc(5)). */
const isAlive = (pid: number): boolean => { try { return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8')) } catch { return false } }

describe('npm run cluster', () => {
  test('shows what it promises, a second time over the nodes that are there, and says what a size cannot show', async () => {
    await using folder = await temporaryFolder()
    const first = started('--exit', '--json', '--data', folder.path, '--size', '24MiB')
    expect(await first.ended, first.stderr()).toBe(0)
    const nodes = objectsOf(first.stdout()).slice(0, 3)
    expect(nodes).toMatchObject([1, 2, 3].map((node) => ({ event: 'node', node, peerId: expect.any(String) as string, addresses: [expect.stringContaining('/tcp/')], api: expect.stringContaining('http://') as string, data: join(folder.path, `node-${node}`) })))
    const result = resultOf(first.stdout())
    expect(result).toMatchObject({ ok: true, notProved: [] })
    expect(result.proved.join('\n')).toMatch(/had [\d.]+ MiB on its disk and had to fetch [\d.]+ MiB from node [23]/)
    expect(Object.keys(result.mibPerSecond)).toEqual(['put on node 1', 'get on node 1', 'get on node 2', 'get on node 3', 'get on node 2, node 1 dead', 'get on node 3, node 1 dead', 'get on node 1, back again'])
    expect(Math.min(...Object.values(result.mibPerSecond))).toBeGreaterThan(0)

    const second = started('--exit', '--json', '--data', folder.path, '--size', '0')
    expect(await second.ended, second.stderr()).toBe(0)
    expect(objectsOf(second.stdout()).slice(0, 3).map((node) => (node as { peerId: string }).peerId)).toEqual(nodes.map((node) => (node as { peerId: string }).peerId))
    expect(resultOf(second.stdout())).toMatchObject({ ok: true, notProved: [expect.stringContaining('lies in its row')] })
    expect((await readdir(folder.path)).toSorted()).toEqual(['node-1', 'node-2', 'node-3'])

    const third = started('--exit', '--json', '--data', folder.path, '--nodes', '4')
    expect(await third.ended).toBe(2)
    expect(resultOf(third.stdout())).toMatchObject({ ok: false, reason: expect.stringContaining('has a settled cluster of 3 nodes, which no other joins: leave --nodes out') as string })
  }, 180_000)

  test.each([
    [['--nodes', '2'], '--nodes takes 3 to 16, not "2"'], [['--nodes', '1e1'], '--nodes takes 3 to 16'], [['--size', '64MB'], '--size takes a number with B, KiB, MiB or GiB, e.g. 64MiB, not "64MB"'], [['--size', '9999999999GiB'], '--size takes'],
    [['--file', '/no/such/file'], '--file takes a file'], [['--file', '/'], '--file takes a file'], [['--unknown'], "Unknown option '--unknown'"], [['--size'], "Option '--size'"],
  ])('%j is refused with what it takes, exit code 2 and a result', async (args, reason) => {
    const run = started(...args, '--json')
    expect(await run.ended).toBe(2)
    expect(resultOf(run.stdout())).toMatchObject({ event: 'result', ok: false, reason: expect.stringContaining(reason) as string })
    expect(run.stderr()).toContain(reason)
    expect(run.stderr()).not.toContain('    at ')
  })

  test.each([['starting nodes', () => true], ['getting', (running: Running) => running.stdout().includes('identical')]])('an interrupt while %s leaves no process, no folder and no talk of a failure', async (_when, isTime) => {
    await using place = await temporaryFolder()
    const running = started('--size', '64MiB', '--data', place.path)
    await until('the first node is there', 30_000, () => existsSync(join(place.path, 'node-1', 'lock')))
    await until('it is time', 60_000, () => isTime(running))
    const pids = await Promise.all((await readdir(place.path)).filter((name) => existsSync(join(place.path, name, 'lock'))).map(async (name) => (JSON.parse(await readFile(join(place.path, name, 'lock'), 'utf8')) as { pid: number }).pid))
    running.child.kill('SIGINT')
    expect(await running.ended).toBe(130)
    expect(running.stderr()).toBe('\ninterrupted\n')
    await expect.poll(() => pids.filter(isAlive)).toEqual([])
    expect(await readdir(place.path)).not.toContain('work')
  }, 120_000)
})
