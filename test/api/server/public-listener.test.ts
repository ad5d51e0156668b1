import { once } from 'node:events'
import { copyFile, writeFile } from 'node:fs/promises'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import * as tls from 'node:tls'
import { describe, expect, test } from 'vitest'
import { bodyOf } from '../../../src/api/server/body.ts'
import { ApiError } from '../../../src/api/errors.ts'
import type { PublicExchange } from '../../../src/api/server/public-listener.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { hurriedClock } from '../../support/local-api.ts'
import { answerTo, servedPublicly } from '../../support/public-listener.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const hello = async ({ response }: PublicExchange): Promise<void> => { response.end('hello') }
const certificates = join(import.meta.dirname, '../../support/tls')
const get = (headers: string, path = '/'): string => `GET ${path} HTTP/1.1\r\nconnection: close\r\n${headers}\r\n\r\n`
const tlsOf = (name: string) => ({ cert: join(certificates, `${name}.crt`), key: join(certificates, `${name}.key`) })

describe('where a public listener listens', () => {
  test.each(['0.0.0.0', '192.0.2.1', '::', 'files.example.org'])('not on %s without TLS, unless that is asked for; the refusal says what to do', async (host) => {
    await expect(servedPublicly(hello, { listen: { host, port: 0 } })).rejects.toMatchObject({ code: 'invalid', field: 'test-listen', message: expect.stringMatching(/tls-cert.*127\.0\.0\.1.*insecure-public/) as string })
  })

  test('everywhere with TLS, and everywhere when that is asked for', async () => {
    await using secure = await servedPublicly(hello, { listen: { host: '0.0.0.0', port: 0 }, tls: tlsOf('first') })
    await using insecure = await servedPublicly(hello, { listen: { host: '0.0.0.0', port: 0 }, allowInsecure: true })
    expect(secure.listener.url).toMatch(/^https:\/\/0\.0\.0\.0:\d+$/)
    expect(insecure.listener.url).toMatch(/^http:\/\/0\.0\.0\.0:\d+$/)
  })
})

describe('TLS', () => {
  const nameShown = async (port: number): Promise<string> => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { subject } = socket.getPeerCertificate()
    socket.destroy()
    return String(subject.CN)
  }

  test('a renewed certificate is used without a restart; one that is broken is not, and the log says so', async () => {
    await using folder = await temporaryFolder()
    const files = { cert: join(folder.path, 'crt'), key: join(folder.path, 'key') }
    const put = async (name: string): Promise<void> => { await copyFile(tlsOf(name).cert, files.cert); await copyFile(tlsOf(name).key, files.key) }
    await put('first')
    await using served = await servedPublicly(hello, { tls: files })
    expect(await nameShown(served.listener.port)).toBe('first.test')
    await writeFile(files.key, 'no key')
    await served.listener.reload()
    expect(await nameShown(served.listener.port)).toBe('first.test')
    expect(served.logged.join('\n')).toContain('the old one stays in use')
    await put('second')
    await served.listener.reload()
    expect(await nameShown(served.listener.port)).toBe('second.test')
  })

  test('a renewed certificate is found without being told of', async () => {
    await using folder = await temporaryFolder()
    const files = { cert: join(folder.path, 'crt'), key: join(folder.path, 'key') }
    for (const part of ['cert', 'key'] as const) await copyFile(tlsOf('first')[part], files[part])
    let tick = (): void => {}
    const clock: Clock = { ...systemClock, after: (durationMs, action) => { if (durationMs !== 60_000) return systemClock.after(durationMs, action); tick = action; return () => {} } }
    await using served = await servedPublicly(hello, { tls: files, clock })
    for (const part of ['cert', 'key'] as const) await copyFile(tlsOf('second')[part], files[part])
    tick()
    await expect.poll(() => nameShown(served.listener.port)).toBe('second.test')
  })

  test('files that are no certificate are refused at the start', async () => {
    await expect(servedPublicly(hello, { tls: { cert: tlsOf('first').cert, key: tlsOf('second').key } })).rejects.toMatchObject({ code: 'invalid', field: 'tls-cert' })
    await expect(servedPublicly(hello, { tls: { cert: '/nowhere', key: tlsOf('second').key } })).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('/nowhere') as string })
  })
})

describe('whom a public listener answers', () => {
  test.each([
    ['an address', 'host: 127.0.0.1:80', 200], ['localhost', 'host: LOCALHOST', 200], ['below localhost', 'host: bucket.localhost:9000', 200], ['an IPv6 address', 'host: [::1]:80', 200],
    ['a name that is listed', 'host: files.example.org', 200], ['below a name that is listed with a star', 'host: photos.s3.example.org', 200],
    ['a name that is not listed', 'host: evil.example', 421], ['below a name that is listed without a star', 'host: a.files.example.org', 421], ['nothing', 'host: ', 421], ['no name', 'host: a b', 421],
    ['its own page', 'host: localhost\r\norigin: http://localhost', 200], ['a page of another origin', 'host: localhost\r\norigin: http://evil.example', 403], ['a page without origin', 'host: localhost\r\norigin: null', 403],
  ])('requests to or from %s', async (_what, headers, status) => {
    await using served = await servedPublicly(hello, { hosts: ['files.example.org', '*.s3.example.org'] })
    expect(await answerTo(served.listener.port, get(headers))).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })

  test('pages of an origin that the face takes', async () => {
    await using served = await servedPublicly(hello, { face: { answer: hello, refusalOf: () => ({ status: 403, headers: {}, body: Buffer.from('no'), reason: 'no' }), allowsOrigin: (origin) => origin === 'https://app.example' } })
    expect(await answerTo(served.listener.port, get('host: localhost\r\norigin: https://app.example'))).toMatch(/^HTTP\/1.1 200 /)
    expect(await answerTo(served.listener.port, get('host: localhost\r\norigin: https://evil.example'))).toMatch(/^HTTP\/1.1 403 /)
  })
})

describe('too much', () => {
  test('requests of one address are told when to come again; after that they are answered', async () => {
    let nowMs = 0
    await using served = await servedPublicly(hello, { rates: { perAddress: { perSecond: 1, burst: 2 } }, clock: { ...systemClock, monotonicMs: () => nowMs } })
    const status = async (): Promise<string> => (await answerTo(served.listener.port, get('host: localhost'))).replace(/^HTTP\/1.1 (\d+) [^]*?(?:retry-after: (\d+)[^]*|$)/, '$1 $2')
    expect([await status(), await status(), (await status()).split('\r')[0]]).toEqual([expect.stringMatching(/^200/), expect.stringMatching(/^200/), '429 1'])
    nowMs = 1000
    expect(await status()).toMatch(/^200/)
  })

  test('requests of one access key, and wrong secrets of one address, are counted when the face says so', async () => {
    await using served = await servedPublicly(async (exchange) => {
      if (exchange.path === '/wrong') { exchange.demandTrust('a key'); exchange.countFailure('a key'); throw new ApiError(403, 'refused', 'wrong') }
      exchange.countKey(exchange.path)
      exchange.response.end()
    }, { rates: { perKey: { perSecond: 0.001, burst: 1 }, failures: { perSecond: 0.001, burst: 1 } } })
    const statuses = []
    for (const path of ['/a', '/a', '/b', '/wrong', '/wrong', '/c']) statuses.push((await answerTo(served.listener.port, get('host: localhost', path))).slice(9, 12))
    expect(statuses).toEqual(['200', '429', '200', '403', '429', '200'])
  })

  test('who guesses keeps nobody out who is in, and nobody in whose key is guessed', async () => {
    await using served = await servedPublicly(async (exchange) => {
      const [, id = '', proof] = exchange.path.split('/')
      exchange.demandTrust(id)
      if (proof !== 'right') { exchange.countFailure(id); throw new ApiError(403, 'refused', 'wrong') }
      exchange.countKey(id)
      exchange.response.end()
    }, { rates: { failures: { perSecond: 0.001, burst: 3 } } })
    const statuses = async (...paths: readonly string[]): Promise<string[]> => {
      const told = []
      for (const path of paths) told.push((await answerTo(served.listener.port, get('host: localhost', path))).slice(9, 12))
      return told
    }
    expect(await statuses('/mine/right', '/a/wrong', '/b/wrong', '/c/wrong')).toEqual(['200', '403', '403', '403'])
    expect(await statuses('/d/wrong', '/new/right', '/mine/right')).toEqual(['429', '429', '200'])
    expect(await statuses('/mine/wrong', '/mine/wrong', '/mine/wrong', '/mine/right')).toEqual(['429', '429', '429', '429'])
  })

  test('connections of one address beyond a bound are closed', async () => {
    await using served = await servedPublicly(hello, { limits: { maxConnectionsPerAddress: 1 } })
    const first = connect(served.listener.port, '127.0.0.1')
    await once(first, 'connect')
    first.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(first, 'data')
    expect(await answerTo(served.listener.port, get('host: localhost'))).toBe('')
    first.destroy()
    await expect.poll(() => answerTo(served.listener.port, get('host: localhost'))).toMatch(/^HTTP\/1.1 200/)
  })

  test.each([['http2', true], ['http1', false]])('a client that is slow with its headers is cut off (%s)', async (_what, isHttp2) => {
    await using served = await servedPublicly(hello, { http2: isHttp2, limits: { headersTimeoutMs: 50, checkIntervalMs: 10 } })
    expect(await answerTo(served.listener.port, 'GET / HTTP/1.1\r\nx-a: ')).toMatch(/^(HTTP\/1.1 408 |$)/)
    if (isHttp2) expect(await answerTo(served.listener.port, '')).toBe('')
  })

  test('a client that is silent in the middle of its body is cut off', async () => {
    await using served = await servedPublicly(async (exchange) => {
      for await (const _piece of bodyOf(exchange)) { /* counts for nothing */ }
      exchange.response.end('whole')
    }, { limits: { idleTimeoutMs: 50 } })
    expect(await answerTo(served.listener.port, 'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc')).not.toContain('whole')
  })
})

describe('HTTP/2', () => {
  const ask = async (url: string): Promise<string> => {
    const session = http2.connect(url, { rejectUnauthorized: false })
    try {
      const stream = session.request({ ':path': '/x' })
      let text = ''
      for await (const piece of stream.setEncoding('utf8') as AsyncIterable<string>) text += piece
      return text
    } finally {
      session.close()
    }
  }
  const versionOf = async ({ request, response }: PublicExchange): Promise<void> => { response.end(`${request.httpVersion} ${request.url}`) }

  test('stands on one port with HTTP/1.1, without TLS', async () => {
    await using served = await servedPublicly(versionOf, { http2: true })
    expect(await ask(served.listener.url)).toBe('2.0 /x')
    expect(await answerTo(served.listener.port, get('host: localhost'))).toContain('1.1 /')
  })

  test('and with TLS', async () => {
    await using served = await servedPublicly(versionOf, { http2: true, tls: tlsOf('first') })
    expect(await ask(served.listener.url)).toBe('2.0 /x')
    expect(await fetchInsecurely(served.listener.port)).toContain('1.1 /')
  })

  test('knows only its own hosts too', async () => {
    await using served = await servedPublicly(versionOf, { http2: true })
    const session = http2.connect(served.listener.url)
    const stream = session.request({ ':path': '/', ':authority': 'evil.example' })
    const [headers] = await once(stream, 'response') as [http2.IncomingHttpHeaders]
    expect(headers[':status']).toBe(421)
    session.destroy()
  })

  function fetchInsecurely (port: number): Promise<string> {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    return new Promise((resolve) => {
      let text = ''
      socket.on('data', (piece) => { text += piece.toString() }).on('close', () => { resolve(text) })
      socket.write(get('host: localhost'))
    })
  }
})

describe('a request', () => {
  test('has an id, in the answer and in the log; the log has no query, no secret and no name', async () => {
    await using served = await servedPublicly(async (exchange) => { exchange.note({ operation: 'look' }); exchange.response.end() })
    const answer = await answerTo(served.listener.port, get('host: localhost\r\nauthorization: Bearer secret-token\r\ncookie: secret-cookie', '/secret-name?X-Amz-Signature=secret-signature'))
    const id = /x-request-id: ([0-9a-f]{16})/.exec(answer)?.[1]
    await expect.poll(() => served.logged).toHaveLength(1)
    expect(JSON.parse(served.logged[0] ?? '')).toEqual({ request: id, method: 'GET', address: '127.0.0.1', operation: 'look', status: 200, ms: expect.any(Number) as number, message: 'answered' })
  })

  test('that waits before it sends its body is told to go on only when the body is read', async () => {
    await using served = await servedPublicly(async (exchange) => {
      if (exchange.path === '/no') throw new ApiError(403, 'refused', 'no')
      for await (const _piece of bodyOf(exchange)) { /* read */ }
      exchange.response.end('read')
    })
    const ask = async (path: string): Promise<{ status: number | undefined, hasGoneOn: boolean }> => new Promise((resolve, reject) => {
      let hasGoneOn = false
      const asked = http.request({ port: served.listener.port, host: '127.0.0.1', method: 'PUT', path, headers: { expect: '100-continue', 'content-length': 4 } }, (response) => {
        response.resume().on('end', () => { resolve({ status: response.statusCode, hasGoneOn }) })
        asked.destroy()
      })
      asked.on('continue', () => { hasGoneOn = true; asked.end('body') }).on('error', reject)
      asked.flushHeaders()
    })
    expect(await ask('/yes')).toEqual({ status: 200, hasGoneOn: true })
    expect(await ask('/no').catch(() => ({ status: 403, hasGoneOn: false }))).toEqual({ status: 403, hasGoneOn: false })
  })
})

test('a listener that stops lets requests under way finish, and refuses what comes on open connections', async () => {
  const goOn = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  const served = await servedPublicly(async ({ response }) => { started.resolve(); await goOn.promise; response.end('finished') }, { clock: hurriedClock, http2: true })
  const open = connect(served.listener.port, '127.0.0.1')
  await once(open, 'connect')
  const answer = answerTo(served.listener.port, get('host: localhost'))
  await started.promise
  const stopped = served.listener[Symbol.asyncDispose]()
  open.write(get('host: localhost'))
  const [refused] = await once(open, 'data') as [Buffer]
  expect(refused.toString()).toMatch(/^HTTP\/1.1 503 [^]*the node is stopping/)
  goOn.resolve()
  expect(await answer).toContain('finished')
  await stopped
})

test('a port that is taken is told', async () => {
  await using served = await servedPublicly(hello)
  await expect(servedPublicly(hello, { listen: { host: '127.0.0.1', port: served.listener.port } })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
