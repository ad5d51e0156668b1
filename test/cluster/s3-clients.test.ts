import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { CompleteMultipartUploadCommand, CreateMultipartUploadCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Client as Minio } from 'minio'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LocalNode, until } from '../../scripts/local-cluster.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { hasWon } from '../support/s3-client.ts'
import { digestOfBytes, filesIn, type RealCluster, realCluster } from '../support/real-cluster.ts'
import { run, runWell, toolAt } from '../support/tools.ts'

/**
 * What people use against S3, against three nodes of which one is dead, the last or the founder: what is written at one of the others is read at the second, at once. A client that is not
 * installed is told on standard error, and its test as skipped.
 */
let real: RealCluster
let living: readonly [LocalNode, LocalNode]
let key: SecretAccessKey
let endpoints: readonly string[]
let at: (...path: string[]) => string
const random = seededRandom(11)
const big = Buffer.from(random.bytes(12_000_000))
const files: ReadonlyArray<readonly [string, Uint8Array]> = [['a.txt', Buffer.from('hello\n')], ['sub/b.bin', random.bytes(300_000)], ['empty', new Uint8Array(0)], ['ä ö+&=.txt', Buffer.from('odd name\n')], ['big.bin', big]]

const endpoint = (node: number): string => endpoints[node] ?? ''
const client = (node: number): S3Client => new S3Client({ endpoint: endpoint(node), region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId: key.id, secretAccessKey: key.secret } })
const awsEnv = (): Record<string, string> => ({ AWS_ACCESS_KEY_ID: key.id, AWS_SECRET_ACCESS_KEY: key.secret, AWS_DEFAULT_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true', HOME: at('home') })
const expectSame = async (folder: string): Promise<void> => {
  expect(await filesIn(folder)).toEqual(await filesIn(at('files')))
  for (const [name, bytes] of files) expect(digestOfBytes(await readFile(join(folder, name)))).toBe(digestOfBytes(bytes))
}

const rclone = toolAt('rclone', 'rclone was not tried')
const restic = toolAt('restic', 'restic was not tried')
const s3cmd = toolAt('s3cmd', 's3cmd was not tried')
const s3fs = toolAt('s3fs', 'a mounted bucket was not tried')
const ffmpeg = toolAt('ffprobe', 'seeking in a video was not tried')
const awsCommands = [...new Map(['aws', '/usr/bin/aws'].flatMap((name) => {
  const found = name.startsWith('/') ? (existsSync(name) ? name : undefined) : toolAt(name, 'the AWS command line was not tried')
  return found === undefined ? [] : [[found, found] as const]
})).values()]
const hasFuse = existsSync('/dev/fuse') && process.getuid?.() === 0
if (s3fs !== undefined && !hasFuse) process.stderr.write('SKIPPED: s3fs cannot mount here (it takes /dev/fuse and root), so a mounted bucket was not tried\n')

describe.each([[3, 1, 2], [1, 2, 3]])('three nodes, number %d of them dead', (dead, first, second) => {
  beforeAll(async () => {
    real = await realCluster(3, { options: () => ['--s3-listen', '127.0.0.1:0'] })
    await real.node(dead - 1).stop('SIGKILL')
    living = [real.node(first - 1), real.node(second - 1)]
    ;[key] = await living[0].json<SecretAccessKey>(['key', 'create', 'clients']) as [SecretAccessKey]
    endpoints = living.map((node) => node.ready?.endpoints.s3 ?? '')
    at = (...path) => join(real.folder, 'clients', ...path)
    for (const [name, bytes] of files) { await mkdir(join(at('files', name), '..'), { recursive: true }); await writeFile(at('files', name), bytes) }
  }, 120_000)
  afterAll(async () => { await real[Symbol.asyncDispose]() })

  test.skipIf(rclone === undefined)('rclone copies, syncs, checks, moves, touches, cats and purges', async () => {
    const env = (node: number): Record<string, string> => ({
      HOME: at('home'), RCLONE_CONFIG_D_TYPE: 's3', RCLONE_CONFIG_D_PROVIDER: 'Other', RCLONE_CONFIG_D_ACCESS_KEY_ID: key.id, RCLONE_CONFIG_D_SECRET_ACCESS_KEY: key.secret, RCLONE_CONFIG_D_ENDPOINT: endpoint(node), RCLONE_CONFIG_D_REGION: 'us-east-1',
      RCLONE_S3_UPLOAD_CUTOFF: '5M', RCLONE_S3_CHUNK_SIZE: '5M', RCLONE_RETRIES: '1', RCLONE_LOW_LEVEL_RETRIES: '1',
    })
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell('rclone', args, { env: env(node) })).stdout
    await go(0, 'mkdir', 'd:rclone')
    await go(0, 'copy', at('files'), 'd:rclone')
    expect(await go(1, 'cat', 'd:rclone/ä ö+&=.txt')).toBe('odd name\n')
    await go(1, 'check', at('files'), 'd:rclone')
    await go(1, 'check', '--download', at('files'), 'd:rclone')
    await go(1, 'sync', 'd:rclone', at('rclone-back'))
    await expectSame(at('rclone-back'))
    await go(0, 'moveto', 'd:rclone/sub', 'd:rclone/moved')
    await go(0, 'touch', 'd:rclone/big.bin')
    expect((await go(1, 'lsf', '-R', '--files-only', 'd:rclone')).trim().split('\n').toSorted()).toEqual(['a.txt', 'big.bin', 'empty', 'moved/b.bin', 'ä ö+&=.txt'])
    // what another door has stored has no MD5, and rclone must not think that it came damaged
    await (await real.via(first - 1)).put('by-another-door', big)
    await go(1, 'copyto', 'd:test-bucket/by-another-door', at('by-another-door'))
    expect(digestOfBytes(await readFile(at('by-another-door')))).toBe(digestOfBytes(big))
    await go(0, 'purge', 'd:rclone')
    expect(await go(1, 'lsd', 'd:')).not.toContain('rclone')
  })

  test.skipIf(restic === undefined)('restic makes a repository, backs up, forgets, prunes, checks and restores', async () => {
    const env = (node: number): Record<string, string> => ({ ...awsEnv(), RESTIC_PASSWORD: 'x', RESTIC_REPOSITORY: `s3:${endpoint(node)}/restic`, RESTIC_CACHE_DIR: at('restic-cache') })
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell('restic', args, { env: env(node), cwd: real.folder })).output
    await go(0, 'init')
    await go(0, 'backup', 'clients/files')
    await writeFile(at('files', 'later'), 'later')
    await go(1, 'backup', 'clients/files')
    await rm(at('files', 'later'))
    await go(1, 'backup', 'clients/files')
    await go(1, 'forget', '--keep-last', '1', '--prune')
    expect(await go(0, 'check', '--read-data')).toContain('no errors were found')
    await go(1, 'restore', 'latest', '--target', at('restored'))
    await expectSame(at('restored', 'clients', 'files'))
  }, 90_000)

  test.skipIf(s3cmd === undefined)('s3cmd makes a bucket, puts, syncs, lists, informs, copies, gets and removes', async () => {
    const config = async (node: number): Promise<string> => {
      const host = new URL(endpoint(node)).host
      await writeFile(at(`s3cfg-${node}`), `[default]\naccess_key = ${key.id}\nsecret_key = ${key.secret}\nhost_base = ${host}\nhost_bucket = ${host}\nuse_https = False\n`)
      return at(`s3cfg-${node}`)
    }
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell('s3cmd', ['-c', await config(node), ...args], { env: { HOME: at('home') } })).output
    await go(0, 'mb', 's3://s3cmd')
    await go(0, 'sync', `${at('files')}/`, 's3://s3cmd/files/')
    expect(await go(1, 'ls', '-r', 's3://s3cmd')).toContain('ä ö+&=.txt')
    expect(await go(1, 'info', 's3://s3cmd')).toContain('FULL_CONTROL')
    await go(1, 'get', '--force', 's3://s3cmd/files/big.bin', at('s3cmd-big'))
    expect(digestOfBytes(await readFile(at('s3cmd-big')))).toBe(digestOfBytes(big))
    await go(0, 'cp', 's3://s3cmd/files/a.txt', 's3://s3cmd/copied.txt')
    await go(0, 'put', '--multipart-chunk-size-mb=5', at('files', 'big.bin'), 's3://s3cmd/parts')
    expect(await go(1, 'info', 's3://s3cmd/parts')).toContain('12000000')
    await go(0, 'del', '-r', '-f', 's3://s3cmd/files')
    await go(0, 'rb', '-r', '-f', 's3://s3cmd')
  })

  test.skipIf(awsCommands.length === 0).each(awsCommands.length === 0 ? ['aws'] : awsCommands)('%s makes a bucket, copies, syncs, lists, gets, presigns and removes', async (aws) => {
    const bucket = `aws-${awsCommands.indexOf(aws)}`
    const version = await run(aws, ['--version'], { env: awsEnv() })
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell(aws, ['--endpoint-url', endpoint(node), ...args], { env: awsEnv() })).stdout
    await go(0, 's3', 'mb', `s3://${bucket}`)
    await go(0, 's3', 'sync', at('files'), `s3://${bucket}/files`, '--no-progress')
    expect(await go(1, 's3', 'ls', '--recursive', `s3://${bucket}`), version.output).toContain('files/ä ö+&=.txt')
    await go(1, 's3', 'sync', `s3://${bucket}/files`, at(`${bucket}-back`), '--no-progress')
    await expectSame(at(`${bucket}-back`))
    await go(0, 's3', 'cp', `s3://${bucket}/files/big.bin`, `s3://${bucket}/copied.bin`, '--no-progress')
    // version 1 presigns by an older signature otherwise
    await go(0, 'configure', 'set', 'default.s3.signature_version', 's3v4')
    const link = (await go(1, 's3', 'presign', `s3://${bucket}/copied.bin`)).trim()
    const fetched = await fetch(link)
    expect([fetched.status, digestOfBytes(new Uint8Array(await fetched.arrayBuffer()))]).toEqual([200, digestOfBytes(await readFile(at('files', 'big.bin')))])
    const { Deleted: deleted } = JSON.parse(await go(0, 's3api', 'delete-objects', '--output', 'json', '--bucket', bucket, '--delete', 'Objects=[{Key=copied.bin}]')) as { Deleted: Array<{ Key: string }> }
    expect(deleted).toEqual([{ Key: 'copied.bin' }])
    await go(0, 's3', 'rb', '--force', `s3://${bucket}`)
  }, 90_000)

  test.skipIf(s3fs === undefined || !hasFuse)('s3fs mounts a bucket, in which files are made, read, renamed and removed', async () => {
    await client(0).send(new PutObjectCommand({ Bucket: 'test-bucket', Key: 'mounted/', ContentType: 'application/x-directory', Body: Buffer.alloc(0) }))
    await client(0).send(new PutObjectCommand({ Bucket: 'test-bucket', Key: 'mounted/before.txt', Body: 'put before\n' }))
    const mount = at('mount')
    await mkdir(mount)
    await writeFile(at('s3fs-password'), `${key.id}:${key.secret}`, { mode: 0o600 })
    const child = spawn('s3fs', ['test-bucket', mount, '-f', '-o', `passwd_file=${at('s3fs-password')}`, '-o', `url=${endpoint(0)}`, '-o', 'use_path_request_style', '-o', 'endpoint=us-east-1'], { env: { PATH: process.env.PATH, HOME: at('home') }, stdio: 'pipe' })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => { said += bytes.toString() })
    const ended = new Promise((resolve) => { child.once('exit', resolve) })
    try {
      await until('s3fs mounts', 20_000, () => {
        if (child.exitCode !== null) throw new Error(`s3fs ended with ${child.exitCode}: ${said}`)
        return readFileSync('/proc/mounts', 'utf8').includes(` ${mount} fuse.s3fs`)
      })
      expect(await readFile(join(mount, 'mounted/before.txt'), 'utf8')).toBe('put before\n')
      await writeFile(join(mount, 'new.bin'), big)
      expect(digestOfBytes(await readFile(join(mount, 'new.bin')))).toBe(digestOfBytes(big))
      await rename(join(mount, 'new.bin'), join(mount, 'renamed.bin'))
      expect((await stat(join(mount, 'renamed.bin'))).size).toBe(big.byteLength)
      const { ContentLength: size } = await client(1).send(new HeadObjectCommand({ Bucket: 'test-bucket', Key: 'renamed.bin' }))
      expect(size).toBe(big.byteLength)
      await rm(join(mount, 'renamed.bin'))
    } finally {
      await run('umount', ['-l', mount])
      child.kill()
      await ended
    }
  })

  describe('the AWS SDK for JavaScript', () => {
    test('puts buffers and streams of unknown length, in parts when they are long, and reads them at the other node', async () => {
      await client(0).send(new PutObjectCommand({ Bucket: 'test-bucket', Key: 'sdk/buffer', Body: 'buffered', Metadata: { who: 'me' }, ContentType: 'text/plain' }))
      const got = await client(1).send(new GetObjectCommand({ Bucket: 'test-bucket', Key: 'sdk/buffer', ChecksumMode: 'ENABLED' }))
      expect([await got.Body?.transformToString(), got.Metadata, got.ContentType, got.ChecksumCRC32 === undefined]).toEqual(['buffered', { who: 'me' }, 'text/plain', false])
      const upload = new Upload({ client: client(0), params: { Bucket: 'test-bucket', Key: 'sdk/parts', Body: Readable.from(pieces(big)) }, partSize: 5 * 1024 * 1024 })
      expect((await upload.done()).ETag).toMatch(/^"[0-9a-f]{32}-3"$/)
      const whole = await client(1).send(new GetObjectCommand({ Bucket: 'test-bucket', Key: 'sdk/parts' }))
      expect(digestOfBytes(await whole.Body?.transformToByteArray() ?? new Uint8Array(0))).toBe(digestOfBytes(big))
      const { Contents: contents } = await client(1).send(new ListObjectsV2Command({ Bucket: 'test-bucket', Prefix: 'sdk/' }))
      expect(contents?.map(({ Key }) => Key)).toEqual(['sdk/buffer', 'sdk/parts'])
    })

    test('and its presigned URLs put and get by curl, or fetch', async () => {
      const url = await getSignedUrl(client(0), new PutObjectCommand({ Bucket: 'test-bucket', Key: 'sdk/linked' }), { expiresIn: 60 })
      expect((await fetch(url, { method: 'PUT', body: 'by a link' })).status).toBe(200)
      const link = await getSignedUrl(client(1), new GetObjectCommand({ Bucket: 'test-bucket', Key: 'sdk/linked' }), { expiresIn: 60 })
      const curl = toolAt('curl', 'a presigned URL was got by fetch')
      expect(curl === undefined ? await (await fetch(link)).text() : (await runWell('curl', ['-sS', '--fail', link])).stdout).toBe('by a link')
    })
  })

  describe('two nodes at once', () => {
    test('of two that create one key exactly one wins, and both nodes agree who', async () => {
      const once = [0, 1].map((node) => new S3Client({ endpoint: endpoint(node), region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId: key.id, secretAccessKey: key.secret } }))
      for (let i = 0; i < 20; i++) {
        const name = { Bucket: 'test-bucket', Key: `raced/${i}` }
        const found = async (node: number): Promise<string | undefined> => (await client(node).send(new GetObjectCommand(name))).Body?.transformToString()
        const won = await Promise.all(once.map(async (one, node) => hasWon(async () => one.send(new PutObjectCommand({ ...name, Body: `node ${node}`, IfNoneMatch: '*' })), async () => await found(node) === `node ${node}`)))
        const winner = won[0] === true ? 'node 0' : 'node 1'
        expect([won, await found(0), await found(1)]).toEqual([[winner === 'node 0', winner === 'node 1'], winner, winner])
      }
    })

    test('an upload takes parts through both, and is put together at either', async () => {
      const name = { Bucket: 'test-bucket', Key: 'two-doors' }
      const { UploadId } = await client(0).send(new CreateMultipartUploadCommand(name))
      const [first, second] = [big.subarray(0, 6_000_000), big.subarray(6_000_000)]
      const [one, two] = await Promise.all([client(1).send(new UploadPartCommand({ ...name, UploadId, PartNumber: 1, Body: first })), client(0).send(new UploadPartCommand({ ...name, UploadId, PartNumber: 2, Body: second }))])
      await client(1).send(new CompleteMultipartUploadCommand({ ...name, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: one.ETag }, { PartNumber: 2, ETag: two.ETag }] } }))
      const part = await client(0).send(new GetObjectCommand({ ...name, PartNumber: 2 }))
      expect([part.PartsCount, digestOfBytes(await part.Body?.transformToByteArray() ?? new Uint8Array(0))]).toEqual([2, digestOfBytes(second)])
    })

    test('a key that is removed at one is refused at the other within five seconds', async () => {
      const [guest] = await living[0].json<SecretAccessKey>(['key', 'create', 'guest', '--bucket', 'test-bucket', '--rights', 'list'])
      const asGuest = new S3Client({ endpoint: endpoint(1), region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId: guest?.id ?? '', secretAccessKey: guest?.secret ?? '' } })
      const list = async (): Promise<string> => asGuest.send(new ListObjectsV2Command({ Bucket: 'test-bucket' })).then(() => 'listed', (error: Error) => error.name)
      expect(await list()).toBe('listed')
      await living[0].json(['key', 'rm', guest?.id ?? ''])
      await expect.poll(list, { timeout: 10_000, interval: 200 }).toBe('InvalidAccessKeyId')
    })
  })

  test('minio puts, gets a part and lists', async () => {
    const minio = (node: number): Minio => new Minio({ endPoint: '127.0.0.1', port: Number(new URL(endpoint(node)).port), useSSL: false, accessKey: key.id, secretKey: key.secret })
    await minio(0).makeBucket('minio-bucket')
    await minio(0).putObject('minio-bucket', 'x', Buffer.from('from minio'))
    const text = async (stream: AsyncIterable<Buffer>): Promise<string> => Buffer.concat(await gathered(stream)).toString()
    expect(await text(await minio(1).getObject('minio-bucket', 'x'))).toBe('from minio')
    expect(await text(await minio(1).getPartialObject('minio-bucket', 'x', 5, 5))).toBe('minio')
    expect((await gathered(minio(1).listObjectsV2('minio-bucket', '', true) as AsyncIterable<{ name: string }>)).map(({ name }) => name)).toEqual(['x'])
  })

  test.skipIf(ffmpeg === undefined)('ffmpeg seeks in a video by ranges', async () => {
    await runWell('ffmpeg', ['-loglevel', 'error', '-f', 'lavfi', '-i', 'testsrc2=duration=20:size=640x360:rate=25', '-c:v', 'mpeg4', '-q:v', '2', '-g', '25', at('film.mp4')])
    const film = await readFile(at('film.mp4'))
    await client(0).send(new PutObjectCommand({ Bucket: 'test-bucket', Key: 'film.mp4', Body: film, ContentType: 'video/mp4' }))
    const link = await getSignedUrl(client(1), new GetObjectCommand({ Bucket: 'test-bucket', Key: 'film.mp4' }), { expiresIn: 60 })
    const { stdout } = await runWell('ffprobe', ['-loglevel', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', link])
    expect(Number(stdout)).toBeCloseTo(20, 0)
    const before = living[1].log.length
    await runWell('ffmpeg', ['-loglevel', 'error', '-ss', '15', '-i', link, '-frames:v', '1', '-f', 'null', '-'])
    expect(living[1].log.slice(before)).toContain('"status":206')
  })
})

async function * pieces (bytes: Buffer): AsyncIterable<Buffer> {
  for (let from = 0; from < bytes.byteLength; from += 100_000) yield bytes.subarray(from, from + 100_000)
}

async function gathered<T> (items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
