import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient, type Interceptor, type Transport } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { ObjectService } from '../src/api/rpc/generated/dfs/v1/object_pb.ts'
import type { Bench } from './bench.ts'
import { drain, inTurns, medianOf, mebibyte, mib, noise, secondsOf, speedAgainst, type Timed } from './measure.ts'
import { type BenchNodes, get, put } from './nodes.ts'

/** Of clients that read much; a node raises its own. */
const windowBytes = 8 * mebibyte

/** One object with one copy through node 1, a holder: by HTTP, by gRPC and by Connect, in turns. */
export async function rpc ({ report, rounds, sizeBytes }: Bench, nodes: BenchNodes): Promise<void> {
  const client = await nodes.client(0)
  const { port, token } = JSON.parse(await readFile(join(nodes.node(0).data, 'api.json'), 'utf8')) as { port: number, token: string }
  const baseUrl = `http://127.0.0.1:${port}`
  const showing: Interceptor = (next) => (request) => { request.header.set('authorization', `Bearer ${token}`); return next(request) }
  const sessions = new Http2SessionManager(baseUrl, {}, { settings: { initialWindowSize: windowBytes } })
  const grpc = createGrpcTransport({ baseUrl, sessionManager: sessions, interceptors: [showing] })
  const connect = createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors: [showing] })
  const bucket = 'copies-1'
  await put(client, { bucket, key: 'rpc', source: noise(sizeBytes), sizeBytes })
  try {
    const down = await inTurns(rounds, {
      http: async () => drain(await get(client, { bucket, key: 'rpc' })),
      grpc: async () => drain(chunksOf(grpc, { bucket, key: 'rpc' })),
      connect: async () => drain(chunksOf(connect, { bucket, key: 'rpc' })),
    })
    const up = await inTurns(rounds, {
      http: async (round) => ({ seconds: await secondsOf(async () => put(client, { bucket, key: `rpc-http-${round}`, source: noise(sizeBytes), sizeBytes })) }),
      grpc: async (round) => ({ seconds: await secondsOf(async () => putBy(grpc, { bucket, key: `rpc-grpc-${round}`, sizeBytes })) }),
      connect: async (round) => ({ seconds: await secondsOf(async () => putBy(connect, { bucket, key: `rpc-connect-${round}`, sizeBytes })) }),
    })
    for (const [way, samples] of [['get', down], ['put', up]] as const) {
      const rate = (of: readonly Timed[]): number => mib(sizeBytes) / medianOf(of)
      report.add(`${way} by HTTP`, rate(samples.http), 'MiB/s')
      report.add(`${way} by gRPC (connect-node, h2c, windows of 8 MiB)`, rate(samples.grpc), 'MiB/s', { ratio: speedAgainst(samples.http, samples.grpc), against: 'HTTP' })
      report.add(`${way} by Connect (HTTP/1.1)`, rate(samples.connect), 'MiB/s', { ratio: speedAgainst(samples.http, samples.connect), against: 'HTTP' })
    }
  } finally {
    sessions.abort()
  }
}

async function * chunksOf (transport: Transport, object: { bucket: string, key: string }): AsyncIterable<Uint8Array> {
  let isWhole = false
  for await (const { part } of createClient(ObjectService, transport).getObject(object)) {
    if (part.case === 'chunk') yield part.value
    isWhole = part.case === 'end'
  }
  if (!isWhole) throw new Error('the read ended without its end')
}

async function putBy (transport: Transport, { sizeBytes, ...target }: { bucket: string, key: string, sizeBytes: number }): Promise<void> {
  await createClient(ObjectService, transport).putObject((async function * () {
    yield { part: { case: 'head' as const, value: { ...target, sizeBytes: BigInt(sizeBytes) } } }
    for await (const piece of noise(sizeBytes)) yield { part: { case: 'chunk' as const, value: piece as Uint8Array<ArrayBuffer> } }
    yield { part: { case: 'end' as const, value: {} } }
  })())
}
