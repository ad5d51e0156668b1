import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfs, LocalCluster } from '../../scripts/local-cluster.ts'
import type { Finding } from '../../src/node.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'

let folder: TemporaryFolder
let cluster: LocalCluster
const data = (): string => cluster.node(0).data
beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(folder.path, { options: () => ['--reserve', '0'] })
  await cluster.grow(1)
  await cluster.node(0).json(['bucket', 'create', 'photos', '--redundancy', 'rf:1'])
  for (let i = 0; i < 5; i++) await cluster.node(0).run(['put', '-', `photos/${i}`], { input: 'x'.repeat(6000) })
}, 60_000)
afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

async function doctor (...args: readonly string[]): Promise<{ code: number, findings: string[], last: object }> {
  const { code, stdout } = await dfs(['doctor', '--data', data(), '--json', ...args])
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as Finding)
  return { code, findings: lines.slice(0, -1).map(({ severity, code: of }) => `${severity} ${of}`), last: lines.at(-1) ?? {} }
}

describe('dfs doctor', () => {
  test('of a node that runs says what is not as it should be, and what to do', async () => {
    expect(await doctor()).toEqual({ code: 11, findings: ['warning one-node', 'note key-beside-keyring'], last: { errors: 0, warnings: 1, notes: 1 } })
    const { stdout, stderr } = await dfs(['doctor', '--data', data()])
    expect(stdout).toMatch(/^WARNING {2}this node is alone in the layout\n +means: .*\n +do: +dfs invite.*\n/)
    expect(stdout).toMatch(/\n0 errors, 1 warnings, 1 notes\n$/)
    expect(stderr).toContain('each says what to do')
    await chmod(join(data(), 'keyring'), 0o644)
    expect((await doctor()).findings).toContain('error permissions')
    await chmod(join(data(), 'keyring'), 0o600)
  })

  test('of one that is stopped looks at the folder, and changes nothing', async () => {
    await cluster.node(0).stop('SIGKILL')
    const before = (await readdir(data(), { recursive: true })).toSorted()
    expect(await doctor()).toMatchObject({ code: 11, findings: ['warning stopped', 'note key-beside-keyring'] })
    expect((await readdir(data(), { recursive: true })).toSorted()).toEqual(before)
  })

  test.each<[string, string, RegExp, number | undefined]>([
    ['error keyring', 'the keyring', /^keyring$/, undefined],
    ['error cluster', 'who belongs', /^cluster$/, undefined],
    ['warning rows-damaged', 'the proof of the rows', /^rows\/proof$/, undefined],
    ['warning rows-damaged', 'the journal of the rows', /^rows\/journal\//, 40],
    ['warning index-damaged', 'the log of the index of blocks', /^blocks\/index\/.*\.log$/, undefined],
    ['warning index-damaged', 'the log of the index of rows', /^rows\/index\/.*\.log$/, undefined],
  ])('says %s where a bit is flipped in %s', async (expected, _what, pattern, at) => {
    const name = (await readdir(data(), { recursive: true })).find((path) => pattern.test(path)) ?? ''
    const bytes = await readFile(join(data(), name))
    await writeFile(join(data(), name), Uint8Array.from(bytes, (byte, i) => i === (at ?? Math.floor(bytes.byteLength / 2)) ? byte ^ 1 : byte))
    try {
      expect((await doctor()).findings).toContain(expected)
    } finally {
      await writeFile(join(data(), name), bytes)
    }
  })

  test('says so of a full disk, of settings that are none, and of a folder that is no node\'s', async () => {
    expect((await dfs(['doctor', '--data', data(), '--json'], { env: { DFS_RESERVE: '1000TiB' } })).stdout).toContain('"disk-full"')
    expect((await dfs(['doctor', '--data', data(), '--json'], { env: { DFS_ZONE: '?' } })).stdout).toMatch(/"code":"config","what":"zone is/)
    await mkdir(join(folder.path, 'empty'))
    expect((await dfs(['doctor', '--data', join(folder.path, 'empty'), '--json'])).stdout).toContain('"no-node"')
  })

  test('of one whose process holds the folder and does not answer says which', async () => {
    const lock = await readFile(join(data(), 'lock'), 'utf8')
    const api = await readFile(join(data(), 'api.json'), 'utf8')
    await cluster.node(0).start()
    await rm(join(data(), 'api.json'))
    const { stdout } = await dfs(['doctor', '--data', data(), '--json'])
    expect(stdout).toContain(`process ${cluster.node(0).pid} holds the folder`)
    await cluster.node(0).stop('SIGKILL')
    await writeFile(join(data(), 'lock'), lock)
    await writeFile(join(data(), 'api.json'), api)
    // what a crash left is no process
    expect((await doctor()).findings).toContain('warning stopped')
  }, 60_000)
})
