import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalNode } from '../../scripts/local-cluster.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'

const run = promisify(execFile)
const top = join(import.meta.dirname, '..', '..')
const left = new Set(['.git', 'node_modules', 'dist', 'build'])

describe('a checkout installed with --omit=dev, which has neither the compiler nor a Node of its own', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  const at = (...names: string[]): string => join(folder.path, ...names)
  const env = { PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) }

  beforeAll(async () => {
    folder = await temporaryFolder()
    await cp(top, at('dfs'), { recursive: true, filter: (source) => !left.has(basename(source)) && !source.endsWith('.wasm') })
    await run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund'], { cwd: at('dfs'), env: { ...process.env, ...env } })
  }, 300_000)
  afterAll(async () => { await folder?.[Symbol.asyncDispose]() })

  test('stores 1 MiB and gives it back', async () => {
    const content = noiseBytes(1024 ** 2)
    await writeFile(at('file'), content)
    const node = new LocalNode(at('node'), [], { program: at('dfs', 'bin', 'dfs') })
    try {
      await node.run(['init', '--no-passphrase', '--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0', '--s3-listen', 'off'], { env })
      await node.start(['start'], { env })
      await node.json(['bucket', 'create', 'photos', '--redundancy', 'rf:1'], { env })
      await node.json(['put', at('file'), 'photos/'], { env })
      await node.json(['get', 'photos/file', at('copy')], { env })
      expect(await readFile(at('copy'))).toEqual(Buffer.from(content))
    } finally {
      await node.stop('SIGKILL')
    }
  }, 60_000)

  test('says what to do where Node is 20', async () => {
    await mkdir(at('old'))
    await writeFile(at('old', 'node'), '#!/bin/sh\necho v20.20.2\n')
    await chmod(at('old', 'node'), 0o755)
    const started = run(at('dfs', 'bin', 'dfs'), ['--help'], { env: { PATH: [at('old'), '/usr/bin', '/bin'].join(delimiter) } })
    await expect(started).rejects.toMatchObject({ code: 1, stderr: `dfs: needs Node 22.18 or later, found v20.20.2; "npm ci" in ${at('dfs')} brings one along (not with --omit=dev)\n` })
  })
})
