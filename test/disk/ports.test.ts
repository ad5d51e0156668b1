import { spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { StoreFull } from '../../src/base/errors.ts'
import { giveBack } from '../../src/base/lease.ts'
import { seededRandom } from '../../src/base/random.ts'
import { lockFolder } from '../../src/disk/folder-lock.ts'
import { FileMissing, type Files, type KeyValue, type KeyValueChange, SyncFailed } from '../../src/disk/index.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { canMount, type SmallDisk, smallDisk } from '../support/small-disk.ts'
import { temporaryFolder } from '../support/temporary.ts'

const mib = 1024 ** 2
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
async function all<T> (items: AsyncIterable<T>): Promise<T[]> { const found = []; for await (const item of items) found.push(item); return found }

describe.each([
  ['on the real disk', async (use: (files: Files) => Promise<void>) => { await using folder = await temporaryFolder(); await use(nodeFiles(folder.path)) }],
  ['in memory', async (use: (files: Files) => Promise<void>) => { await use(memoryFiles()) }],
] as const)('files %s', (_name, withFiles) => {
  test('are written whole, read whole and by range, and replaced', async () => withFiles(async (files) => {
    await files.ensureFolder('a/b')
    await files.writeDurable('a/b/c', [utf8('one '), utf8('two')])
    expect(text(await files.read('a/b/c'))).toBe('one two')
    expect(text(await files.readRange('a/b/c', { offset: 4, length: 3 }))).toBe('two')
    await expect(files.readRange('a/b/c', { offset: 4, length: 4 })).rejects.toThrow(RangeError)
    await files.writeDurable('a/b/c', [utf8('three')])
    expect(await files.size('a/b/c')).toBe(5)
    expect((await all(files.list('a/b'))).map(({ name }) => name)).toEqual(['c'])
    expect(await all(files.list('a'))).toEqual([{ name: 'b', kind: 'folder', sizeBytes: 0 }])
  }))

  test('that are not there are said to be missing, and nothing else is', async () => withFiles(async (files) => {
    await expect(files.read('x')).rejects.toThrow(FileMissing)
    expect(await files.size('x')).toBeUndefined()
    expect(await all(files.list('x'))).toEqual([])
    await files.remove('x')
    await expect(files.rename('x', 'y')).rejects.toThrow(FileMissing)
  }))

  test('are appended to, cut, and found again', async () => withFiles(async (files) => {
    const file = await files.openAppend('log')
    await file.append([utf8('ab'), utf8('cd')])
    await file.sync()
    expect(file.sizeBytes).toBe(4)
    await file.truncate(3)
    await file[Symbol.asyncDispose]()
    const again = await files.openAppend('log')
    await again.append([utf8('!')])
    await again[Symbol.asyncDispose]()
    expect(text(await files.read('log'))).toBe('abc!')
  }))

  test('are renamed', async () => withFiles(async (files) => {
    await files.writeDurable('a', [utf8('x')])
    await files.rename('a', 'b')
    expect(await files.size('a')).toBeUndefined()
    expect(text(await files.read('b'))).toBe('x')
  }))
})

describe.each([
  ['LevelDB', async (use: (store: KeyValue) => Promise<void>) => { await using folder = await temporaryFolder(); await using store = await levelKeyValue(folder.path); await use(store) }],
  ['memory', async (use: (store: KeyValue) => Promise<void>) => { await use(memoryKeyValue()) }],
] as const)('key-value store in %s', (_name, withStore) => {
  test('keeps byte order, ranges, limits and direction', async () => withStore(async (store) => {
    await store.batch([5, 1, 0xff, 3].map((n) => ({ type: 'put', key: Uint8Array.of(n), value: Uint8Array.of(n, n) })), { sync: true })
    const keys = async (range: Parameters<KeyValue['keys']>[0]): Promise<number[]> => (await all(store.keys(range))).map(([n]) => n as number)
    expect(await keys({})).toEqual([1, 3, 5, 0xff])
    expect(await keys({ from: Uint8Array.of(3), to: Uint8Array.of(0xff) })).toEqual([3, 5])
    expect(await keys({ reverse: true, limit: 2 })).toEqual([0xff, 5])
    expect(await store.get(Uint8Array.of(3))).toEqual(Uint8Array.of(3, 3))
    expect(await store.getMany([Uint8Array.of(5), Uint8Array.of(6)])).toEqual([Uint8Array.of(5, 5), undefined])
  }))

  test('applies a batch in order', async () => withStore(async (store) => {
    const key = Uint8Array.of(1)
    await store.batch([{ type: 'put', key, value: utf8('a') }, { type: 'delete', key }], { sync: false })
    expect(await store.get(key)).toBeUndefined()
  }))

  test('takes the batches of many at once, each with its own end', async () => withStore(async (store) => {
    await Promise.all(Array.from({ length: 100 }, (_, i) => store.batch([{ type: 'put', key: Uint8Array.of(i), value: Uint8Array.of(i) }], { sync: i % 3 > 0 })))
    expect(await all(store.keys({}))).toHaveLength(100)
  }))
})

test('memory that a file was read into is the reader\'s own: given back it is gone, and the file is not', async () => {
  await using folder = await temporaryFolder()
  const files = nodeFiles(folder.path)
  await files.writeDurable('a', [new Uint8Array(mib).fill(7)])
  const [one, other] = [await files.read('a'), await files.read('a')]
  giveBack(one)
  expect([one.byteLength, other.byteLength, (await files.read('a')).byteLength]).toEqual([0, mib, mib])
})

test('what a kill left of writes is removed, and nothing else (it stayed for ever)', async () => {
  await using folder = await temporaryFolder()
  const files = nodeFiles(folder.path)
  const left = spawn(process.execPath, ['-e', `
    const { open } = await import('node:fs/promises')
    const { nodeFiles } = await import(${JSON.stringify(new URL('../../src/disk/node-files.ts', import.meta.url).href)})
    const probe = await open(${JSON.stringify(join(folder.path, 'probe'))}, 'w')
    Object.getPrototypeOf(probe).sync = async () => { process.kill(process.pid, 'SIGKILL') }
    await nodeFiles(${JSON.stringify(folder.path)}).writeDurable('proof', [new Uint8Array(1000)])
  `], { stdio: 'inherit' })
  await new Promise((resolve) => { left.once('exit', resolve) })
  await files.writeDurable('proof', [utf8('x')])
  await files.ensureFolder('below.tmp-1-1')
  expect(await all(files.list('.'))).toHaveLength(4)
  await files.removeDebris('.')
  expect((await all(files.list('.'))).map(({ name }) => name).toSorted()).toEqual(['below.tmp-1-1', 'probe', 'proof'])
})

test('of a LevelDB everything before a batch with sync: "all" is on disk without its logs, which it may have closed unsynced', async () => {
  await using folder = await temporaryFolder()
  const [path, copy] = [join(folder.path, 'db'), join(folder.path, 'copy')]
  await using store = await levelKeyValue(path)
  // more than a log takes, and less than two
  for (let i = 0; i < 50; i++) await store.batch([{ type: 'put', key: Uint8Array.of(i), value: new Uint8Array(100_000).fill(i) }], { sync: false })
  await store.batch([{ type: 'put', key: utf8('last'), value: utf8('1') }], { sync: 'all' })
  await cp(path, copy, { recursive: true, filter: (name) => !/\.log$|LOCK$/.test(name) })
  await using again = await levelKeyValue(copy)
  for (let i = 0; i < 50; i++) expect((await again.get(Uint8Array.of(i)))?.[99_999], `row ${i}`).toBe(i)
})

test.skipIf(!await canMount())('a LevelDB on a disk that was full takes batches again when there is room, and has all that it said it had', async () => {
  await using disk = await smallDisk(64 * mib)
  const path = join(disk.path, 'db')
  await using store = await levelKeyValue(path)
  const had: number[] = []
  const put = async (n: number, sizeBytes = 10_000): Promise<void> => {
    await store.batch([{ type: 'put', key: Uint8Array.of(n), value: new Uint8Array(sizeBytes).fill(n) }], { sync: true })
    had.push(n)
  }
  for (let round = 0; round < 4; round++) {
    await put(10 * round)
    await disk.fill(100_000)
    await expect((async () => { for (let i = 1; i < 1000; i++) await put(10 * round + 1, 10_000) })()).rejects.toThrow(StoreFull)
    expect(store.failure).toBeInstanceOf(StoreFull)
    await expect(put(255)).rejects.toThrow(StoreFull)
    expect((await store.get(Uint8Array.of(10 * round)))?.[9999]).toBe(10 * round)
    const walking = store.entries({})[Symbol.asyncIterator]()
    await walking.next()
    await disk.free()
    // looks and batches of one moment, of which one opens it afresh
    await Promise.all([put(10 * round + 2), put(10 * round + 3), store.get(Uint8Array.of(0)), all(store.keys({})).catch((error: unknown) => { expect(error).toBeInstanceOf(StoreFull) })])
    await walking.return?.()
    expect(store.failure).toBeUndefined()
  }
  await cp(path, join(disk.path, 'copy'), { recursive: true, filter: (name) => !name.endsWith('LOCK') })
  await using again = await levelKeyValue(join(disk.path, 'copy'))
  for (const n of had) for (const from of [store, again]) expect((await from.get(Uint8Array.of(n)))?.at(-1), `${n}`).toBe(n)
})

describe.skipIf(!await canMount())('a LevelDB that met the end of its disk while it put its files in order', () => {
  // what cannot be compressed
  const bytes = seededRandom(1).bytes(mib)
  const row = (n: number): KeyValueChange => ({ type: 'put', key: Uint8Array.of(n), value: concat([bytes, Uint8Array.of(n)]) })
  /** It has written a log, some of it unsynced, for whose table there was no room; there is again, and nobody has been told of it. */
  async function met (disk: SmallDisk, use: (store: KeyValue, path: string) => Promise<void>): Promise<void> {
    const path = join(disk.path, 'db')
    await using store = await levelKeyValue(path)
    // as much as a log takes
    for (let n = 0; n < 4; n++) await store.batch([row(n)], { sync: false })
    await disk.fill(2 * mib)
    await store.batch([{ type: 'put', key: Uint8Array.of(100), value: utf8('synced') }], { sync: true })
    while (!text(await readFile(join(path, 'LOG'))).includes('No space left on device')) await new Promise((resolve) => { setTimeout(resolve, 5) })
    await disk.free()
    expect(store.failure).toBeUndefined()
    await use(store, path)
  }

  test('takes the first batch that is to be synced all the same, beside looks and walks, and has what it had', async () => {
    await using disk = await smallDisk(64 * mib)
    await met(disk, async (store, path) => {
      const walking = store.entries({})[Symbol.asyncIterator]()
      await walking.next()
      const looks = [store.get(Uint8Array.of(3)), store.getMany([Uint8Array.of(100)]), all(store.keys({})).catch((error: unknown) => { expect(error).toBeInstanceOf(StoreFull) })]
      await Promise.all([store.batch([row(4)], { sync: true }), store.batch([row(5)], { sync: true }), ...looks])
      await walking.return?.()
      expect(store.failure).toBeUndefined()
      await cp(path, join(disk.path, 'copy'), { recursive: true, filter: (name) => !name.endsWith('LOCK') })
      await using again = await levelKeyValue(join(disk.path, 'copy'))
      for (const from of [store, again]) {
        for (let n = 0; n < 6; n++) expect((await from.get(Uint8Array.of(n)))?.at(-1), `${n}`).toBe(n)
        expect(await from.get(Uint8Array.of(100))).toEqual(utf8('synced'))
      }
    })
  })

  test('can be read, and says why it takes nothing, as long as it cannot be opened afresh', async () => {
    await using disk = await smallDisk(64 * mib)
    await met(disk, async (store, path) => {
      await disk.fill(1000)
      await expect(store.batch([row(5)], { sync: true })).rejects.toThrow(StoreFull)
      expect((await store.get(Uint8Array.of(3)))?.at(-1)).toBe(3)
      await disk.free()
      await rename(join(path, 'CURRENT'), join(path, 'away'))
      await expect(store.batch([row(5)], { sync: true })).rejects.toThrow('does not open')
      // what is not open is not empty
      await expect(store.get(Uint8Array.of(3))).rejects.toThrow(StoreFull)
      await expect(all(store.entries({}))).rejects.toThrow(StoreFull)
      await rm(path, { recursive: true })
    })
  })

  test.each([false, 'all'] as const)('says so to who syncs nothing, or all (%s): what was not synced before may be gone', async (sync) => {
    await using disk = await smallDisk(64 * mib)
    await met(disk, async (store, path) => {
      // as of a log that the disk never took
      for (const name of await readdir(path)) if (name.endsWith('.log') && (await stat(join(path, name))).size > mib) await writeFile(join(path, name), new Uint8Array((await stat(join(path, name))).size))
      await expect(store.batch([row(5)], { sync })).rejects.toThrow(StoreFull)
      await store.batch([row(5)], { sync })
      expect((await store.get(Uint8Array.of(5)))?.at(-1)).toBe(5)
      expect(await store.get(Uint8Array.of(100))).toEqual(utf8('synced'))
    })
  })
})

test('a LevelDB that could not write says so, and takes nothing behind the tear (its errors were all passed on as unknown)', async () => {
  await using folder = await temporaryFolder()
  await using store = await levelKeyValue(join(folder.path, 'db'))
  await store.batch([{ type: 'put', key: utf8('a'), value: utf8('1') }], { sync: true })
  await rm(join(folder.path, 'db'), { recursive: true })
  // more than a log takes: the next log cannot be made
  const fill = async (): Promise<void> => { for (let i = 0; i < 20; i++) await store.batch([{ type: 'put', key: Uint8Array.of(i), value: new Uint8Array(1024 ** 2) }], { sync: false }) }
  await expect(fill()).rejects.toThrow(SyncFailed)
  expect(store.failure).toBeInstanceOf(SyncFailed)
  await mkdir(join(folder.path, 'db'))
  await expect(store.batch([], { sync: true })).rejects.toThrow(SyncFailed)
  expect(await store.get(utf8('a'))).toEqual(utf8('1'))
})

describe('the disk in memory', () => {
  test('keeps what was synced through any crash, and of the rest a beginning or nothing whole', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(seed)
      const files = memoryFiles()
      await files.writeDurable('safe', [utf8('safe')])
      const log = await files.openAppend('log')
      await log.append([utf8('synced')])
      await log.sync()
      await log.append([new Uint8Array(2000).fill(7)])
      const after = files.crash(random)
      expect(text(await after.read('safe'))).toBe('safe')
      expect(text((await after.read('log')).subarray(0, 6))).toBe('synced')
    }
  })

  test('fails as told, and says which failure it was', async () => {
    const files = memoryFiles()
    files.fail('write')
    await expect(files.writeDurable('a', [utf8('x')])).rejects.toThrow(StoreFull)
    files.fail('sync')
    await expect(files.writeDurable('a', [utf8('x')])).rejects.toThrow(SyncFailed)
    files.fail('read')
    await expect(files.read('a')).rejects.toThrow('EIO')
  })
})

describe('the folder lock', () => {
  test('is held by one process, named to the second, and given back', async () => {
    await using folder = await temporaryFolder()
    {
      await using _lock = await lockFolder(folder.path)
      await expect(lockFolder(folder.path)).rejects.toThrow(`in use by process ${process.pid}`)
    }
    await using _again = await lockFolder(folder.path)
  })

  test('of a process that was killed is taken over, also when its number has a new owner', async () => {
    await using folder = await temporaryFolder()
    const child = spawn('sleep', ['60'])
    await writeFile(join(folder.path, 'lock'), JSON.stringify({ pid: child.pid, started: 'long ago' }))
    { await using _lock = await lockFolder(folder.path) }
    child.kill('SIGKILL')
    await new Promise((resolve) => { child.once('exit', resolve) })
    await writeFile(join(folder.path, 'lock'), JSON.stringify({ pid: child.pid, started: '1' }))
    await using _lock = await lockFolder(folder.path)
    expect((await stat(join(folder.path, 'lock'))).size).toBeGreaterThan(0)
  })
})
