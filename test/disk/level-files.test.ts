import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { damageBeforeOpening, damageOfFile, evidenceLimits, keepEvidence, levelFilesIn } from '../../src/disk/level-damage.ts'
import { levelCheckOf } from '../../src/disk/level-files.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { noiseBytes } from '../support/file-world.ts'
import { flips } from '../support/damage.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'

/** What LevelDB itself wrote: a table, a log with records of several blocks, and a MANIFEST. */
let folder: TemporaryFolder
const random = seededRandom(7)
beforeAll(async () => {
  folder = await temporaryFolder()
  const store = await levelKeyValue(join(folder.path, 'index'))
  const put = async (count: number, valueBytes: number): Promise<void> => {
    await store.batch(Array.from({ length: count }, () => ({ type: 'put' as const, key: random.bytes(65), value: noiseBytes(valueBytes, count) })), { sync: true })
  }
  await put(3000, 10)
  // what compresses is compressed
  await store.batch(Array.from({ length: 3000 }, (_, i) => ({ type: 'put' as const, key: Uint8Array.of(9, i >> 8, i), value: new Uint8Array(100) })), { sync: true })
  await store.batch([], { sync: 'all' })
  await put(3, 70_000)
  for (let i = 0; i < 50; i++) await put(1, 100)
  await store[Symbol.asyncDispose]()
})
afterAll(async () => { await folder[Symbol.asyncDispose]() })

const kinds = ['log', 'ldb', 'MANIFEST'] as const
async function fileOf (kind: typeof kinds[number]): Promise<{ name: string, bytes: Uint8Array }> {
  const found = (await levelFilesIn(nodeFiles(folder.path), 'index')).filter(({ name }) => name.includes(kind)).toSorted((a, b) => b.sizeBytes - a.sizeBytes)[0]
  if (found === undefined) throw new Error(`LevelDB wrote no ${kind}`)
  return { name: found.name, bytes: await readFile(join(folder.path, 'index', found.name)) }
}

describe.each(kinds)('of LevelDB\'s files a %s', (kind) => {
  test('as it wrote it is right', async () => {
    const { name, bytes } = await fileOf(kind)
    expect(levelCheckOf(name)?.(bytes)).toEqual({ isRight: true })
  })

  test('with any bit flipped is not', async () => {
    const { name, bytes } = await fileOf(kind)
    for (const { name: what, bytes: flipped } of flips(Uint8Array.from(bytes), { most: 600 })) expect(levelCheckOf(name)?.(flipped).isRight, what).toBe(false)
  })

  test('that ends within what was written is not', async () => {
    const { name, bytes } = await fileOf(kind)
    for (const less of [1, 3, 8, 30]) expect(levelCheckOf(name)?.(bytes.subarray(0, bytes.byteLength - less)).isRight, `${less} bytes less`).toBe(false)
  })
})

test('before it is opened all of them are looked at, and one when it is asked for', async () => {
  const files = nodeFiles(folder.path)
  expect(await damageBeforeOpening(files, 'index')).toEqual([])
  for (const kind of kinds) {
    const { name, bytes } = await fileOf(kind)
    const path = join(folder.path, 'index', name)
    await writeFile(path, Uint8Array.from(bytes, (byte, i) => i === 20 ? byte ^ 1 : byte))
    const found = await damageBeforeOpening(files, 'index')
    expect(found.map(({ file }) => file)).toEqual([`index/${name}`])
    expect((await damageOfFile(files, `index/${name}`)).damage?.file).toBe(`index/${name}`)
    await writeFile(path, bytes)
  }
  expect(await damageOfFile(files, 'index/999999.ldb')).toEqual({ damage: undefined, bytes: 0 })
})

describe('evidence', () => {
  test('is kept as it was found, the same once, and no more than there is room for', async () => {
    const files = memoryFiles()
    for (const [path, text] of [['rows/index/1.log', 'first'], ['blocks/index/1.log', 'second']] as const) await files.writeDurable(path, [Buffer.from(text)])
    const kept = await keepEvidence(files, 'rows/index/1.log')
    expect(Buffer.from(await files.read(kept ?? '')).toString()).toBe('first')
    expect(await keepEvidence(files, 'rows/index/1.log')).toBe(kept)
    await files.writeDurable('rows/index/1.log', [Buffer.from('third')])
    expect(await keepEvidence(files, 'rows/index/1.log')).not.toBe(kept)
    for (let i = 0; i < evidenceLimits.maxFiles; i++) {
      await files.writeDurable('another', [Buffer.from(String(i))])
      await keepEvidence(files, 'another')
    }
    expect(files.paths.filter((path) => path.startsWith('evidence/'))).toHaveLength(evidenceLimits.maxFiles)
    expect(await keepEvidence(files, 'blocks/index/1.log')).toBeUndefined()
    expect(await keepEvidence(files, 'gone')).toBeUndefined()
  })
})
