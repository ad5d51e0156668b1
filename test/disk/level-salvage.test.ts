import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import { damageBeforeOpening, levelFilesIn } from '../../src/disk/level-damage.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { finishSalvage, salvage } from '../../src/disk/level-salvage.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { noiseBytes } from '../support/file-world.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'

const random = seededRandom(5)
const key = (n: number): Uint8Array => Uint8Array.of(n >> 8, n, 7)
const folder = 'index'

/** A LevelDB with two tables and a log, in which keys were put, put again and deleted; and what it should say. */
async function filled (): Promise<TemporaryFolder & { expected: Map<number, Uint8Array> }> {
  const at = await temporaryFolder()
  const expected = new Map<number, Uint8Array>()
  const changed = async (from: number, to: number, { sync }: { sync: 'all' | true }): Promise<void> => {
    const store = await levelKeyValue(join(at.path, folder))
    for (let n = from; n < to; n++) {
      const value = noiseBytes(10 + Math.floor(random.fraction() * 3000), n + to)
      await store.batch([n % 7 === 3 ? { type: 'delete', key: key(n) } : { type: 'put', key: key(n), value }, { type: 'put', key: key(9999), value }], { sync: false })
      if (n % 7 === 3) expected.delete(n)
      else expected.set(n, value)
      expected.set(9999, value)
    }
    await store.batch([], { sync })
    await store[Symbol.asyncDispose]()
  }
  await changed(0, 400, { sync: 'all' })
  await changed(200, 600, { sync: 'all' })
  await changed(500, 700, { sync: true })
  return Object.assign(at, { expected })
}

async function contentOf ({ path }: TemporaryFolder): Promise<Map<number, string>> {
  await using store = await levelKeyValue(join(path, folder))
  const found = new Map<number, string>()
  for await (const [[high = 0, low = 0], value] of store.entries({})) found.set(high * 256 + low, Buffer.from(value).toString('hex'))
  return found
}
const hex = (expected: ReadonlyMap<number, Uint8Array>): Map<number, string> => new Map([...expected].map(([n, value]) => [n, Buffer.from(value).toString('hex')]))

test('of a LevelDB that is whole all of it is salvaged: the last change of each key, and what was deleted is not there', async () => {
  await using at = await filled()
  await salvage({ data: at.path, files: nodeFiles(at.path), folder })
  expect(await contentOf(at)).toEqual(hex(at.expected))
  expect(await readdir(at.path)).toEqual([folder])
})

test('of a table with a flipped bit its other blocks are, so that few keys are missing and none is wrong but by an older value', async () => {
  await using at = await filled()
  const files = nodeFiles(at.path)
  const table = (await levelFilesIn(files, folder)).filter(({ name }) => name.endsWith('.ldb')).at(-1)?.name ?? ''
  const bytes = await files.read(`${folder}/${table}`)
  await writeFile(join(at.path, folder, table), bytes.map((byte, i) => i === 20_000 ? byte ^ 1 : byte))
  expect((await damageBeforeOpening(files, folder)).map(({ file }) => file)).toEqual([`${folder}/${table}`])
  await salvage({ data: at.path, files, folder })
  expect(await damageBeforeOpening(files, folder)).toEqual([])
  const found = await contentOf(at)
  const expected = hex(at.expected)
  const missing = [...expected.keys()].filter((n) => found.get(n) !== expected.get(n))
  expect(missing.length).toBeGreaterThan(0)
  expect(missing.length).toBeLessThan(20)
})

test('of a table whose index is damaged nothing is, of the others all', async () => {
  await using at = await filled()
  const files = nodeFiles(at.path)
  const [first] = (await levelFilesIn(files, folder)).filter(({ name }) => name.endsWith('.ldb'))
  const bytes = await files.read(`${folder}/${first?.name}`)
  await writeFile(join(at.path, folder, first?.name ?? ''), bytes.map((byte, i) => i === bytes.byteLength - 60 ? byte ^ 1 : byte))
  await salvage({ data: at.path, files, folder })
  const found = await contentOf(at)
  for (const [n, value] of hex(at.expected)) if (n >= 500) expect(found.get(n)).toBe(value)
})

test('a crash leaves the old one or the new one', async () => {
  await using at = await filled()
  const files = nodeFiles(at.path)
  // before it was whole
  await mkdir(join(at.path, `${folder}.salvaging`))
  await writeFile(join(at.path, `${folder}.salvaging`, '000003.log'), 'half')
  await finishSalvage({ data: at.path, folder })
  expect(await contentOf(at)).toEqual(hex(at.expected))
  // when it was, and before it took the place of the old one; the old one perhaps half removed
  await salvage({ data: at.path, files, folder })
  await rename(join(at.path, folder), join(at.path, `${folder}.salvaged`))
  for (const isOldThere of [false, true]) {
    if (isOldThere) {
      await rename(join(at.path, folder), join(at.path, `${folder}.salvaged`))
      await mkdir(join(at.path, folder))
    }
    await finishSalvage({ data: at.path, folder })
    expect(await contentOf(at)).toEqual(hex(at.expected))
  }
})

test('a table that the disk does not give is named, with what to do: nothing is left out of what may be had tomorrow', async () => {
  await using at = await filled()
  const files = nodeFiles(at.path)
  const table = (await levelFilesIn(files, folder)).filter(({ name }) => name.endsWith('.ldb')).at(-1)?.name ?? ''
  const failing = { ...files, read: async (path: string) => { if (path.endsWith(table)) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' }); return files.read(path) } }
  const refused = damageBeforeOpening(failing, folder)
  await expect(refused).rejects.toThrow(Corrupt)
  await expect(refused).rejects.toThrow(`${folder}/${table} cannot be read (EIO: i/o error, read): check the disk`)
  expect(await contentOf(at)).toEqual(hex(at.expected))
})
