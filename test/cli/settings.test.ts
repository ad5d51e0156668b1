import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { dfs } from '../../scripts/local-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

let folder: string
let data: string
const at = (...names: string[]): string => join(folder, ...names)
const saved = async (): Promise<unknown> => JSON.parse(await readFile(join(data, 'dfs.json'), 'utf8')) as unknown
const address = '/ip4/127.0.0.1/tcp/0'

beforeEach(async () => {
  const temporary = await temporaryFolder()
  onTestFinished(async () => { await temporary[Symbol.asyncDispose]() })
  folder = temporary.path
  data = at('node')
  await mkdir(data)
})

describe('dfs init', () => {
  test('keeps what it was given from everywhere, beside what was there, with paths that hold from any folder', async () => {
    await writeFile(join(data, 'dfs.json'), JSON.stringify({ zone: 'cellar', 'log-level': 'warn' }))
    await writeFile(at('settings.json'), JSON.stringify({ listen: [address], zone: 'attic' }))
    expect(await dfs(['init', '--data', data, '--config', at('settings.json'), '--api-port', '0', '--key-file', '../../../../..' + at('secret', 'key')], { env: { DFS_CACHE: '1MiB' } })).toMatchObject({ code: 0, stderr: '' })
    expect(await saved()).toEqual({ 'log-level': 'warn', zone: 'attic', listen: [address], 'api-port': 0, cache: 1024 * 1024, 'key-file': at('secret', 'key') })
    expect(JSON.parse((await dfs(['config', '--data', data, '--json'])).stdout)).toMatchObject({ zone: { value: 'attic' }, 'key-file': { value: at('secret', 'key') } })
  })

  test('makes nothing beside settings that cannot be read', async () => {
    await writeFile(join(data, 'dfs.json'), '{')
    await writeFile(at('settings.json'), '{}')
    expect(await dfs(['init', '--data', data, '--no-passphrase', '--config', at('settings.json')])).toMatchObject({ code: 2, stderr: expect.stringContaining('dfs.json could not be read as JSON') as string })
    expect(await dfs(['init', '--data', data, '--no-passphrase', '--config', at('settings.json'), '--zone', 'x'])).toMatchObject({ code: 2 })
  })

  test.each([[['--no-passphrase']], [['--key-file', 'KEY']]])('warns of a key beside what it opens, under --json too: %j', async (options) => {
    const args = options.map((option) => option === 'KEY' ? join(data, 'my.key') : option)
    const { code, stderr } = await dfs(['init', '--data', data, '--listen', address, ...args, '--json'])
    expect([code, JSON.parse(stderr)]).toEqual([0, { warning: { message: expect.stringContaining('whoever has the folder has the data') as string } }])
  })
})

describe('a passphrase', () => {
  test('is not empty, wherever it comes from', async () => {
    await writeFile(at('empty'), '\n')
    for (const [args, env] of [[[], { DFS_PASSPHRASE: '' }], [['--passphrase-file', at('empty')], {}]] as const) {
      expect(await dfs(['init', '--data', data, ...args], { env })).toMatchObject({ code: 2, stderr: expect.stringContaining('is empty') as string })
    }
  })

  test('in a file that is not there is said by the name of the setting', async () => {
    expect(await dfs(['init', '--data', data, '--passphrase-file', at('nowhere')])).toMatchObject({ code: 2, stderr: expect.stringMatching(/^dfs: passphrase-file is .*nowhere, which cannot be read/) as string })
  })
})
