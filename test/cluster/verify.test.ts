import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { VerifyEvent } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, eachOf, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** Three real processes; what one's disk does is found from another. Repair is paused, so that nothing mends it meanwhile. */
let real: RealCluster
beforeAll(async () => {
  real = await realCluster(3, { copies: 3, options: () => ['--cache', '0'] })
  const node = await real.via(0)
  await eachOf([100, 5000, 60_000, 3_000_000], 4, async (size) => { await node.put(`of/${size}`, noiseBytes(size, size)) })
  await until('every copy is there', 20_000, async () => (await verify()).code === 0)
  for (const i of [0, 1, 2]) await real.node(i).json(['repair', 'pause'])
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

async function verify (...args: readonly string[]): Promise<{ code: number, text: string, events: VerifyEvent[] }> {
  const { code, stdout, stderr } = await real.node(0).run(['verify', ...args, '--json'])
  return { code, text: stderr, events: stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as VerifyEvent) }
}
const problemsOf = ({ events }: { events: readonly VerifyEvent[] }): object[] => events.filter(({ kind }) => kind === 'object')
const at = (index: number, name: string): string => join(real.node(index).data, 'blocks', 'large', name)
const largeAt = async (index: number): Promise<string[]> => filesIn(join(real.node(index).data, 'blocks', 'large'))

test('dfs verify proves what is there, and tells what is not, with a code for each', async () => {
  expect((await verify()).events.at(-1)).toMatchObject({ kind: 'done', objects: 4, bytes: 3_065_100, damaged: 0, below: 0 })
  expect((await real.node(0).run(['verify', bucketName])).stdout).toMatch(/^4 objects, 2\.9 MiB, \d+ blocks: all of it right, and every copy there\n$/)
  expect((await verify(`${bucketName}/of/5`)).events.at(-1)).toMatchObject({ objects: 1, bytes: 5000 })
  expect((await verify('nothing')).code).toBe(3)
  expect(await verify(`${bucketName}/misspelt`)).toMatchObject({ code: 3, text: expect.stringContaining('there is nothing below') as string })

  const name = (await largeAt(2)).find((file) => !file.includes('.')) ?? ''
  const bytes = await readFile(at(2, name))
  await writeFile(at(2, name), Uint8Array.from(bytes, (byte, i) => i === 999 ? byte ^ 1 : byte))
  // it is still said to be there, until it is read
  expect((await verify()).code).toBe(0)
  const deep = await verify('--deep')
  expect([deep.code, problemsOf(deep)]).toEqual([9, [expect.objectContaining({ problem: 'damaged', reason: expect.stringContaining(real.node(2).ready?.peerId ?? '') as string })]])
  expect(deep.text).toContain('"code":"corrupt"')
  // it has been set aside now, and repair rests
  const below = await verify()
  expect([below.code, problemsOf(below)]).toEqual([11, [expect.objectContaining({ problem: 'below', reason: expect.stringContaining('2 of 3') as string })]])

  await Promise.all([0, 1].map(async (index) => rm(at(index, name))))
  const lost = await verify()
  expect([lost.code, problemsOf(lost)]).toEqual([5, [expect.objectContaining({ problem: 'unreadable' })]])
  expect(lost.events.at(-1)).toMatchObject({ objects: 4, unreadable: 1 })

  // the copy that was left: put back, and let repair work
  await writeFile(at(2, name), bytes)
  for (const i of [0, 1, 2]) { await real.node(i).json(['repair', 'resume']); await real.node(i).json(['repair', 'now']) }
  await until('every copy is there again', 30_000, async () => (await verify()).code === 0)
}, 120_000)
