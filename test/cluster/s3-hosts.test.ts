import { readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { LookupFunction } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { DeleteObjectsCommand, GetObjectCommand, HeadBucketCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { forwardProxy, type ForwardProxy } from '../support/forward-proxy.ts'
import { bucketName, digestOfBytes, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'
import { run, runWell, toolAt } from '../support/tools.ts'

/**
 * Buckets at hosts of their own (`BUCKET.s3.test`), and TLS, as people's clients have them, on three nodes of which one is dead: the first living one speaks plain HTTP, the
 * second TLS with a certificate that the clients are told to trust by their own means.
 */
const tls = (name: string): string => join(import.meta.dirname, '../support/tls', name)
const big = Buffer.from(noiseBytes(12_000_000, 5))
let real: RealCluster
let key: SecretAccessKey
let proxy: ForwardProxy
let at: (...path: string[]) => string

beforeAll(async () => {
  real = await realCluster(3, { options: (i) => ['--s3-listen', '127.0.0.1:0', '--public-hosts', 's3.test,*.s3.test', ...(i === 1 ? ['--tls-cert', tls('hosts.crt'), '--tls-key', tls('hosts.key')] : [])] })
  await real.node(2).stop('SIGKILL')
  ;[key] = await real.node(0).json<SecretAccessKey>(['key', 'create', 'hosts']) as [SecretAccessKey]
  proxy = await forwardProxy()
  at = (...path) => join(real.folder, 'clients', ...path)
  await mkdir(at('files', 'sub'), { recursive: true })
  for (const [name, bytes] of [['a b+&.txt', Buffer.from('odd name\n')], ['sub/b.bin', noiseBytes(300_000, 6)], ['big.bin', big]] as const) await writeFile(at('files', name), bytes)
}, 120_000)
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await real?.[Symbol.asyncDispose]()
})

const portOf = (node: number): string => new URL(real.node(node).ready?.endpoints.s3 ?? '').port
/** Where no bucket is in the host, and buckets are below. */
const hostedAt = (node: number): string => `${node === 0 ? 'http' : 'https'}://s3.test:${portOf(node)}`
const addressOf = (node: number): string => `${node === 0 ? 'http' : 'https'}://127.0.0.1:${portOf(node)}`
const credentials = (): Record<string, string> => ({ HOME: at('home'), AWS_ACCESS_KEY_ID: key.id, AWS_SECRET_ACCESS_KEY: key.secret, AWS_DEFAULT_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true', AWS_MAX_ATTEMPTS: '1' })
const throughProxy = (): Record<string, string> => ({ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url, http_proxy: proxy.url, https_proxy: proxy.url })
const sameFiles = async (folder: string): Promise<void> => {
  expect(await filesIn(folder)).toEqual(await filesIn(at('files')))
  expect(digestOfBytes(await readFile(join(folder, 'big.bin')))).toBe(digestOfBytes(big))
}

describe.each([['http', 0, 1], ['https', 1, 0]] as const)('a bucket at a host of its own, by %s', (protocol, here, there) => {
  const bucket = `hosted-${protocol}`
  const hosted = (name: string): string => `${bucket}.${name}:${portOf(here)}`

  test.each(['s3.test', 'localhost'])('the AWS SDK for JavaScript puts, gets, lists, presigns and removes at BUCKET.%s', async (name) => {
    const lookup: LookupFunction = (_name, { all }, told) => { if (all === true) told(null, [{ address: '127.0.0.1', family: 4 }]); else told(null, '127.0.0.1', 4) }
    const agent = { lookup, ...(protocol === 'https' ? { ca: readFileSync(tls('hosts.crt')), ...(name === 'localhost' ? { servername: name } : {}) } : {}) }
    const hosts: string[] = []
    // for a body that it wants to be asked for (100-continue) it makes an agent of its own, which knows nothing of this one's names and certificates
    const client = new S3Client({ endpoint: `${protocol}://${name}:${portOf(here)}`, region: 'us-east-1', maxAttempts: 1, expectContinueHeader: false, credentials: { accessKeyId: key.id, secretAccessKey: key.secret }, requestHandler: { httpAgent: agent, httpsAgent: agent } })
    client.middlewareStack.add((next) => async (sent) => { hosts.push((sent.request as { hostname: string }).hostname); return next(sent) }, { step: 'finalizeRequest' })
    const other = new S3Client({ endpoint: addressOf(there), region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId: key.id, secretAccessKey: key.secret }, requestHandler: { httpsAgent: { ca: readFileSync(tls('hosts.crt')) } } })
    const Bucket = bucketName
    await client.send(new HeadBucketCommand({ Bucket }))
    await client.send(new PutObjectCommand({ Bucket, Key: `${protocol}/a b+&=.txt`, Body: 'at a host' }))
    await new Upload({ client, params: { Bucket, Key: `${protocol}/parts`, Body: Readable.from([big]) }, partSize: 5 * 1024 ** 2 }).done()
    expect(await (await other.send(new GetObjectCommand({ Bucket, Key: `${protocol}/a b+&=.txt` }))).Body?.transformToString()).toBe('at a host')
    expect(digestOfBytes(await (await client.send(new GetObjectCommand({ Bucket, Key: `${protocol}/parts` }))).Body?.transformToByteArray() ?? new Uint8Array(0))).toBe(digestOfBytes(big))
    expect((await client.send(new ListObjectsV2Command({ Bucket, Prefix: `${protocol}/` }))).Contents?.map(({ Key }) => Key)).toEqual([`${protocol}/a b+&=.txt`, `${protocol}/parts`])
    const link = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: `${protocol}/a b+&=.txt` }), { expiresIn: 60 })
    expect(new URL(link).hostname).toBe(`${Bucket}.${name}`)
    if (toolAt('curl', 'no presigned URL was got from a host of its own') !== undefined) expect((await runWell('curl', ['-sS', '--fail', '--cacert', tls('hosts.crt'), '--connect-to', `${Bucket}.${name}::127.0.0.1:`, ...(name === 'localhost' ? ['--insecure'] : []), link])).stdout).toBe('at a host')
    const { Deleted: deleted } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: `${protocol}/a b+&=.txt` }, { Key: `${protocol}/parts` }] } }))
    expect(deleted).toHaveLength(2)
    expect(new Set(hosts)).toEqual(new Set([`${Bucket}.${name}`]))
  })

  const s3cmd = toolAt('s3cmd', 'it was not tried with buckets in hosts')
  test.skipIf(s3cmd === undefined)('s3cmd makes it, puts, lists, gets and removes', async () => {
    const [, proxyHost = '', proxyPort = ''] = /\/\/(.*):(.*)$/.exec(proxy.url) ?? []
    await writeFile(at(`s3cfg-${protocol}`), `[default]\naccess_key = ${key.id}\nsecret_key = ${key.secret}\nhost_base = s3.test:${portOf(here)}\nhost_bucket = %(bucket)s.s3.test:${portOf(here)}\nuse_https = ${protocol === 'https' ? 'True' : 'False'}\nca_certs_file = ${tls('hosts.crt')}\nproxy_host = ${proxyHost}\nproxy_port = ${proxyPort}\n`)
    const go = async (...args: string[]): Promise<string> => (await runWell('s3cmd', ['-c', at(`s3cfg-${protocol}`), ...args], { env: { HOME: at('home') } })).output
    await go('mb', `s3://${bucket}`)
    await go('put', '--multipart-chunk-size-mb=5', at('files', 'big.bin'), at('files', 'a b+&.txt'), `s3://${bucket}/`)
    expect(await go('ls', `s3://${bucket}`)).toContain('a b+&.txt')
    await go('get', '--force', `s3://${bucket}/big.bin`, at(`s3cmd-${protocol}`))
    expect(digestOfBytes(await readFile(at(`s3cmd-${protocol}`)))).toBe(digestOfBytes(big))
    await go('del', `s3://${bucket}/big.bin`, `s3://${bucket}/a b+&.txt`)
    await go('rb', `s3://${bucket}`)
    expect(proxy.asked.some((asked) => asked.endsWith(` ${hosted('s3.test')}`))).toBe(true)
  }, 120_000)

  const aws = toolAt('aws', 'it was not tried with buckets in hosts')
  test.skipIf(aws === undefined)('aws syncs there and back', async () => {
    await mkdir(at('home', '.aws'), { recursive: true })
    await writeFile(at('home', '.aws', 'config'), '[default]\ns3 =\n  addressing_style = virtual\n')
    const go = async (...args: string[]): Promise<string> => (await runWell('aws', ['--endpoint-url', hostedAt(here), '--ca-bundle', tls('hosts.crt'), 's3', ...args], { env: { ...credentials(), ...throughProxy() } })).stdout
    await go('mb', `s3://${bucket}-aws`)
    await go('sync', '--no-progress', at('files'), `s3://${bucket}-aws/deep`)
    await go('sync', '--no-progress', `s3://${bucket}-aws/deep`, at(`aws-${protocol}`))
    await sameFiles(at(`aws-${protocol}`))
    await go('rb', '--force', `s3://${bucket}-aws`)
    expect(proxy.asked.some((asked) => asked.endsWith(` ${bucket}-aws.s3.test:${portOf(here)}`))).toBe(true)
  }, 120_000)

  const rclone = toolAt('rclone', 'it was not tried with buckets in hosts')
  test.skipIf(rclone === undefined)('rclone copies there, checks and purges', async () => {
    const env = {
      ...throughProxy(), HOME: at('home'), RCLONE_CONFIG_D_TYPE: 's3', RCLONE_CONFIG_D_PROVIDER: 'Other', RCLONE_CONFIG_D_ACCESS_KEY_ID: key.id, RCLONE_CONFIG_D_SECRET_ACCESS_KEY: key.secret, RCLONE_CONFIG_D_ENDPOINT: hostedAt(here),
      RCLONE_CONFIG_D_REGION: 'us-east-1', RCLONE_CONFIG_D_FORCE_PATH_STYLE: 'false', RCLONE_CA_CERT: tls('hosts.crt'), RCLONE_RETRIES: '1', RCLONE_LOW_LEVEL_RETRIES: '1',
    }
    const go = async (...args: string[]): Promise<string> => (await runWell('rclone', args, { env })).stdout
    await go('copy', at('files'), `d:${bucket}-rclone`)
    await go('check', '--download', at('files'), `d:${bucket}-rclone`)
    await go('purge', `d:${bucket}-rclone`)
    expect(proxy.asked.some((asked) => asked.endsWith(` ${bucket}-rclone.s3.test:${portOf(here)}`))).toBe(true)
  })
})

describe('over TLS, with a certificate that they are told to trust,', () => {
  const aws = toolAt('aws', 'it was not tried over TLS')
  const debians = '/usr/bin/aws'
  const commands = [...new Set([aws, toolAt(debians, 'the one from Debian was not tried over TLS')].flatMap((found) => found ?? []))]
  test.skipIf(commands.length === 0).each(commands.length === 0 ? ['aws'] : commands)('%s puts in parts and gets', async (program) => {
    const name = `s3://${bucketName}/tls-${commands.indexOf(program)}.bin`
    const env = { ...credentials(), HOME: at('other-home'), AWS_CA_BUNDLE: tls('hosts.crt') }
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell(program, ['--endpoint-url', addressOf(node), 's3', ...args], { env })).stdout
    await go(1, 'cp', '--no-progress', at('files', 'big.bin'), name)
    await go(0, 'cp', '--no-progress', name, at('by-plain'))
    await go(1, 'cp', '--no-progress', name, at('by-tls'))
    for (const back of ['by-plain', 'by-tls']) expect(digestOfBytes(await readFile(at(back)))).toBe(digestOfBytes(big))
    // who is not told to trust it does not
    expect((await run(program, ['--endpoint-url', addressOf(1), 's3', 'ls'], { env: { ...env, AWS_CA_BUNDLE: '' } })).output).toMatch(/certificate/i)
    await go(1, 'rm', name)
  }, 120_000)

  const restic = toolAt('restic', 'it was not tried over TLS')
  test.skipIf(restic === undefined)('restic makes a repository, backs up, checks and restores', async () => {
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell('restic', ['--cacert', tls('hosts.crt'), '-r', `s3:${addressOf(node)}/restic-tls`, ...args], { cwd: real.folder, env: { ...credentials(), RESTIC_PASSWORD: 'x', RESTIC_CACHE_DIR: at('restic-cache') } })).output
    await go(1, 'init')
    await go(1, 'backup', 'clients/files')
    expect(await go(1, 'check', '--read-data')).toContain('no errors were found')
    await go(0, 'restore', 'latest', '--target', at('restored-0'))
    await go(1, 'restore', 'latest', '--target', at('restored-1'))
    for (const node of [0, 1]) await sameFiles(at(`restored-${node}`, 'clients', 'files'))
  }, 120_000)

  const rclone = toolAt('rclone', 'it was not tried over TLS')
  test.skipIf(rclone === undefined)('rclone copies in parts, checks and cats', async () => {
    const env = (node: number): Record<string, string> => ({
      HOME: at('home'), RCLONE_CONFIG_D_TYPE: 's3', RCLONE_CONFIG_D_PROVIDER: 'Other', RCLONE_CONFIG_D_ACCESS_KEY_ID: key.id, RCLONE_CONFIG_D_SECRET_ACCESS_KEY: key.secret, RCLONE_CONFIG_D_ENDPOINT: addressOf(node), RCLONE_CONFIG_D_REGION: 'us-east-1',
      RCLONE_CA_CERT: tls('hosts.crt'), RCLONE_S3_UPLOAD_CUTOFF: '5M', RCLONE_S3_CHUNK_SIZE: '5M', RCLONE_RETRIES: '1', RCLONE_LOW_LEVEL_RETRIES: '1',
    })
    const go = async (node: number, ...args: string[]): Promise<string> => (await runWell('rclone', args, { env: env(node) })).stdout
    await go(1, 'copy', at('files'), 'd:rclone-tls')
    for (const node of [0, 1]) await go(node, 'check', '--download', at('files'), 'd:rclone-tls')
    expect(await go(1, 'cat', 'd:rclone-tls/a b+&.txt')).toBe('odd name\n')
  })

  const s3cmd = toolAt('s3cmd', 'it was not tried over TLS')
  test.skipIf(s3cmd === undefined)('s3cmd puts and gets', async () => {
    await writeFile(at('s3cfg-tls'), `[default]\naccess_key = ${key.id}\nsecret_key = ${key.secret}\nhost_base = 127.0.0.1:${portOf(1)}\nhost_bucket = 127.0.0.1:${portOf(1)}\nuse_https = True\nca_certs_file = ${tls('hosts.crt')}\n`)
    const go = async (...args: string[]): Promise<string> => (await runWell('s3cmd', ['-c', at('s3cfg-tls'), ...args], { env: { HOME: at('home') } })).output
    await go('put', at('files', 'a b+&.txt'), `s3://${bucketName}/s3cmd-tls`)
    await go('get', '--force', `s3://${bucketName}/s3cmd-tls`, at('s3cmd-tls'))
    expect(await readFile(at('s3cmd-tls'), 'utf8')).toBe('odd name\n')
  })
})
