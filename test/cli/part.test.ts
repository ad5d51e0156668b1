import { spawnSync } from 'node:child_process'
import { open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Part } from '../../src/cli/part.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'

const content = noiseBytes(300_000, 7)
const whole = { version: 'aa', totalBytes: content.byteLength }
/** A process that has ended: its pid is nobody's, or somebody's who started later. */
const gone = `${spawnSync('true').pid}-0`

let folder: string
let file: string
beforeEach(async () => {
  const temporary = await temporaryFolder()
  onTestFinished(async () => { await temporary[Symbol.asyncDispose]() })
  folder = temporary.path
  file = join(folder, 'out')
})

const parts = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.includes('.dfs-part-')).toSorted()

/** Leaves `bytes` behind as a run does that ends half way, under the name of a process that is gone. */
async function leave (bytes: Uint8Array, { version = whole.version, owner = gone } = {}): Promise<string> {
  const part = await Part.open(file, { ...whole, version })
  await part.append(bytes)
  await part[Symbol.asyncDispose]()
  const left = join(folder, `out.dfs-part-${version}.${owner}`)
  await rename(join(folder, (await parts())[0] ?? ''), left)
  return left
}

async function finish (): Promise<number> {
  await using part = await Part.open(file, whole)
  const haveBytes = part.sizeBytes
  await part.append(content.subarray(haveBytes))
  await part.settle()
  return haveBytes
}

describe('a part of a download', () => {
  test('takes the final name when it is whole, and leaves nothing else', async () => {
    expect(await finish()).toBe(0)
    expect(await readFile(file)).toEqual(Buffer.from(content))
    expect(await readdir(folder)).toEqual(['out'])
  })

  test('is gone on with when its process is gone', async () => {
    await leave(content.subarray(0, 200_000))
    expect(await finish()).toBe(200_000)
    expect(await readFile(file)).toEqual(Buffer.from(content))
    expect(await readdir(folder)).toEqual(['out'])
  })

  test('is not believed when its bytes are not those that were recorded, as after a power loss', async () => {
    const left = await leave(content.subarray(0, 200_000))
    const damaged = await open(join(left, 'content'), 'r+')
    await damaged.write(new Uint8Array(4096), 0, 4096, 100_000)
    await damaged.close()
    expect(await finish()).toBe(0)
    expect(await readFile(file)).toEqual(Buffer.from(content))
  })

  test.each([['', 0], ['{"sizeBytes":', 0], ['null', 0], ['{}', 0]])('is not believed with the record %j', async (record, haveBytes) => {
    await writeFile(join(await leave(content.subarray(0, 200_000)), 'record'), record)
    expect(await finish()).toBe(haveBytes)
    expect(await readFile(file)).toEqual(Buffer.from(content))
  })

  test('may be longer than recorded: the tail is written again', async () => {
    const left = await leave(content.subarray(0, 200_000))
    await writeFile(join(left, 'content'), new Uint8Array(500_000), { flag: 'a' })
    expect(await finish()).toBe(200_000)
    expect(await readFile(file)).toEqual(Buffer.from(content))
  })

  test('of a process that still runs is its own', async () => {
    const theirs = await leave(content.subarray(0, 200_000), { owner: await identityOfParent() })
    expect(await finish()).toBe(0)
    expect(await parts()).toEqual([theirs.slice(folder.length + 1)])
  })

  test('of another version is removed when its process is gone', async () => {
    await leave(content.subarray(0, 10), { version: 'bb' })
    expect(await finish()).toBe(0)
    expect(await parts()).toEqual([])
  })

  test('of a file with the longest name there can be is gone on with as well', async () => {
    file = join(folder, 'é'.repeat(127))
    const part = await Part.open(file, whole)
    await part.append(content.subarray(0, 1000))
    await part[Symbol.asyncDispose]()
    const [name = ''] = await parts()
    await rename(join(folder, name), join(folder, name.replace(/\.\d+-\d*$/, `.${gone}`)))
    expect(await finish()).toBe(1000)
    expect(await readFile(file)).toEqual(Buffer.from(content))
  })

  test('is not settled while bytes are missing', async () => {
    await using part = await Part.open(file, whole)
    await part.append(content.subarray(0, 100))
    await expect(part.settle()).rejects.toMatchObject({ code: 'corrupt' })
    expect(await readdir(folder)).not.toContain('out')
  })
})

async function identityOfParent (): Promise<string> {
  const stat = await readFile(`/proc/${process.ppid}/stat`, 'utf8').catch(() => '')
  return `${process.ppid}-${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`
}
