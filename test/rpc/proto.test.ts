import { execFile } from 'node:child_process'
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/temporary.ts'

const run = promisify(execFile)
const top = join(import.meta.dirname, '..', '..')
const buf = async (args: readonly string[], cwd = top): Promise<{ code: number, output: string }> => {
  const env = { ...process.env, PATH: `${join(top, 'node_modules', '.bin')}:${process.env.PATH}` }
  try {
    const { stdout, stderr } = await run(join(top, 'node_modules', '.bin', 'buf'), args, { cwd, env })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number, stdout: string, stderr: string }
    return { code, output: stdout + stderr }
  }
}

test('the interface is as its linter wants it', async () => {
  expect(await buf(['lint'])).toEqual({ code: 0, output: '' })
})

test('the interface takes nothing back that was released', async () => {
  expect(await buf(['breaking', '--against', 'proto/released.binpb'])).toEqual({ code: 0, output: '' })
})

test('what would break a client is found', async () => {
  await using folder = await temporaryFolder()
  await cp(join(top, 'proto'), join(folder.path, 'proto'), { recursive: true })
  await cp(join(top, 'buf.yaml'), join(folder.path, 'buf.yaml'))
  await run('sed', ['-i', 's/uint64 size_bytes = 3;/uint32 size_bytes = 3;/', join(folder.path, 'proto', 'dfs', 'v1', 'object.proto')])
  const { code, output } = await buf(['breaking', '--against', join(top, 'proto', 'released.binpb')], folder.path)
  expect(code).not.toBe(0)
  expect(output).toContain('size_bytes')
})

test('the generated code is what the interface generates', async () => {
  await using folder = await temporaryFolder()
  expect((await buf(['generate', '--output', folder.path])).code).toBe(0)
  const generated = join('src', 'api', 'rpc', 'generated')
  const filesIn = async (path: string): Promise<string[]> => (await readdir(path, { recursive: true })).filter((name) => name.endsWith('.ts')).toSorted()
  const files = await filesIn(join(top, generated))
  expect(await filesIn(join(folder.path, generated))).toEqual(files)
  expect(files.length).toBeGreaterThan(5)
  for (const file of files) expect(await readFile(join(folder.path, generated, file), 'utf8'), file).toBe(await readFile(join(top, generated, file), 'utf8'))
})
