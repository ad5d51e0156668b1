import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ObjectService } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { windowLimits } from '../../src/api/rpc/windows.ts'
import { stopLimits } from '../../src/api/server/under-way.ts'
import { concat, hexOf } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { ObjectInfo, Objects } from '../../src/objects/index.ts'
import { hurriedClock, type ServedApi, servedApi } from '../support/local-api.ts'
import { collected, failureOf, protocols, rpcClient, type RpcClient } from '../support/rpc-client.ts'

const mebibyte = 1024 ** 2
const info: ObjectInfo = { bucket: 'photos', key: 'k', sizeBytes: 1, etag: 'e', versionId: 'v', modified: '2026-01-02T03:04:05.000Z', contentType: undefined, metadata: {}, isNullVersion: false, attributes: {} }

/** What a put had got when it ended, and how. */
interface Put { bytes: number, ended: 'stored' | 'broken' | 'under way', signal: AbortSignal | undefined }

describe.each(protocols)('streams over %s', (protocol) => {
  let served: ServedApi
  let client: RpcClient
  let puts: Put[]
  let stored: Uint8Array[]
  let produced: number
  let isReadingEnded: boolean

  beforeEach(async () => {
    served = await servedApi({}, { clock: hurriedClock })
    client = rpcClient(served.api, protocol)
    ;[puts, stored, produced, isReadingEnded] = [[], [], 0, false]
    served.objects.put = (async (_, source, { signal } = {}) => {
      const put: Put = { bytes: 0, ended: 'under way', signal }
      puts.push(put)
      try {
        const pieces: Uint8Array[] = []
        for await (const piece of source) { pieces.push(piece); put.bytes += piece.byteLength }
        stored.push(concat(pieces))
        put.ended = 'stored'
        return info
      } catch (error) {
        put.ended = 'broken'
        throw error
      }
    }) satisfies Objects['put']
  })
  afterEach(async () => {
    client[Symbol.dispose]()
    await served[Symbol.asyncDispose]()
  })

  function serveBytes (pieces: number, piece = new Uint8Array(mebibyte)): void {
    served.objects.get = async (_, { signal } = {}) => ({
      info, range: { first: 0, end: pieces * piece.byteLength }, sources: { local: 0, cache: 0, peers: new Map() },
      body: (async function * () {
        try {
          for (; produced < pieces; produced++) { signal?.throwIfAborted(); yield piece }
        } finally {
          isReadingEnded = true
        }
      })(),
    })
  }

  const head = { part: { case: 'head' as const, value: { bucket: 'photos', key: 'k' } } }
  const end = { part: { case: 'end' as const, value: {} } }
  const chunk = (bytes: number): { part: { case: 'chunk', value: Uint8Array<ArrayBuffer> } } => ({ part: { case: 'chunk', value: new Uint8Array(bytes) } })

  test('a long piece is sent in messages of at most 256 KiB', async () => {
    const piece = Uint8Array.from({ length: 2 * mebibyte + 3 }, (_, at) => at % 251)
    serveBytes(2, piece)
    const chunks = (await collected(client.of(ObjectService).getObject({ bucket: 'photos', key: 'k' }))).flatMap(({ part }) => part.case === 'chunk' ? [part.value] : [])
    expect(Math.max(...chunks.map(({ byteLength }) => byteLength))).toBe(mebibyte / 4)
    expect(Buffer.compare(concat(chunks), concat([piece, piece]))).toBe(0)
  })

  test('a reader that is slow stops the source, and one that goes ends it', async () => {
    serveBytes(1000)
    const reading = client.of(ObjectService).getObject({ bucket: 'photos', key: 'k' })[Symbol.asyncIterator]()
    await reading.next()
    await reading.next()
    let before = -1
    // until it stands still, which it must long before the end: what lies between are windows and buffers of sockets
    await expect.poll(() => { const stands = produced === before; before = produced; return stands }, { interval: 200, timeout: 20_000 }).toBe(true)
    expect(produced).toBeLessThan(100)
    for (let i = 0; i < 100; i++) await reading.next()
    await expect.poll(() => produced).toBeGreaterThan(before)
    await reading.return?.()
    await expect.poll(() => isReadingEnded).toBe(true)
    expect(produced).toBeLessThan(400)
  })

  test('a store that is slow stops the source of a put, whatever there is of it, and what is on the way has a bound', async () => {
    const [pieceBytes, pieces] = [256 * 1024, 256]
    let sent = 0
    let take = (_count: number): void => {}
    const more = { left: 0, wake: (): void => {} }
    take = (count) => { more.left += count; more.wake() }
    let taken = 0
    served.objects.put = (async (_, source) => {
      for await (const piece of source) {
        taken += piece.byteLength
        for (; more.left < piece.byteLength;) await new Promise<void>((resolve) => { more.wake = resolve })
        more.left -= piece.byteLength
      }
      return { ...info, sizeBytes: taken }
    }) satisfies Objects['put']
    const put = client.of(ObjectService).putObject((async function * () {
      yield head
      for (; sent < pieces; sent++) yield chunk(pieceBytes)
      yield end
    })())
    let before = -1
    const stands = async (): Promise<void> => expect.poll(() => { const isStill = sent === before && taken > 0; before = sent; return isStill }, { interval: 300, timeout: 20_000 }).toBe(true)
    await stands()
    // of 64 MiB: the windows of both ends, and what sockets hold
    expect((sent * pieceBytes - taken) / mebibyte).toBeLessThan(32)
    const stoodAt = sent
    take(8 * mebibyte)
    await expect.poll(() => sent * pieceBytes / mebibyte, { timeout: 20_000 }).toBeGreaterThan(stoodAt * pieceBytes / mebibyte + 4)
    await stands()
    expect((sent * pieceBytes - taken) / mebibyte).toBeLessThan(32)
    take(pieces * pieceBytes)
    expect(Number((await put).object?.sizeBytes)).toBe(pieces * pieceBytes)
  })

  test('a put whose client cancels is told so, and nothing is stored', async () => {
    const controller = new AbortController()
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      yield chunk(100_000)
      await expect.poll(() => puts[0]?.bytes).toBe(100_000)
      controller.abort()
      await new Promise(() => {})
    })(), { signal: controller.signal })
    expect(await failureOf(call)).toMatchObject({ code: Code.Canceled })
    await expect.poll(() => puts[0]?.ended).toBe('broken')
    expect(puts[0]?.signal?.aborted).toBe(true)
    expect(stored).toEqual([])
  })

  test('of a call whose client cancels nothing is left (its request was kept for ever, and a stop waited for it)', async () => {
    const waited: number[] = []
    const clock: Clock = { ...systemClock, after: (durationMs, action) => systemClock.after(durationMs, () => { waited.push(durationMs); action() }) }
    const other = await servedApi({}, { clock })
    using caller = rpcClient(other.api, protocol)
    const begun = Promise.withResolvers<void>()
    other.objects.head = async (_, { signal } = {}) => { begun.resolve(); await once(signal as AbortSignal, 'abort'); throw signal?.reason }
    const controller = new AbortController()
    const call = failureOf(caller.of(ObjectService).statObject({ bucket: 'photos', key: 'k' }, { signal: controller.signal }))
    await begun.promise
    controller.abort()
    expect(await call).toMatchObject({ code: Code.Canceled })
    await other[Symbol.asyncDispose]()
    expect(waited).not.toContain(stopLimits.finishMs)
  })

  test('a put whose source fails in the middle stores nothing', async () => {
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      yield chunk(100_000)
      await expect.poll(() => puts[0]?.bytes).toBe(100_000)
      throw new Error('the disk of the client')
    })())
    await failureOf(call)
    await expect.poll(() => puts[0]?.ended).toBe('broken')
    expect(stored).toEqual([])
  })

  test('a put that closes without its end stores nothing', async () => {
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      yield chunk(10)
    })())
    expect(await failureOf(call)).toMatchObject({ code: Code.InvalidArgument })
    expect(puts[0]?.ended).toBe('broken')
  })

  test('a put that is out of time ends with that, on both sides', async () => {
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      yield chunk(10)
      await new Promise(() => {})
    })(), { timeoutMs: 300 })
    expect(await failureOf(call)).toMatchObject({ code: Code.DeadlineExceeded })
    await expect.poll(() => puts[0]?.signal?.aborted).toBe(true)
    await expect.poll(() => puts[0]?.ended).toBe('broken')
    expect(stored).toEqual([])
  })

  test('a call whose engine is deaf ends at its deadline all the same', async () => {
    let seen: AbortSignal | undefined
    served.objects.head = async (_, { signal } = {}) => { seen = signal; return new Promise(() => {}) }
    // told by the node: the client would wait longer
    const call = client.of(ObjectService).statObject({ bucket: 'photos', key: 'k' }, { headers: protocol.startsWith('Connect') ? { 'connect-timeout-ms': '100' } : { 'grpc-timeout': '100m' } })
    expect(await failureOf(call)).toMatchObject({ code: Code.DeadlineExceeded })
    expect(seen?.aborted).toBe(true)
  })

  test('a put that is refused in the middle says why, and the client may stop sending', async () => {
    served.objects.put = async (_, source) => { for await (const _piece of source) throw new ConnectError('enough', Code.ResourceExhausted); return info }
    let sent = 0
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      for (; sent < 300; sent++) yield chunk(mebibyte)
      yield end
    })())
    expect(await failureOf(call)).toMatchObject({ code: Code.ResourceExhausted })
    expect(sent).toBeLessThan(300)
  })

  test('a node that stops lets a put finish, ends a watch, and takes nothing new', async () => {
    let goOn = (): void => {}
    const call = client.of(ObjectService).putObject((async function * () {
      yield head
      yield chunk(10)
      await new Promise<void>((resolve) => { goOn = resolve })
      yield chunk(10)
      yield end
    })())
    const waiting = rpcClient(served.api, protocol)
    const watched = waiting.of(ObjectService).watchObjects({})[Symbol.asyncIterator]()
    await expect.poll(() => puts[0]?.bytes).toBe(10)
    const watching = failureOf((async () => { for (;;) if ((await watched.next()).done === true) throw new ConnectError('it ended', Code.Unavailable) })())
    const stopped = served.api[Symbol.asyncDispose]()
    goOn()
    expect((await call).object).toMatchObject({ key: 'k' })
    expect(await watching).toBeInstanceOf(ConnectError)
    await stopped
    waiting[Symbol.dispose]()
    expect(puts[0]?.ended).toBe('stored')
  })
})

describe('one port for both versions of HTTP', () => {
  const open = async (port: number): Promise<{ socket: Socket, closed: Promise<void> }> => {
    const socket = connect(port, '127.0.0.1')
    await new Promise((resolve) => { socket.once('connect', resolve) })
    return { socket, closed: new Promise((resolve) => { socket.once('close', () => { resolve() }).on('error', () => {}).resume() }) }
  }

  test('a request of HTTP/1.1 that comes byte by byte is one all the same', async () => {
    await using served = await servedApi()
    const { socket } = await open(served.api.port)
    let answer = ''
    socket.on('data', (bytes: Buffer) => { answer += bytes.toString() })
    for (const byte of `PUT /healthz HTTP/1.1\r\nhost: 127.0.0.1:${served.api.port}\r\n\r\n`) {
      socket.write(byte)
      await systemClock.sleep(0)
    }
    await expect.poll(() => answer).toContain('405')
    socket.destroy()
  })

  test('whoever connects and says nothing, or not enough, is cut off', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    for (const words of ['', 'PR']) {
      const { socket, closed } = await open(served.api.port)
      socket.write(words)
      await closed
    }
  })

  test('whoever says that it speaks HTTP/2 and then does not is cut off', async () => {
    await using served = await servedApi()
    const { socket, closed } = await open(served.api.port)
    socket.write('PRI * HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n')
    await closed
    expect((await fetch(`http://127.0.0.1:${served.api.port}/healthz`)).status).toBe(200)
  })
})

test('of puts that nobody reads yet, as they wait for memory, little comes, of each and of all (8 MiB of each stood in the node\'s memory)', async () => {
  await using served = await servedApi()
  let puts = 0
  served.objects.put = async (_target, _source, { signal } = {}) => {
    puts++
    return new Promise((_, reject) => { signal?.addEventListener('abort', () => { reject(new Error('it is ended')) }) })
  }
  const session = connectHttp2(`http://127.0.0.1:${served.api.port}`, { maxSessionMemory: 1000 }).on('error', () => { /* it is ended below */ })
  const streams = 8
  // a message of a length and its bytes: a head with a bucket and a key, then chunks
  const message = (...parts: Uint8Array[]): Buffer => { const body = Buffer.concat(parts); const frame = Buffer.alloc(5); frame.writeUInt32BE(body.byteLength, 1); return Buffer.concat([frame, body]) }
  const put = (): void => {
    const stream = session.request({ ':method': 'POST', ':path': '/dfs.v1.ObjectService/PutObject', 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${hexOf(served.api.token)}` }, { endStream: false })
    stream.on('error', () => { /* it is ended below */ })
    stream.write(message(Buffer.from([0x0a, 11, 0x0a, 6]), Buffer.from('photos'), Buffer.from([0x12, 1, 0x6b])))
    for (let n = 0; n < 16; n++) stream.write(message(Buffer.from([0x12, 0x80, 0x80, 0x40]), new Uint8Array(mebibyte)))
  }
  put()
  // the windows of the others are those of a connection that has shown the token
  await expect.poll(() => puts, { timeout: 20_000 }).toBe(1)
  for (let i = 1; i < streams; i++) put()
  await expect.poll(() => puts, { timeout: 20_000 }).toBe(streams)
  let before = -1
  await expect.poll(() => { const now = session.socket?.bytesWritten ?? 0; const isStill = now === before; before = now; return isStill }, { interval: 500, timeout: 20_000 }).toBe(true)
  session.destroy()
  expect(before).toBeGreaterThan(windowLimits.streamBytes)
  expect(before).toBeLessThan(streams * 1.25 * mebibyte)
})
