import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { realCluster, type RealCluster } from '../support/real-cluster.ts'
import { runWell, toolAt } from '../support/tools.ts'

/** The recipes of docs/S3.md, pasted into a shell: only the key, the port and the folders are a test's own. */
let real: RealCluster
let key: SecretAccessKey
let document: string
let home: string

beforeAll(async () => {
  real = await realCluster(1, { copies: 1, options: () => ['--s3-listen', '127.0.0.1:0'] })
  ;[key] = await real.node(0).json<SecretAccessKey>(['key', 'create', 'recipes']) as [SecretAccessKey]
  document = await readFile(new URL('../../docs/S3.md', import.meta.url), 'utf8')
  home = join(real.folder, 'home')
  await mkdir(join(home, 'photos'), { recursive: true })
  await writeFile(join(home, 'photos', 'x'), 'a photo')
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

/** What follows the client's name in the document. */
function recipe (name: string): string {
  const [, block = ''] = new RegExp(`\\*\\*${name}\\*\\*.*\\n\`\`\`\\w*\\n([\\s\\S]*?)\`\`\``).exec(document) ?? []
  expect(block).not.toBe('')
  return filled(block)
}

const filled = (text: string): string => text.replaceAll('127.0.0.1:9000', new URL(real.node(0).ready?.endpoints.s3 ?? '').host).replaceAll('DFS…', key.id).replaceAll('secretAccessKey', key.secret)
  .replaceAll(/(?<=SECRET_ACCESS_KEY=|secret_access_key=|secret_key = |:)(…|SECRET)/g, key.secret)
const pasted = async (script: string): Promise<string> => (await runWell('bash', ['-ec', script], { cwd: home, env: { HOME: home, AWS_EC2_METADATA_DISABLED: 'true', RESTIC_PASSWORD: 'x' } })).output

test.skipIf(toolAt('aws', 'its recipe was not tried') === undefined)('aws', async () => {
  await pasted(`${recipe('aws').split('\n').slice(0, 2).join('\n')}\naws s3 ls s3://photos/x`)
  // the line of text below the others
  const [, curl = ''] = /\*\*curl\*\*: `(curl "[^`]*)`/.exec(document) ?? []
  expect(await pasted(`${recipe('aws')}\n${curl}`)).toContain('a photo')
})

test.skipIf(toolAt('rclone', 'its recipe was not tried') === undefined)('rclone', async () => {
  expect(await pasted(`${recipe('rclone')}\nrclone lsf dfs:photos`)).toContain('x')
})

test.skipIf(toolAt('restic', 'its recipe was not tried') === undefined)('restic', async () => {
  expect(await pasted(recipe('restic'))).toContain('created restic repository')
})

test.skipIf(toolAt('s3cmd', 'its recipe was not tried') === undefined)('s3cmd', async () => {
  await writeFile(join(home, '.s3cfg'), recipe('s3cmd'))
  expect(await pasted('s3cmd mb s3://by-s3cmd && s3cmd put photos/x s3://by-s3cmd/x && s3cmd ls s3://by-s3cmd')).toContain('s3://by-s3cmd/x')
})
