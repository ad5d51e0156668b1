import { once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import aws4 from 'aws4'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { ObjectService } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { noise, noiseBytes } from '../support/file-world.ts'
import { bucketName, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** One real node, and many clients that stop half way: what each holds of its memory. */
const mib = 1024 ** 2
const clients = 200
const sizeBytes = 256 * mib
/** Of a reader a slice, and its share of the half of `get-memory` in which the first of them keep whole chunks (2 MiB); of a writer the longest chunk; a message where there are messages, and what waits for the collector of what came before. */
const getMemoryBytes = 32 * mib
const mostHeld = { reading: 1.1 * mib, readingByGrpc: 1.6 * mib, writing: 5.5 * mib, writingByGrpc: 7 * mib } as const

// of `put-memory` one key has three quarters: enough for all of them here
let real: RealCluster
let key: SecretAccessKey
beforeAll(async () => {
  real = await realCluster(1, { copies: 1, options: () => ['--s3-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--rpc-listen', '127.0.0.1:0', '--get-memory', String(getMemoryBytes), '--put-memory', '2GiB'] })
  ;[key] = await real.node(0).json<SecretAccessKey>(['key', 'create', 'slow']) as [SecretAccessKey]
  await (await real.via(0)).put('large', noise(sizeBytes, { seed: 1, pieceBytes: mib }), { 'content-length': String(sizeBytes) })
}, 300_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

const ends: Array<() => void> = []
// what a process was once given it keeps
beforeEach(async () => { await real.node(0).stop(); await real.node(0).start() })
afterEach(() => { for (const end of ends.splice(0)) end() })

const urlOf = (face: string): URL => new URL(real.node(0).ready?.endpoints[face] ?? '')
const path = (name: string): string => `/${bucketName}/${name}`
/** Some at a time: that they come at once is another matter. */
async function each (act: (i: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < clients; at += 10) await Promise.all(Array.from({ length: 10 }, async (_, i) => act(at + i)))
}
/** Every client reads another part, so that nothing is shared between them. */
const firstOf = (i: number): number => Math.floor(i * sizeBytes / (clients + 40))

const headersOf = {
  s3: (method: string, name: string, headers: Record<string, string>): Record<string, string> => aws4.sign({ service: 's3', region: 'us-east-1', method, host: urlOf('s3').host, path: path(name), headers: { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }, { accessKeyId: key.id, secretAccessKey: key.secret }).headers as Record<string, string>,
  http: (_method: string, _name: string, headers: Record<string, string>): Record<string, string> => ({ ...headers, authorization: `Bearer ${key.id}:${key.secret}` }),
}

const agent = new Agent({ maxSockets: Infinity })

function asked (face: 's3' | 'http', method: string, name: string, headers: Record<string, string>): ClientRequest {
  const { hostname, port } = urlOf(face)
  const sent = request({ agent, host: hostname, port, method, path: path(name), headers: headersOf[face](method, name, headers) })
  sent.on('error', () => { /* it is ended by the test */ })
  ends.push(() => { sent.destroy() })
  return sent
}

/** A client that takes the head of the answer and reads no byte of its body. */
async function stuckReader (face: 's3' | 'http', i: number): Promise<void> {
  const sent = asked(face, 'GET', 'large', { range: `bytes=${firstOf(i)}-` }).end()
  const [answer] = await once(sent, 'response') as [IncomingMessage]
  expect(answer.statusCode).toBe(206)
  answer.on('error', () => { /* as above */ })
}

/** A client that sends a part of what it announced, and then nothing. */
async function stuckWriter (face: 's3' | 'http', i: number): Promise<void> {
  const sent = asked(face, 'PUT', `stuck-${i}`, { 'content-length': String(16 * mib) })
  await new Promise<void>((resolve) => { sent.write(noiseBytes(6 * mib, i + 1), () => { resolve() }) })
}

function grpc (): ReturnType<typeof createClient<typeof ObjectService>>[] {
  return Array.from({ length: 4 }, () => {
    const baseUrl = urlOf('rpc').href.replace(/\/$/, '')
    const sessionManager = new Http2SessionManager(baseUrl)
    ends.push(() => { sessionManager.abort() })
    return createClient(ObjectService, createGrpcTransport({ baseUrl, sessionManager, interceptors: [(next) => (call) => { call.header.set('authorization', `Bearer ${key.id}:${key.secret}`); return next(call) }] }))
  })
}

/** What the node has when it is at rest: nothing changes any more. */
async function restingBytes (): Promise<number> {
  let last = -1
  let now = 0
  await until('the node has taken what it takes', 60_000, async () => {
    last = now
    await new Promise((resolve) => { setTimeout(resolve, 1500) })
    now = await real.node(0).memoryBytes('VmRSS') ?? 0
    return Math.abs(now - last) < 4 * mib
  })
  return now
}

async function taken (act: () => Promise<void>): Promise<number> {
  const before = await restingBytes()
  await act()
  const during = await restingBytes()
  process.stderr.write(`${expect.getState().currentTestName?.split(' > ').at(-1) ?? ''}: ${((during - before) / clients / mib).toFixed(2)} MiB each, ${Math.round(during / mib)} MiB in all\n`)
  for (const end of ends.splice(0)) end()
  return (during - before) / clients
}

describe(`of ${clients} clients that stop in the middle, each holds of the node's memory`, () => {
  test.each(['s3', 'http'] as const)('a slice of a chunk, where it reads by %s', async (face) => {
    expect(await taken(async () => each(async (i) => stuckReader(face, i)))).toBeLessThan(mostHeld.reading)
  })

  test('a slice and a message, where it reads by gRPC', async () => {
    expect(await taken(async () => {
      const doors = grpc()
      await each(async (i) => {
        const reading = doors[i % 4]?.getObject({ bucket: bucketName, key: 'large', range: { first: BigInt(firstOf(i)) } })[Symbol.asyncIterator]()
        await reading?.next()
      })
    })).toBeLessThan(mostHeld.readingByGrpc)
  })

  test.each(['s3', 'http'] as const)('what it sent of a chunk, where it writes by %s', async (face) => {
    expect(await taken(async () => each(async (i) => stuckWriter(face, i)))).toBeLessThan(mostHeld.writing)
  })

  test('what it sent of a chunk, where it writes by gRPC', async () => {
    expect(await taken(async () => {
      const doors = grpc()
      await each(async (i) => {
        const sent = Promise.withResolvers<void>()
        void doors[i % 4]?.putObject((async function * () {
          yield { part: { case: 'head' as const, value: { bucket: bucketName, key: `stuck-${i}` } } }
          for (let n = 0; n < 6; n++) yield { part: { case: 'chunk' as const, value: noiseBytes(mib, 7 * i + n + 1) as Uint8Array<ArrayBuffer> } }
          sent.resolve()
          await new Promise(() => {})
        })()).catch(() => {})
        await sent.promise
      })
    })).toBeLessThan(mostHeld.writingByGrpc)
  })
}, 300_000)
