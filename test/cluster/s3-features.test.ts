import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteObjectCommand, GetBucketLifecycleConfigurationCommand, GetObjectCommand, GetObjectRetentionCommand, GetObjectTaggingCommand, HeadObjectCommand, ListObjectVersionsCommand,
  PutBucketCorsCommand, PutBucketLifecycleConfigurationCommand, PutBucketPolicyCommand, PutBucketVersioningCommand, PutBucketWebsiteCommand, PutObjectCommand, PutObjectLegalHoldCommand, PutObjectRetentionCommand, S3Client, UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LocalNode, until } from '../../scripts/local-cluster.ts'
import { connect } from '../../src/client/index.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { type RealCluster, realCluster } from '../support/real-cluster.ts'
import { hasWon, sendS3 } from '../support/s3-client.ts'

/**
 * What buckets and versions can do, on three nodes of which one is dead, the last or the founder: set and written through one of the living, and looked at through the other, at
 * once. The second of them speaks TLS.
 */
const tls = (name: string): string => join(import.meta.dirname, '../support/tls', name)
let real: RealCluster
let living: readonly [LocalNode, LocalNode]
let key: SecretAccessKey
let clients: readonly S3Client[]
const node = (which: number): LocalNode => living[which] as LocalNode
const clientOf = (which: number, { id, secret }: SecretAccessKey = key): S3Client =>
  new S3Client({ endpoint: node(which).ready?.endpoints.s3 ?? '', region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId: id, secretAccessKey: secret }, requestHandler: { httpsAgent: { ca: readFileSync(tls('first.crt')) } } })
const at = (which: number): S3Client => clients[which] as S3Client
const codeOf = async (asked: Promise<unknown>): Promise<string> => asked.then(() => 'none', (error: unknown) => error instanceof Error ? error.name : String(error))
const textAt = async (which: number, bucket: string, name: string, VersionId?: string): Promise<string> => (await at(which).send(new GetObjectCommand({ Bucket: bucket, Key: name, VersionId }))).Body?.transformToString() ?? ''
/** The website of the bucket "site", at the host of its own that it has on this machine. */
const siteAt = async (path: string): Promise<{ status: number, body: string }> => {
  const port = Number(new URL(node(0).ready?.endpoints.http ?? '').port)
  return sendS3(port, 'GET', path, { headers: { host: `site.localhost:${port}` } })
}

describe.each([[3, 1, 2], [1, 2, 3]])('three nodes, number %d of them dead', (dead, first, second) => {
  beforeAll(async () => {
    real = await realCluster(3, { options: (i) => ['--s3-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--rpc-listen', '127.0.0.1:0', ...(i === second - 1 ? ['--tls-cert', tls('first.crt'), '--tls-key', tls('first.key')] : [])] })
    await real.node(dead - 1).stop('SIGKILL')
    living = [real.node(first - 1), real.node(second - 1)]
    ;[key] = await node(0).json<SecretAccessKey>(['key', 'create', 'features']) as [SecretAccessKey]
    clients = [clientOf(0), clientOf(1)]
    expect(node(1).ready?.endpoints.s3).toMatch(/^https:/)
  }, 120_000)
  afterAll(async () => { await real?.[Symbol.asyncDispose]() })

  test('keep versions: an older one is got and restored, a marker hides and is taken away', async () => {
    await at(0).send(new CreateBucketCommand({ Bucket: 'versions' }))
    await at(1).send(new PutBucketVersioningCommand({ Bucket: 'versions', VersioningConfiguration: { Status: 'Enabled' } }))
    const { VersionId: first } = await at(0).send(new PutObjectCommand({ Bucket: 'versions', Key: 'k', Body: 'first', Tagging: 'colour=red' }))
    await at(1).send(new PutObjectCommand({ Bucket: 'versions', Key: 'k', Body: 'second' }))
    expect([await textAt(0, 'versions', 'k'), await textAt(0, 'versions', 'k', first)]).toEqual(['second', 'first'])
    expect((await at(1).send(new GetObjectTaggingCommand({ Bucket: 'versions', Key: 'k', VersionId: first }))).TagSet).toEqual([{ Key: 'colour', Value: 'red' }])
    const { VersionId: marker } = await at(0).send(new DeleteObjectCommand({ Bucket: 'versions', Key: 'k' }))
    expect(await codeOf(textAt(1, 'versions', 'k'))).toBe('NoSuchKey')
    const { Versions = [], DeleteMarkers = [] } = await at(1).send(new ListObjectVersionsCommand({ Bucket: 'versions' }))
    expect([Versions.length, DeleteMarkers.map(({ VersionId }) => VersionId)]).toEqual([2, [marker]])
    await at(1).send(new DeleteObjectCommand({ Bucket: 'versions', Key: 'k', VersionId: marker }))
    expect(await textAt(0, 'versions', 'k')).toBe('second')
    await at(0).send(new CopyObjectCommand({ Bucket: 'versions', Key: 'k', CopySource: `versions/k?versionId=${first ?? ''}` }))
    expect(await textAt(1, 'versions', 'k')).toBe('first')
  })

  test('lock versions: by retention and by hold, through whichever node it is tried', async () => {
    await at(0).send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true }))
    const { VersionId } = await at(0).send(new PutObjectCommand({ Bucket: 'locked', Key: 'k', Body: 'kept' }))
    const version = { Bucket: 'locked', Key: 'k', VersionId }
    const RetainUntilDate = new Date(Date.now() + 3_600_000)
    await at(1).send(new PutObjectRetentionCommand({ ...version, Retention: { Mode: 'COMPLIANCE', RetainUntilDate } }))
    expect((await at(0).send(new GetObjectRetentionCommand(version))).Retention?.Mode).toBe('COMPLIANCE')
    expect(await codeOf(at(0).send(new DeleteObjectCommand({ ...version, BypassGovernanceRetention: true })))).toBe('AccessDenied')
    const { VersionId: held } = await at(1).send(new PutObjectCommand({ Bucket: 'locked', Key: 'k', Body: 'held' }))
    await at(1).send(new PutObjectLegalHoldCommand({ ...version, VersionId: held, LegalHold: { Status: 'ON' } }))
    expect(await codeOf(at(0).send(new DeleteObjectCommand({ ...version, VersionId: held })))).toBe('AccessDenied')
    expect(await textAt(0, 'locked', 'k', held)).toBe('held')
  })

  test('have exactly one winner of conditions on puts, copies, completions and deletions, tried through both at once until it is decided', async () => {
    for (const Bucket of ['conditions', 'marked']) await at(0).send(new CreateBucketCommand({ Bucket }))
    await at(0).send(new PutBucketVersioningCommand({ Bucket: 'marked', VersioningConfiguration: { Status: 'Enabled' } }))
    for (let i = 0; i < 10; i++) {
      const place = { Bucket: 'conditions', Key: `k${i}` }
      const { ETag } = await at(0).send(new PutObjectCommand({ ...place, Body: `before ${i}` }))
      const race = async (what: string, Key: string, write: (client: S3Client, which: number) => Promise<unknown>): Promise<void> => {
        const by = async (which: number): Promise<string | undefined> => (await at(which).send(new HeadObjectCommand({ ...place, Key }))).Metadata?.by
        const won = await Promise.all([0, 1].map(async (which) => hasWon(async () => write(at(which), which), async () => await by(which) === String(which))))
        // who has won is who both nodes say that it is
        expect([what, i, won, await by(0), await by(1)]).toEqual([what, i, [won[0], !won[0]], won[0] ? '0' : '1', won[0] ? '0' : '1'])
      }
      await race('put', place.Key, async (client, which) => client.send(new PutObjectCommand({ ...place, Body: `by ${which}`, Metadata: { by: String(which) }, IfMatch: ETag })))
      await race('copy', `copy${i}`, async (client, which) => client.send(new CopyObjectCommand({ ...place, Key: `copy${i}`, CopySource: `conditions/k${i}`, MetadataDirective: 'REPLACE', Metadata: { by: String(which) }, IfNoneMatch: '*' } as ConstructorParameters<typeof CopyObjectCommand>[0])))
      const uploads = await Promise.all([0, 1].map(async (which) => {
        const upload = { ...place, Key: `made${i}`, UploadId: (await at(which).send(new CreateMultipartUploadCommand({ ...place, Key: `made${i}`, Metadata: { by: String(which) } }))).UploadId }
        const { ETag: part } = await at(1 - which).send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: `by ${which}` }))
        return { ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part }] }, IfNoneMatch: '*' }
      }))
      await race('complete', `made${i}`, async (client, which) => client.send(new CompleteMultipartUploadCommand(uploads[which] as typeof uploads[0])))
      // of deletions the markers tell
      const marked = { Bucket: 'marked', Key: `k${i}` }
      const { ETag: kept } = await at(i % 2).send(new PutObjectCommand({ ...marked, Body: 'x' }))
      const markers: Array<string | undefined> = []
      const markersAt = async (which: number): Promise<Array<string | undefined>> => ((await at(which).send(new ListObjectVersionsCommand({ Bucket: 'marked', Prefix: `${marked.Key}` }))).DeleteMarkers ?? []).filter(({ Key }) => Key === marked.Key).map(({ VersionId }) => VersionId)
      const told = await Promise.all([0, 1].map(async (which) => hasWon(async () => { markers.push((await at(which).send(new DeleteObjectCommand({ ...marked, IfMatch: kept }))).VersionId) }, async () => undefined)))
      const [here, there] = [await markersAt(0), await markersAt(1)]
      expect(['delete', i, here.length, here]).toEqual(['delete', i, 1, there])
      expect(markers).toEqual(told.includes(undefined) ? markers.length === 0 ? [] : here : here)
      expect(told.filter((won) => won === true)).toHaveLength(markers.length)
    }
    expect(await codeOf(at(1).send(new PutObjectCommand({ Bucket: 'conditions', Key: 'copy0', Body: 'x', IfNoneMatch: '*' })))).toBe('PreconditionFailed')
  }, 120_000)

  test('go by lifecycle rules, policies, CORS and quotas that were set through the other', async () => {
    await at(0).send(new CreateBucketCommand({ Bucket: 'ruled' }))
    await at(0).send(new PutBucketLifecycleConfigurationCommand({ Bucket: 'ruled', LifecycleConfiguration: { Rules: [{ ID: 'a', Status: 'Enabled', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 3 } }] } }))
    expect((await at(1).send(new GetBucketLifecycleConfigurationCommand({ Bucket: 'ruled' }))).Rules?.[0]?.Expiration?.Days).toBe(3)
    const [narrow] = await node(1).json<SecretAccessKey>(['key', 'create', 'narrow', '--bucket', 'ruled', '--prefix', 'mine/']) as [SecretAccessKey]
    const theirs = clientOf(0, narrow)
    await theirs.send(new PutObjectCommand({ Bucket: 'ruled', Key: 'mine/a', Body: 'x' }))
    expect(await codeOf(theirs.send(new PutObjectCommand({ Bucket: 'ruled', Key: 'others/a', Body: 'x' })))).toBe('AccessDenied')
    await at(1).send(new PutBucketPolicyCommand({ Bucket: 'ruled', Policy: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:DeleteObject', Resource: 'arn:aws:s3:::ruled/*' }] }) }))
    await until('the policy is gone by at the other node', 10_000, async () => await codeOf(theirs.send(new DeleteObjectCommand({ Bucket: 'ruled', Key: 'mine/a' }))) === 'AccessDenied')
    await at(1).send(new PutBucketCorsCommand({ Bucket: 'ruled', CORSConfiguration: { CORSRules: [{ AllowedOrigins: ['https://page.example'], AllowedMethods: ['GET'] }] } }))
    const preflight = { method: 'OPTIONS', headers: { origin: 'https://page.example', 'access-control-request-method': 'GET' } }
    await until('the page is allowed at the other node', 10_000, async () => (await fetch(`${node(0).ready?.endpoints.s3 ?? ''}/ruled/mine/a`, preflight)).headers.get('access-control-allow-origin') === 'https://page.example')
    await node(0).json(['bucket', 'set', 'ruled', '--quota', '100KiB'])
    await until('the quota is gone by at the other node', 30_000, async () => await codeOf(at(1).send(new PutObjectCommand({ Bucket: 'ruled', Key: 'large', Body: Buffer.alloc(200_000) }))) === 'QuotaExceeded')
  })

  test('serve a bucket that all may read as a website, and take what the client for TypeScript puts', async () => {
    await node(0).json(['bucket', 'create', 'site'])
    await node(0).json(['bucket', 'set', 'site', '--public', 'yes'])
    await at(1).send(new PutBucketWebsiteCommand({ Bucket: 'site', WebsiteConfiguration: { IndexDocument: { Suffix: 'index.html' }, ErrorDocument: { Key: 'lost.html' } } }))
    await at(1).send(new PutObjectCommand({ Bucket: 'site', Key: 'index.html', Body: '<p>home', ContentType: 'text/html' }))
    await at(1).send(new PutObjectCommand({ Bucket: 'site', Key: 'lost.html', Body: '<p>lost', ContentType: 'text/html' }))
    await until('the index is shown', 10_000, async () => (await siteAt('/')).body === '<p>home')
    expect(await siteAt('/nowhere')).toMatchObject({ status: 404, body: '<p>lost' })
    using client = await connect({ url: node(0).ready?.endpoints.rpc ?? '', accessKey: key })
    await client.put({ bucket: 'site', key: 'by-client' }, 'a text')
    expect(await textAt(1, 'site', 'by-client')).toBe('a text')
  })
})
