import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { objectPath } from '../../src/client/index.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'
import { run, runWell, toolAt } from '../support/tools.ts'

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

/** What the recipes of those that make no bucket begin with. */
async function putPhoto (): Promise<void> {
  const { client } = await real.via(0)
  await client.json('PUT', '/v1/buckets/photos', { body: { copies: 1 } }).catch((error: unknown) => { if (statusOf(error) !== 409) throw error })
  await client.upload(objectPath('photos', 'x'), Readable.from([Buffer.from('a photo')]), { headers: {} })
}

/** What follows the client's name in the document. */
function recipe (name: string): string {
  const [, block = ''] = new RegExp(`\\*\\*${name}\\*\\*.*\\n\`\`\`\\w*\\n([\\s\\S]*?)\`\`\``).exec(document) ?? []
  expect(block).not.toBe('')
  return filled(block)
}

const filled = (text: string): string => text.replaceAll('127.0.0.1:9000', new URL(real.node(0).ready?.endpoints.s3 ?? '').host).replaceAll('9000', new URL(real.node(0).ready?.endpoints.s3 ?? '').port).replaceAll('DFS…', key.id)
  .replaceAll(/(?<=SECRET_ACCESS_KEY=|secret_access_key=|secret_key = |secret_access_key='|secretAccessKey: '|secretKey: '|:)(…|SECRET)/g, key.secret)
const environment = (): Record<string, string> => ({ HOME: home, AWS_EC2_METADATA_DISABLED: 'true', RESTIC_PASSWORD: 'x' })
const pasted = async (script: string): Promise<string> => (await runWell('bash', ['-ec', script], { cwd: home, env: environment() })).output
/** Its two lines: by a link, and with the key. */
const curl = (line: 0 | 1): string => recipe('curl').split('\n')[line] ?? ''

/** Releases from 1.29 and 2.13 on, which know AWS_ENDPOINT_URL; Debian's may be older. */
function isAwsNew (): boolean {
  if (toolAt('aws', 'its recipe was not tried') === undefined) return false
  const said = spawnSync('aws', ['--version']).output.join('')
  const [, major = 0, minor = 0] = (/aws-cli\/(\d+)\.(\d+)/.exec(said) ?? []).map(Number)
  if (major > 2 || minor >= (major === 2 ? 13 : 29)) return true
  process.stderr.write(`SKIPPED: aws is older than its recipe asks for (${said.trim()}), so that was not tried\n`)
  return false
}

test.skipIf(!isAwsNew())('aws, and curl by a link that it makes', async () => {
  await pasted(`${recipe('aws').split('\n').slice(0, 2).join('\n')}\naws s3 ls s3://photos/x`)
  expect(await pasted(`${recipe('aws')}\n${curl(0)}`)).toContain('a photo')
})

test.skipIf(toolAt('/usr/bin/aws', 'the recipe for older releases was not tried') === undefined)('aws as Debian has it, which is older: told where the node is by an option', async () => {
  await putPhoto()
  const [keys = '', , settings = ''] = recipe('aws').split('\n')
  const endpoint = `--endpoint-url http://${new URL(real.node(0).ready?.endpoints.s3 ?? '').host}`
  await pasted(`${keys}\nunset AWS_ENDPOINT_URL\naws () { /usr/bin/aws ${endpoint} "$@"; }\naws s3 cp photos/x s3://photos/older\n/usr/bin/${settings.trim()}\ncurl -sS --fail "$(aws s3 presign s3://photos/older)" | grep 'a photo'`)
})

test.skipIf(toolAt('curl', 'its recipe was not tried') === undefined)('curl with the key itself', async () => {
  await putPhoto()
  expect(await pasted(curl(1))).toContain('a photo')
})

test.skipIf(toolAt('ffmpeg', 'its recipe was not tried') === undefined || toolAt('ffprobe', 'the recipe of ffmpeg was not tried') === undefined || !isAwsNew())('ffmpeg, by a link and from a bucket that everybody may read', async () => {
  await putPhoto()
  await real.node(0).json(['bucket', 'create', 'films', '--redundancy', 'rf:1'])
  await real.node(0).json(['bucket', 'set', 'films', '--public', 'yes'])
  await pasted('ffmpeg -loglevel error -f lavfi -i testsrc2=duration=5:size=160x120:rate=25 -c:v mpeg4 film.mp4')
  const { client } = await real.via(0)
  for (const bucket of ['photos', 'films']) await client.upload(objectPath(bucket, 'film.mp4'), Readable.from([await readFile(join(home, 'film.mp4'))]), { headers: {} })
  const said = await pasted(`${recipe('aws').split('\n').filter((_, i) => i !== 1).join('\n')}\n${recipe('ffmpeg')}`)
  expect(said.match(/duration=5\.0/g)).toHaveLength(2)
  expect((await readFile(join(home, 'frame.png'))).subarray(1, 4).toString()).toBe('PNG')
}, 90_000)

const s3fs = toolAt('s3fs', 'its recipe was not tried')
const hasFuse = existsSync('/dev/fuse') && process.getuid?.() === 0
if (s3fs !== undefined && !hasFuse) process.stderr.write('SKIPPED: s3fs cannot mount here (it takes /dev/fuse and root), so its recipe was not tried\n')
test.skipIf(s3fs === undefined || !hasFuse)('s3fs', async () => {
  await putPhoto()
  const mount = join(home, 'mount')
  await mkdir(mount)
  try {
    await pasted(recipe('s3fs').replaceAll('/mnt/photos', mount))
    await until('it is mounted', 20_000, async () => (await readFile('/proc/mounts', 'utf8')).includes(` ${mount} fuse.s3fs`))
    expect(await readFile(join(mount, 'x'), 'utf8')).toBe('a photo')
    await writeFile(join(mount, 'by-s3fs'), 'written')
    expect(await (await real.via(0)).client.json('GET', '/v1/objects/photos?prefix=by-s3fs')).toMatchObject({ objects: [{ key: 'by-s3fs', sizeBytes: 7 }] })
  } finally {
    await run('umount', ['-l', mount])
  }
})

test.each([['JavaScript', 'a photo'], ['minio', 'by-minio']])('%s', async (name, printed) => {
  await putPhoto()
  // beside node_modules, for that is where the packages are looked for
  const script = join(import.meta.dirname, '../..', 'node_modules', `.recipe-${name}-${process.pid}.mjs`)
  await writeFile(script, recipe(name))
  try {
    expect((await runWell(process.execPath, [script], { cwd: home, env: environment() })).output).toContain(printed)
  } finally {
    await rm(script)
  }
})

const boto3 = (await run('/bin/sh', ['-c', '/usr/bin/python3 -c "import boto3"'])).code === 0
if (!boto3) process.stderr.write('SKIPPED: Debian\'s python3-boto3 is not installed (scripts/clients.sh), so the recipe for Python was not tried\n')
test.skipIf(!boto3)('Python, and a link that it makes', async () => {
  await putPhoto()
  await writeFile(join(home, 'recipe.py'), recipe('Python'))
  const [got, link = ''] = (await runWell('/usr/bin/python3', ['recipe.py'], { cwd: home, env: environment() })).stdout.split('\n')
  expect([got, await (await fetch(link)).text()]).toEqual(['a photo', 'a photo'])
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
