import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'

/**
 * One bit flipped in every file of one node's folder, none left out: LevelDB's LOCK alone is empty. The node was killed, so also what it writes afresh at
 * each start (lock, api.json) lies there. Two copies of every block, so that of many this node has one.
 */
const seed = Number(process.env.ROT_SEED ?? 8)
const random = seededRandom(seed)
const kib = 1024
/** In the row; in the block index; as one file; as several. */
const sizes = [100, 4096, 5000, 20_000, 40_000, 300_000, 1500 * kib]
const count = 210

let real: RealCluster
const expected = new Map<string, string>()
const victim = 1
/** A start that is refused takes away what a kill left. */
let leftLock: Uint8Array

beforeAll(async () => {
  real = await realCluster(3, { copies: 2 })
  const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
  const put = async (from: number, to: number): Promise<void> => eachOf(Array.from({ length: to - from }, (_, i) => from + i), 6, async (i) => {
    const content = noiseBytes(sizes[i % sizes.length] ?? 0, i + 1)
    await nodes[i % 3]?.put(`rot/${i}`, content)
    expected.set(`rot/${i}`, digestOfBytes(content))
  })
  await put(0, count / 2)
  // so that LevelDB has tables, and a log
  await real.node(victim).stop('SIGTERM')
  await real.node(victim).start()
  await real.cluster.connected()
  nodes[victim] = await real.via(victim)
  await put(count / 2, count)
  // so that the cache has what the node does not hold
  expect(await unreadable(victim)).toEqual([])
  await real.node(victim).stop('SIGKILL')
  leftLock = await readFile(at('lock'))
}, 180_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

const at = (...names: string[]): string => join(real.node(victim).data, ...names)
const statusOfVictim = async (): Promise<NodeStatus> => (await real.via(victim)).client.json<NodeStatus>('GET', '/v1/status')

/** What of the objects a node does not give, and why: each is given whole and right, or not at all. Whatever else it gives fails the test. */
async function unreadable (index: number): Promise<string[]> {
  const node = await real.via(index)
  const missing: string[] = []
  await eachOf(expected, 6, async ([key, digest]) => {
    const found = await node.digest(key).catch((error: unknown) => { missing.push(`${key}: ${String(error)}`) })
    if (found !== undefined) expect(found, `${key} through node ${index + 1}`).toBe(digest)
  })
  return missing
}

async function expectReadable (): Promise<void> {
  for (const index of [0, 1, 2]) {
    expect(await unreadable(index), `through node ${index + 1}`).toEqual([])
    expect(new Set(await (await real.via(index)).keys({ prefix: 'rot/' }))).toEqual(new Set(expected.keys()))
  }
}

/** What was lost is taken over from the others. */
async function rowsAreBack (): Promise<void> {
  await until('all rows are back', 120_000, async () => { const { rows, layout } = await statusOfVictim(); return rows.lostPartitions === 0 && layout.state === 'settled' })
  await expectReadable()
}

/** Resolves to what undoes it. */
async function flip (name: string): Promise<() => Promise<void>> {
  const bytes = await readFile(at(name))
  const bit = Math.floor(random.fraction() * bytes.byteLength * 8)
  const flipped = Uint8Array.from(bytes)
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  await writeFile(at(name), flipped)
  return async () => { await writeFile(at(name), bytes) }
}

/** What the process said when it ended instead of starting; undefined when it started. */
async function refusal (): Promise<string | undefined> {
  try {
    await real.node(victim).start()
    return undefined
  } catch (error) {
    const said = /^\{"error":.*$/m.exec((error as Error).message)?.[0]
    return said === undefined ? (error as Error).message : (JSON.parse(said) as { error: { message: string } }).error.message
  }
}

const nonEmpty = async (names: readonly string[]): Promise<string[]> => {
  const lengths = await Promise.all(names.map(async (name) => (await readFile(at(name))).byteLength))
  return names.filter((_, i) => lengths[i] !== 0)
}

const putBack = /put back a copy/
const moveAway = /the index in .* does not open .*move its folder away/s
/** What a node cannot start without: it says which file it is, and what to do. */
const essentials: ReadonlyArray<readonly [RegExp, ...says: RegExp[]]> = [
  [/^key$/, /key file does not open the keyring/, putBack],
  [/^keyring$/, /keyring/, putBack],
  [/^cluster$/, /"cluster" in the data folder is damaged/, putBack],
  // a person's own text: many a flip is another setting, and taken
  [/^dfs\.json$/, /dfs\.json|listen|address/i],
  [/^rows\/index\/(CURRENT|MANIFEST.*)$/, moveAway, /rows\/index/],
  [/^blocks\/index\/(CURRENT|MANIFEST.*)$/, moveAway, /blocks\/index/],
]
const isEssential = (name: string): boolean => essentials.some(([pattern]) => pattern.test(name))

describe(`a bit flipped in every file of a node's folder (ROT_SEED=${seed})`, () => {
  test('in what it needs to start, one file after the other: it starts, or says which file is damaged and what to do', async () => {
    for (const [pattern, ...says] of essentials) {
      // looked for afresh: a start that gets far enough begins a new MANIFEST
      const names = (await filesIn(at())).filter((name) => pattern.test(name))
      expect(names, String(pattern)).not.toEqual([])
      for (const name of names) {
        const undo = await flip(name)
        try {
          const said = await refusal()
          if (said === undefined) {
            expect(name, 'started though this file is damaged').toBe('dfs.json')
            await unreadable(victim) // perhaps nothing, but nothing wrong
            await real.node(victim).stop('SIGKILL')
          } else for (const expectedText of says) expect(said, name).toMatch(expectedText)
        } finally {
          await undo()
        }
      }
    }
  }, 240_000)

  test('in all blocks, all of the cache and all that holds neither keys nor rows: it starts, says so, and gives never a wrong byte, as little as the others', async () => {
    await writeFile(at('lock'), leftLock)
    const names = await nonEmpty((await filesIn(at())).filter((name) => !isEssential(name) && !name.startsWith('rows/')))
    for (const part of [/^blocks\/large\//, /^blocks\/index\/.*\.log$/, /^cache\//, /^peers\.json$/, /^api\.json$/, /^lock$/]) expect(names.some((name) => part.test(name)), String(part)).toBe(true)
    for (const name of names) await flip(name)
    expect(await refusal()).toBeUndefined()
    await real.cluster.connected()
    await expectReadable()
    const { blocks, health } = await statusOfVictim()
    expect(blocks.corrupt).toBeGreaterThan(0)
    expect(health.join()).toContain('corrupt')
    // the log of the index was told of before LevelDB read it
    expect(real.node(victim).log).toContain('a file of an index was damaged before it was opened')
    // which had a pass begin at once
    await until('all of it has been read', 60_000, async () => (await statusOfVictim()).scrub?.last !== undefined)
    const { found } = (await statusOfVictim()).scrub?.last ?? {}
    expect(found?.pieces).toBeGreaterThan(count / 3)
    await until('every copy is there again, and right', 120_000, async () => (await real.node(0).run(['verify', '--deep'])).code === 0)
    const evidence = await filesIn(at())
    expect(evidence.filter((name) => name.startsWith('blocks/corrupt/')).length).toBeGreaterThanOrEqual(names.filter((name) => name.startsWith('blocks/large/')).length)
    expect(evidence.some((name) => name.startsWith('evidence/blocks-index-'))).toBe(true)
    process.stdout.write(`rot: ${names.length} files with a flipped bit; scrub found ${JSON.stringify(found)}; ${(await statusOfVictim()).blocks.corrupt} set aside; every copy back\n`)
  }, 360_000)

  test('in all that remembers rows: it starts, says so, and gives never a wrong byte or name', async () => {
    await real.node(victim).stop('SIGKILL')
    const names = await nonEmpty((await filesIn(at('rows'))).map((name) => `rows/${name}`).filter((name) => !isEssential(name)))
    for (const part of [/journal\//, /proof$/, /index\/.*\.(ldb|log)$/]) expect(names.some((name) => part.test(name)), String(part)).toBe(true)
    for (const name of names) await flip(name)
    expect(await refusal()).toBeUndefined()
    await real.cluster.connected()
    await expectReadable()
    // what it can take over from the others it may have by now
    expect(real.node(victim).log).toContain('memory of rows was lost or changed')
    await rowsAreBack()
  }, 240_000)

  test('in both indexes: what it says to do is done, and it starts', async () => {
    await real.node(victim).stop('SIGKILL')
    await flip('rows/index/CURRENT')
    await flip('blocks/index/CURRENT')
    for (const name of ['rows/index', 'blocks/index']) {
      expect(await refusal()).toContain(`the index in ${at(name)} does not open`)
      await rename(at(name), join(real.folder, name.replace('/', '-')))
    }
    expect(await refusal()).toBeUndefined()
    await real.cluster.connected()
    await expectReadable()
    await rowsAreBack()
    await until('every copy is there again, and right', 120_000, async () => (await real.node(0).run(['verify', '--deep'])).code === 0)
  }, 360_000)
})
