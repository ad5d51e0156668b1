import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfsPath, type Finished, LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import { connectLocal, objectPath } from '../../src/client/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { finished, shell } from './shell.ts'

const mib = 1024 * 1024

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let cluster: LocalCluster
let node: LocalNode
const at = (...names: string[]): string => join(folder.path, ...names)

beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(at('nodes'))
  node = await cluster.found()
  await node.json(['bucket', 'create', 'photos', '--redundancy', 'rf:1'])
})
afterAll(async () => { await cluster?.stop('SIGKILL'); await folder?.[Symbol.asyncDispose]() })

const run = async (script: string, { cwd = folder.path }: { cwd?: string } = {}): Promise<Finished> => shell(script, { cwd, env: { DFS_DATA: node.data } })
const begun = (args: readonly string[]): ChildProcess => spawn(dfsPath, [...args, '--data', node.data])

const keysBelow = async (prefix: string): Promise<string[]> => (await node.json<{ key: string }>(['ls', '-r', `photos/${prefix}`])).map(({ key }) => key.slice(prefix.length))
const put = async (key: string, input: string | Uint8Array): Promise<void> => { expect(await node.run(['put', '-', `photos/${key}`], { input })).toMatchObject({ code: 0 }) }
/** As other tools mark a folder: an empty object whose key ends with a slash. */
async function mark (key: string): Promise<void> {
  const client = await connectLocal(node.data)
  try { await client.upload(objectPath('photos', key), (async function * () {})()) } finally { client.close() }
}
const partsIn = async (path: string): Promise<string[]> => (await readdir(path)).filter((name) => name.includes('.dfs-part-'))

describe('put -r', () => {
  test('gives the same keys however the folder is written', async () => {
    await mkdir(at('tree', 'deep'), { recursive: true })
    await mkdir(at('other'))
    await writeFile(at('tree', 'a'), 'a')
    await writeFile(at('tree', 'deep', 'b'), 'b')
    for (const [i, written] of ['.', './', '../tree', `${at()}//tree`, `${at('other')}/../tree/.`].entries()) {
      expect(await run(`dfs put -r ${written} photos/as${i}/`, { cwd: at('tree') })).toMatchObject({ code: 0 })
      expect(await keysBelow(`as${i}/`), written).toEqual(['a', 'deep/b'])
    }
  })

  test('says what it leaves out, and stores the rest', async () => {
    await mkdir(at('odd', 'empty'), { recursive: true })
    await symlink('/etc/passwd', at('odd', 'link'))
    await writeFile(at('odd', 'z'), 'z')
    expect(await node.run(['put', '-r', at('odd'), 'photos/odd'])).toMatchObject({ code: 0, stderr: 'dfs: left out: symbolic links (1), empty folders (1)\n' })
    expect(await keysBelow('odd/')).toEqual(['z'])
    await writeFile(Buffer.concat([Buffer.from(at('odd', 'caf')), Buffer.of(0xe9)]), 'latin 1')
    const { code, stderr } = await node.run(['put', '-r', at('odd'), 'photos/odder', '--json'])
    const lines = stderr.trim().split('\n').map((line) => JSON.parse(line) as unknown)
    expect([code, lines]).toEqual([2, [
      { warning: { message: `the name of ${at('odd', 'caf\ufffd')} is no UTF-8, which keys are` } },
      { warning: { message: 'left out: symbolic links (1), empty folders (1)' } },
      { error: { code: 'invalid', exit: 2, message: '1 of 2 files were not stored' } },
    ]])
    expect(await keysBelow('odder/')).toEqual(['z'])
    expect(await node.run(['put', '-r', at('odd'), 'nowhere'])).toMatchObject({ code: 3 })
    expect(await node.run(['put', '-r', at('odd', 'z'), 'photos'])).toMatchObject({ code: 2 })
  })
})

describe('put', () => {
  test('takes what has no size beforehand', async () => {
    expect(await run('dfs put <(echo from a pipe) photos/pipe && echo standard input | dfs put /dev/stdin photos/stdin')).toMatchObject({ code: 0 })
    expect(await run('dfs get photos/pipe - && dfs get photos/stdin -')).toMatchObject({ stdout: 'from a pipe\nstandard input\n' })
  })

  // sysfs says 4096 bytes of every file and gives what there is: a file that has become shorter
  test.runIf(existsSync('/sys/class/net/lo/mtu'))('of a file that is shorter than it was ends at once and stores nothing', async () => {
    expect(await node.run(['put', '/sys/class/net/lo/mtu', 'photos/short'], { timeoutMs: 20_000 })).toMatchObject({ code: 4, stderr: expect.stringContaining('became shorter') as string })
    expect(await node.run(['stat', 'photos/short'])).toMatchObject({ code: 3 })
  })

  test('ends with 130 at Ctrl-C, also while it waits for standard input', async () => {
    const child = begun(['put', '-', 'photos/never'])
    const end = finished(child)
    // more than a pipe holds: the put has begun when all of it is taken
    await new Promise((taken) => { child.stdin?.write(new Uint8Array(4 * mib), taken) })
    child.kill('SIGINT')
    expect(await end).toEqual({ code: 130, stdout: '', stderr: 'dfs: interrupted\n' })
  })
})

describe('get', () => {
  test('goes into a folder under the last part of the key, as cp does', async () => {
    await put('album/cat.jpg', 'miaow')
    await mkdir(at('pictures'))
    expect(await node.run(['get', 'photos/album/cat.jpg', at('pictures')])).toMatchObject({ code: 0 })
    expect(await readFile(at('pictures', 'cat.jpg'), 'utf8')).toBe('miaow')
    expect(await node.run(['get', 'photos/album/cat.jpg', at('nowhere', 'cat.jpg')])).toMatchObject({ code: 2, stderr: `dfs: there is no folder ${at('nowhere')}\n` })
    expect(await node.run(['get', 'photos/album/cat.jpg', `${at('nowhere')}/`])).toMatchObject({ code: 2 })
    expect(await partsIn(at())).toEqual([])
  })

  test('writes to pipes, devices and the targets of links, and replaces none of them', async () => {
    await put('word', 'hello')
    expect(await run('mkfifo pipe && { cat pipe & dfs get photos/word pipe --json >&2 && wait; } && test -p pipe')).toMatchObject({ code: 0, stdout: 'hello' })
    expect(await run('echo old > target && ln -s target link && dfs get photos/word link && test -L link && cat target')).toMatchObject({ code: 0, stdout: expect.stringMatching(/hello$/) as string })
    expect(await run('dfs get photos/word /dev/null && test -c /dev/null')).toMatchObject({ code: 0 })
  })

  test.runIf(existsSync('/dev/full'))('ends with 7 where the disk is full', async () => {
    expect(await node.run(['get', 'photos/word', '/dev/full'])).toMatchObject({ code: 7, stderr: 'dfs: the file system of /dev/full is full\n' })
    expect(await run('dfs get photos/word - > /dev/full')).toMatchObject({ code: 7, stderr: 'dfs: the file system of standard output is full\n' })
  })

  test('takes ranges that hold something, of one object', async () => {
    await put('digits', '0123456789')
    for (const [range, bytes] of [['2-4', '234'], ['7-', '789'], ['-2', '89'], ['8-100', '89']] as const) {
      expect(await node.run(['get', 'photos/digits', '-', '--range', range]), range).toMatchObject({ code: 0, stdout: bytes })
      expect(await node.run(['get', 'photos/digits', at('some'), '--range', range])).toMatchObject({ code: 0 })
      expect(await readFile(at('some'), 'utf8')).toBe(bytes)
    }
    for (const range of ['9-3', '-0', '-', 'x', '10-']) expect(await node.run(['get', 'photos/digits', '-', `--range=${range}`]), range).toMatchObject({ code: 2, stdout: '' })
    expect(await node.run(['get', '-r', 'photos/', at('all'), '--range', '0-1'])).toMatchObject({ code: 2 })
    expect(await partsIn(at())).toEqual([])
  })
})

describe('get -r', () => {
  test('says which keys are no paths, and gets the rest', async () => {
    for (const key of ['f/a', 'f//a', 'f/./a', 'f/x/../a', 'f/deep/b', 'f/deep/b/c', 'f/../../out']) await put(key, key)
    await mark('f/')
    await mark('f/sub/')
    const { code, stderr } = await node.run(['get', '-r', 'photos/f/', at('got')])
    expect(code).toBe(8)
    for (const key of ['../../out', '/a', './a', 'x/../a']) expect(stderr).toContain(`the key "${key}" is no path`)
    expect(stderr).toMatch(/a file stands where \S*deep\/b\/c needs a folder[\s\S]*5 of 9 objects were not written/)
    // another would have stood in its place
    expect(await readFile(at('got', 'a'), 'utf8')).toBe('f/a')
    expect((await readdir(at('got'), { recursive: true })).toSorted()).toEqual(['a', 'deep', 'deep/b', 'sub'])
  })

  test('ends with 3 where nothing is, and with 2 for standard output', async () => {
    expect(await node.run(['get', '-r', 'photos/nothing/', at('got')])).toMatchObject({ code: 3 })
    expect(await node.run(['get', '-r', 'photos/f/', '-'])).toMatchObject({ code: 2 })
  })
})

describe('a long get', () => {
  const content = noiseBytes(72 * mib, 11)
  const whole = Buffer.from(content)
  beforeAll(async () => { await put('long', content) })

  /** Stops the node, so that the get cannot end meanwhile, when its part holds so many bytes. */
  async function stalled (file: string, holds: (part: string) => Promise<boolean>): Promise<{ child: ChildProcess, end: Promise<Finished> }> {
    const child = begun(['get', 'photos/long', file])
    const end = finished(child)
    await until('the part grows', 30_000, async () => {
      const [part] = await partsIn(at())
      return part !== undefined && await holds(at(part)).catch(() => false)
    })
    node.freeze()
    return { child, end }
  }

  async function goesOn (file: string): Promise<number> {
    node.thaw()
    const [got] = await node.json<{ sizeBytes: number, fetchedBytes: number, seconds: number, bytesPerSecond: number }>(['get', 'photos/long', file])
    expect(got?.sizeBytes).toBe(content.byteLength)
    expect(got?.bytesPerSecond).toBe(Math.round((got?.fetchedBytes ?? 0) / (got?.seconds ?? 1)))
    expect(whole.equals(await readFile(file))).toBe(true)
    expect(await partsIn(at())).toEqual([])
    return got?.fetchedBytes ?? 0
  }

  test('ends with 130 at Ctrl-C, and goes on from there', async () => {
    const { child, end } = await stalled(at('interrupted'), async (part) => (await stat(join(part, 'content'))).size > 2 * mib)
    child.kill('SIGINT')
    expect(await end).toEqual({ code: 130, stdout: '', stderr: 'dfs: interrupted\n' })
    expect(await readdir(at())).not.toContain('interrupted')
    expect(await goesOn(at('interrupted'))).toBeLessThanOrEqual(content.byteLength - 2 * mib)
  })

  test('goes on after SIGKILL from what it had recorded', async () => {
    const { child, end } = await stalled(at('killed'), async (part) => (await stat(join(part, 'record'))).size > 0)
    child.kill('SIGKILL')
    await end
    expect(await goesOn(at('killed'))).toBeLessThanOrEqual(content.byteLength - 32 * mib)
  })

  test('by two at once to one file gives the file, whoever is first', async () => {
    expect((await Promise.all([1, 2, 3].map(async () => node.run(['get', 'photos/long', at('both')])))).map(({ code }) => code)).toEqual([0, 0, 0])
    expect(whole.equals(await readFile(at('both')))).toBe(true)
    expect(await partsIn(at())).toEqual([])
  })

  test('does not believe what somebody else has put where its part is', async () => {
    const [{ etag } = { etag: '' }] = await node.json<{ etag: string }>(['stat', 'photos/long'])
    const file = at('forged')
    await mkdir(`${file}.dfs-part-${etag}.4000000-1`)
    await writeFile(join(`${file}.dfs-part-${etag}.4000000-1`, 'content'), new Uint8Array(content.byteLength))
    expect(await goesOn(file)).toBe(content.byteLength)
  })
})
