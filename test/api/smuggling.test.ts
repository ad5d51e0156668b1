import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf } from '../../src/api/server/body.ts'
import type { PublicExchange } from '../../src/api/server/public-listener.ts'
import { answerTo, servedPublicly, type ServedPublicly } from '../support/public-listener.ts'

/** The second looks at the first bytes of a connection, for HTTP/2 may follow. */
const listeners: Partial<Record<'HTTP/1.1' | 'HTTP/1.1 or HTTP/2', ServedPublicly>> = {}
const seen: string[] = []

beforeAll(async () => {
  const answer = async (exchange: PublicExchange): Promise<void> => {
    const pieces: Buffer[] = []
    for await (const piece of bodyOf(exchange)) pieces.push(piece)
    seen.push(`${exchange.request.method} ${exchange.path} ${Buffer.concat(pieces).toString()}`)
    exchange.response.end('served')
  }
  listeners['HTTP/1.1'] = await servedPublicly(answer)
  listeners['HTTP/1.1 or HTTP/2'] = await servedPublicly(answer, { http2: true })
})
afterAll(async () => { for (const served of Object.values(listeners)) await served[Symbol.asyncDispose]() })

/** A request that two servers in a row would part differently hides this one in its body. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'
const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`

describe.each(['HTTP/1.1', 'HTTP/1.1 or HTTP/2'] as const)('a request that servers in a row may read differently, at a listener of %s', (protocols) => {
  const portOf = (): number => listeners[protocols]?.listener.port ?? 0

  test.each([
    ['two lengths', `POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`],
    ['two lengths in one header', `POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0, ${smuggled.length}\r\n\r\n${smuggled}`],
    ['a length with a sign', `POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: +${smuggled.length}\r\n\r\n${smuggled}`],
    ['a length and chunks', `POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n${chunk}`],
    ['chunks and a length', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n${chunk}`],
    ['another coding before chunks', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n${chunk}`],
    ['another coding after chunks', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n${chunk}`],
    ['two codings in two headers', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${chunk}`],
    ['a coding that is nearly chunked', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n${chunk}`],
    ['a space before the colon', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding : chunked\r\n\r\n${chunk}`],
    ['chunks in HTTP/1.0', `POST /a HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n${chunk}`],
    ['a folded header', `POST /a HTTP/1.1\r\nhost: localhost\r\nx-a: b\r\n content-length: ${smuggled.length}\r\nconnection: close\r\n\r\n${smuggled}`],
    ['a bare line feed after a header', `POST /a HTTP/1.1\r\nhost: localhost\r\nx-a: b\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`],
    ['a bare line feed at the end of the headers', `POST /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\n${smuggled}`],
    ['a bare carriage return in a header', `POST /a HTTP/1.1\r\nhost: localhost\r\nx-a: b\rcontent-length: 3\r\n\r\nabc`],
    ['a NUL in a header', 'GET /a HTTP/1.1\r\nhost: localhost\r\nx-a: b\0c\r\n\r\n'],
    ['a chunk size that is none', 'POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a sign', 'POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size beyond 64 bits', 'POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['a chunk that is longer than its size', 'POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n'],
    ['a bare line feed after a chunk size', `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n`],
    ['two hosts', 'GET /a HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n'],
    ['no host', 'GET /a HTTP/1.1\r\nconnection: close\r\n\r\n'],
    ['another server as its target', 'GET http://evil.example/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    ['a target without a slash', 'GET a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    ['a tunnel', 'CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    ['headers without end', `GET /a HTTP/1.1\r\nhost: localhost\r\n${'x-a: b\r\n'.repeat(4000)}\r\n`],
    ['a header without end', `GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: ${'b'.repeat(20_000)}\r\n\r\n`],
  ])('is refused, and the connection closed: %s', async (_what, bytes) => {
    seen.length = 0
    const answer = await answerTo(portOf(), bytes)
    expect(seen).toEqual([])
    expect(answer).not.toContain('served')
    expect(answer).toMatch(/^(HTTP\/1\.1 (4\d\d|501) |$)/)
  })

  test('the same in order is served', async () => {
    seen.length = 0
    expect(await answerTo(portOf(), `POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${chunk}`)).toMatch(/^HTTP\/1\.1 200 [^]*served/)
    expect(seen).toEqual([`POST /a ${smuggled}`])
  })
})
