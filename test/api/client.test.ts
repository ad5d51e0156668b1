import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proofOf } from '../../src/api/local/guard.ts'
import { Conflict, StoreFull } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { objectPath } from '../../src/client/index.ts'
import { clientOf, servedApi, type ServedApi } from '../support/local-api.ts'

const failure = async (act: Promise<unknown>): Promise<unknown> => act.then(() => undefined, (error: unknown) => error)

describe('a refusal has its reason', () => {
  let served: ServedApi
  beforeAll(async () => { served = await servedApi() })
  afterAll(async () => { await served[Symbol.asyncDispose]() })

  test('of a HEAD too, which has no body, whatever is in it', async () => {
    expect(await failure(served.client.head(objectPath('photos', 'ü\r\n💾"')))).toMatchObject({ status: 404, code: 'not-found', message: 'there is no object "ü\r\n💾"" in bucket "photos"' })
    expect(await failure(served.client.head(objectPath('no-bucket', 'x')))).toMatchObject({ status: 404, code: 'not-found', message: expect.stringContaining('no-bucket') as string })
    expect(await failure(served.client.head(objectPath('photos', 'k'.repeat(1025))))).toMatchObject({ status: 400, code: 'invalid', field: 'key' })
    const { head } = served.objects
    served.objects.head = async () => { throw new Conflict('é'.repeat(5000)) }
    expect(await failure(served.client.head(objectPath('photos', 'x')))).toMatchObject({ status: 409, message: 'é'.repeat(1000) })
    served.objects.head = head
  })

  test('when a disk is full: 507 and the code "full", which is exit code 7', async () => {
    served.world.failure = new StoreFull('the disks of 2 nodes are full')
    const error = await failure(served.client.upload(objectPath('photos', 'big'), Readable.from([new Uint8Array(100)])))
    served.world.failure = undefined
    expect(error).toMatchObject({ status: 507, code: 'full', message: 'the disks of 2 nodes are full' })
  })
})

test('a node that closes over an unread body is still heard: the write fails before the reason is read, and waits for it', async () => {
  const token = systemRandom.bytes(32)
  const reason = '{"error":{"code":"not-found","message":"there is no bucket"}}'
  const reset = Promise.withResolvers<void>()
  const server = createServer((socket) => {
    socket.once('data', (head: Buffer) => {
      const challenge = /challenge=([0-9a-f]{64})/.exec(head.toString('latin1'))?.[1]
      const [status, body] = challenge === undefined ? ['404 Not Found', reason] : ['200 OK', JSON.stringify({ proof: proofOf(token, challenge), peerId: 'x' })]
      socket.write(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      if (challenge !== undefined) return
      socket.resetAndDestroy()
      reset.resolve()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { client, folder } = await clientOf({ port: (server.address() as AddressInfo).port, token })
  async function * body (): AsyncIterable<Uint8Array> {
    yield new Uint8Array(1000)
    // in the turn of the reset: the next write meets it before anything is read
    await reset.promise
    yield new Uint8Array(1000)
    await new Promise(() => {})
  }
  expect(await failure(client.upload(objectPath('b', 'k'), body()))).toMatchObject({ status: 404, message: 'there is no bucket' })
  server.close()
  await folder[Symbol.asyncDispose]()
})
