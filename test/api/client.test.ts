import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proofOf } from '../../src/api/local/guard.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Conflict, StoreFull } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { errorNameOf } from '../../src/cli/exit-codes.ts'
import { connectLocal, objectPath } from '../../src/client/index.ts'
import { clientOf, servedApi, type ServedApi } from '../support/local-api.ts'
import { temporaryFolder } from '../support/temporary.ts'

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

describe('a port that another program has since the node died', () => {
  const answers = {
    'a page': 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<html>hi</html>', 'JSON of its own': 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull', 'that there is nothing': 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
    'another protocol': 'SSH-2.0-OpenSSH_9\r\n', 'nothing, and closes': '',
  }
  test.each(Object.entries(answers))('is told as that, if it answers %s', async (_, answer) => {
    await using folder = await temporaryFolder()
    const server = createServer((socket) => { socket.on('error', () => { /* told by the client */ }).once('data', () => { socket.end(answer) }) }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await writeFile(join(folder.path, 'api.json'), JSON.stringify({ port, token: 'ab'.repeat(32) }))
    const error = await failure(connectLocal(folder.path))
    server.close()
    expect(error).toMatchObject({ name: 'NoRunningNode', message: expect.stringContaining(`another program answers at port ${port}`) as string })
    expect(errorNameOf(error)).toBe('no-node')
  })

  test('is told as a node that does not answer, if it says nothing', async () => {
    await using folder = await temporaryFolder()
    const server = createServer(() => {}).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await writeFile(join(folder.path, 'api.json'), JSON.stringify({ port: (server.address() as AddressInfo).port, token: 'ab'.repeat(32) }))
    const error = await failure(connectLocal(folder.path, { clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 100, after: (durationMs, action) => systemClock.after(durationMs / 100, action) } }))
    server.close()
    expect(error).toMatchObject({ name: 'Unreachable', message: expect.stringContaining('does not answer') as string })
    expect(errorNameOf(error)).toBe('unavailable')
  })

  test.each(['', '{', 'null', '[]', '{"port":70000,"token":"abab"}', '{"port":"4200","token":"abab"}', '{"port":4200,"token":"none"}'])('is not looked for where api.json is damaged (%s)', async (text) => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'api.json'), text)
    expect(await failure(connectLocal(folder.path))).toMatchObject({ name: 'NoRunningNode', message: expect.stringContaining('is damaged') as string })
  })
})

test('a node that dies before it has answered leaves unknown whether a write happened, and of a read says nothing: both were told as unexpected', async () => {
  const token = systemRandom.bytes(32)
  const server = createServer((socket) => {
    socket.on('error', () => { /* told by the client */ }).once('data', (head: Buffer) => {
      const challenge = /challenge=([0-9a-f]{64})/.exec(head.toString('latin1'))?.[1]
      if (challenge === undefined) { socket.resetAndDestroy(); return }
      const body = JSON.stringify({ proof: proofOf(token, challenge), peerId: 'x' })
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { client, folder } = await clientOf({ port: (server.address() as AddressInfo).port, token })
  await using _folder = folder
  const put = await failure(client.upload(objectPath('b', 'k'), Readable.from([new Uint8Array(10)])))
  const [made, read, got] = [await failure(client.json('POST', '/v1/keys', { body: {} })), await failure(client.json('GET', '/v1/status')), await failure(client.download(objectPath('b', 'k')))]
  expect([put, made, read, got].map(errorNameOf)).toEqual(['unknown', 'unknown', 'unavailable', 'unavailable'])
  const failing = Readable.from((async function * () { yield new Uint8Array(10); throw Object.assign(new Error('the disk'), { code: 'EIO' }) })())
  expect(await failure(client.upload(objectPath('b', 'k'), failing))).toMatchObject({ message: 'the disk' })
  server.close()
})
