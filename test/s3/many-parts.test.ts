import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Objects } from '../../src/objects/index.ts'
import { askS3, type S3Answer } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'
import { bytesOf, target, uploadWorld } from '../support/upload-nodes.ts'

const count = 10_000
const texts = Array.from({ length: count }, (_, i) => String(i + 1).padStart(10, '0'))
const sumOf = (text: string): string => createHash('sha256').update(text).digest('base64')
let objects: Objects
let server: S3Server

beforeAll(async () => {
  objects = (await uploadWorld()).node()
  server = await s3Server({ objects })
})
afterAll(async () => { await server[Symbol.asyncDispose]() })

test('10,000 parts with their checksums are listed in pages, completed, and got by their numbers', async () => {
  const { port, key } = server
  const { uploadId } = await objects.uploads.create(target, { wantsMd5: true, checksum: { algorithm: 'sha256', type: 'COMPOSITE' } })
  const etags: string[] = []
  for (let at = 0; at < count; at += 500) {
    etags.push(...await Promise.all(texts.slice(at, at + 500).map(async (text, i) => (await objects.uploads.putPart(target, uploadId, at + i + 1, bytesOf(text))).etag)))
  }
  const path = `/${target.bucket}/${target.key}?uploadId=${uploadId}`
  const ask = (method: string, of: string, body?: string): Promise<S3Answer> => askS3(port, method, of, { key, ...body === undefined ? {} : { body } })
  const listed: number[] = []
  for (let marker = '0', isMore = true; isMore;) {
    const { status, body } = await ask('GET', `${path}&part-number-marker=${marker}`)
    expect(status).toBe(200)
    const numbers = [...body.matchAll(/<PartNumber>(\d+)</g)].map(([, number]) => Number(number))
    expect(numbers.length).toBeLessThanOrEqual(1000)
    listed.push(...numbers)
    isMore = body.includes('<IsTruncated>true<')
    marker = /<NextPartNumberMarker>(\d+)</.exec(body)?.[1] ?? ''
  }
  expect(listed).toEqual(texts.map(Number))
  const completion = `<CompleteMultipartUpload>${etags.map((etag, i) => `<Part><ETag>"${etag}"</ETag><PartNumber>${i + 1}</PartNumber><ChecksumSHA256>${sumOf(texts[i] ?? '')}</ChecksumSHA256></Part>`).join('')}</CompleteMultipartUpload>`
  const completed = await ask('POST', path, completion)
  expect(completed.status, completed.body.slice(0, 500)).toBe(200)
  expect(completed.body).toContain('-10000')
  expect(await ask('GET', `/${target.bucket}/${target.key}?partNumber=9999`)).toMatchObject({ status: 206, body: texts[9998], headers: { 'x-amz-mp-parts-count': '10000' } })
  expect((await ask('GET', `/${target.bucket}/${target.key}`)).body).toBe(texts.join(''))
}, 60_000)
