import { createHash } from 'node:crypto'
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, GetObjectCommand, ListMultipartUploadsCommand, ListPartsCommand, S3Client, type S3ServiceException, UploadPartCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName as Bucket, digestOfBytes, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** Uploads in parts over three real nodes, through a client of S3 at each; one node dies on the way. */

const mib = 1024 ** 2
let real: RealCluster
let clients: S3Client[]

beforeAll(async () => {
  real = await realCluster(3, { options: () => ['--s3-listen', '127.0.0.1:0'] })
  const [key] = await real.node(0).json<SecretAccessKey>(['key', 'create', 'uploader', '--bucket', Bucket]) as [SecretAccessKey]
  clients = [0, 1, 2].map((index) => new S3Client({
    endpoint: real.node(index).ready?.endpoints.s3 ?? '', region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
  }))
}, 120_000)
afterAll(async () => {
  for (const client of clients ?? []) client.destroy()
  await real?.[Symbol.asyncDispose]()
})

const via = (index: number): S3Client => clients[index] as S3Client

async function begin (Key: string, index = 0): Promise<{ Bucket: string, Key: string, UploadId: string }> {
  const { UploadId = '' } = await via(index).send(new CreateMultipartUploadCommand({ Bucket, Key }))
  return { Bucket, Key, UploadId }
}

async function putPart (of: Awaited<ReturnType<typeof begin>>, PartNumber: number, Body: Uint8Array, index: number): Promise<{ PartNumber: number, ETag: string | undefined, ChecksumCRC32: string | undefined }> {
  const { ETag, ChecksumCRC32 } = await via(index).send(new UploadPartCommand({ ...of, PartNumber, Body }))
  return { PartNumber, ETag, ChecksumCRC32 }
}

const complete = async (of: Awaited<ReturnType<typeof begin>>, Parts: ReadonlyArray<Awaited<ReturnType<typeof putPart>>>, index: number) => via(index).send(new CompleteMultipartUploadCommand({ ...of, MultipartUpload: { Parts: [...Parts] } }))

async function get (Key: string, index: number, more: { PartNumber?: number } = {}): Promise<Uint8Array> {
  return await (await via(index).send(new GetObjectCommand({ Bucket, Key, ...more }))).Body?.transformToByteArray() ?? new Uint8Array(0)
}

const md5 = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest()

describe('an upload in parts over three real nodes', () => {
  test('of a complete and an abort at two nodes at once exactly one succeeds, every time', async () => {
    const ends = await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const upload = await begin(`race/${i}`, i % 3)
      const body = noiseBytes(100_000, 100 + i)
      const parts = [await putPart(upload, 1, body, (i + 1) % 3)]
      const [completed, aborted] = await Promise.allSettled([complete(upload, parts, i % 3), via((i + 1) % 3).send(new AbortMultipartUploadCommand(upload))])
      const found = await get(upload.Key, (i + 2) % 3).catch((error: unknown) => { if ((error as Error).name === 'NoSuchKey') return undefined; throw error })
      const digest = found === undefined ? undefined : digestOfBytes(found)
      expect(completed.status === 'fulfilled' && aborted.status === 'fulfilled').toBe(false)
      if (completed.status === 'fulfilled') expect(digest).toBe(digestOfBytes(body))
      if (aborted.status === 'fulfilled') expect(digest).toBeUndefined()
      const refused = [completed, aborted].filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason as S3ServiceException)
      // of a race for the row somebody may be told that it is undecided, even who has won
      if (refused.every(({ $metadata }) => ($metadata.httpStatusCode ?? 0) < 500)) expect(refused.map(({ name }) => name)).toEqual(['NoSuchUpload'])
      return completed.status
    }))
    expect(ends).toHaveLength(12)
    expect((await via(0).send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).toEqual([])
  }, 60_000)

  test('whose parts come through all of them at once is completed when one of those is dead, and read at the other', async () => {
    const upload = await begin('large')
    const bodies = Array.from({ length: 7 }, (_, i) => noiseBytes(i < 6 ? 5 * mib : mib + 17, i + 1))
    const parts = await Promise.all(bodies.map(async (body, i) => putPart(upload, i + 1, body, i % 3)))
    // the last put of a number counts, wherever it came in
    const again = noiseBytes(5 * mib, 50)
    parts[2] = await putPart(upload, 3, again, 1)
    bodies[2] = again
    await real.node(2).stop('SIGKILL')
    const listed = await via(0).send(new ListPartsCommand(upload))
    expect(listed.Parts?.map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag])).toEqual(bodies.map((body, i) => [i + 1, body.byteLength, parts[i]?.ETag]))
    const { ETag } = await complete(upload, parts, 1)
    expect(ETag).toBe(`"${md5(concat(bodies.map(md5))).toString('hex')}-7"`)
    expect(digestOfBytes(await get('large', 0))).toBe(digestOfBytes(concat(bodies)))
    expect(digestOfBytes(await get('large', 1, { PartNumber: 3 }))).toBe(digestOfBytes(again))
    // a client whose answer was lost asks another node
    expect((await complete(upload, parts, 0)).ETag).toBe(ETag)
    expect((await via(0).send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).toEqual([])
  }, 90_000)
})
