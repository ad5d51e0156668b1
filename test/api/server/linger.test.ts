import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { lingerLimits } from '../../../src/api/server/linger.ts'
import { hurriedClock, servedApi } from '../../support/local-api.ts'

const mib = 1024 ** 2

/** A put without the token, so that it is refused before a byte of its body is read. */
async function refusedPut (port: number, lengthBytes: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => { /* told by "close" */ })
  await once(socket, 'connect')
  socket.write(`PUT /v1/objects/photos/x HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-length: ${lengthBytes}\r\n\r\n`)
  return socket
}

async function send (socket: Socket, lengthBytes: number): Promise<void> {
  for (let sent = 0; sent < lengthBytes && !socket.destroyed; sent += mib) await new Promise((resolve) => { socket.write(Buffer.alloc(mib), resolve) })
}

describe('the body of a refused request', () => {
  test('is read to its end, so that the reason reaches a client that listens only then', async () => {
    await using served = await servedApi()
    const socket = await refusedPut(served.api.port, 32 * mib)
    socket.pause()
    await send(socket, 32 * mib)
    const pieces: Buffer[] = []
    for await (const piece of socket as AsyncIterable<Buffer>) pieces.push(piece)
    expect(Buffer.concat(pieces).toString()).toMatch(/^HTTP\/1.1 401 [^]*connection: close[^]*the token in api.json is needed/i)
  })

  test('is read to a bound', async () => {
    await using served = await servedApi()
    const socket = await refusedPut(served.api.port, 10 * lingerLimits.maxBytes)
    socket.resume()
    await send(socket, 10 * lingerLimits.maxBytes)
    expect(socket.destroyed).toBe(true)
    expect(socket.bytesWritten).toBeLessThan(2 * lingerLimits.maxBytes)
  })

  test('is waited for no longer than a bound', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    const socket = await refusedPut(served.api.port, mib)
    socket.resume()
    await once(socket, 'close')
  })
})
