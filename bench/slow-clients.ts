import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import aws4 from 'aws4'
import { ObjectService } from '../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { connectLocal } from '../src/client/index.ts'
import type { SecretAccessKey } from '../src/objects/index.ts'
import { LocalCluster, type LocalNode, until } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { mebibyte, mib, noise } from './measure.ts'
import { put } from './nodes.ts'

/** So many after one another stand still; of the last step the growth is held against a bound. */
const steps = [50, 100, 200] as const
const [clients, atOnce] = [steps[2], 10]
/**
 * What one more client may hold where a hundred stand still already (docs/LIMITS.md), in MiB: a reader its slice of 256 KiB, by gRPC a message with it and the library's copy of that; a writer, which then waits
 * for its turn and is not read, what a socket is read for at once, by gRPC its stream's window. Beside that what lies outside V8's heap until it collects, which is for all of them together.
 */
const furtherMiB = { read: { s3: 0.25, http: 0.25, rpc: 0.75 }, write: { s3: 0.125, http: 0.125, rpc: 1 } } as const
const uncollectedMiB = 64
/** Every reader reads another part of it, so that nothing is shared between them. */
const readBytes = 256 * mebibyte
/** A writer announces so much and sends so much of it. */
const [announcedBytes, sentBytes] = [16 * mebibyte, 6 * mebibyte]
const [bucket, restMs, patienceMs] = ['slow', 1500, 60_000]
const restBytes = 4 * mebibyte

type Face = 's3' | 'http' | 'rpc'
interface Crowd { readonly node: LocalNode, readonly key: SecretAccessKey, readonly ends: Array<() => void> }

/** What clients that stop half way hold of a node's memory: fifty of them, a hundred, then two hundred, on a node that was just started, for what a process was once given it keeps. */
export async function slowClients ({ report, folder }: Bench): Promise<void> {
  await using cluster = new LocalCluster(join(folder, 'slow'), { options: () => ['--log-level', 'warn', '--s3-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--rpc-listen', '127.0.0.1:0'] })
  const node = await cluster.found()
  const [key] = await node.json<SecretAccessKey>(['key', 'create', 'slow'])
  if (key === undefined) throw new Error('no key was made')
  const local = await connectLocal(node.data)
  await local.json('PUT', `/v1/buckets/${bucket}`, { body: { copies: 1 } })
  await put(local, { bucket, key: 'large', source: noise(readBytes), sizeBytes: readBytes })
  local.close()
  for (const [what, stuck] of [['read', reader], ['write', writer]] as const) {
    for (const face of ['s3', 'http', 'rpc'] as const) {
      await node.stop()
      await node.start()
      const crowd: Crowd = { node, key, ends: [] }
      const act = stuck(crowd, face)
      const without = await residentBytes(node)
      const name = `${what} by ${face === 'rpc' ? 'gRPC' : face.toUpperCase()}`
      let [before, from] = [without, 0]
      for (const count of steps) {
        await each(from, count, act)
        const now = await residentBytes(node)
        report.add(`${count} clients that stand still and ${name}: memory of the node`, mib(now), 'MiB', { ratio: now / without, against: 'without them' })
        const further = mib(now - before) / (count - from)
        const target = count === clients ? { target: { atMost: Math.round(100 * (furtherMiB[what][face] + uncollectedMiB / (count - from))) / 100 } } : {}
        report.add(`the same: each of those after the first ${from}`, further, 'MiB', target)
        ;[before, from] = [now, count]
      }
      for (const end of crowd.ends) end()
    }
  }
}

type Stuck = (i: number) => Promise<unknown>

async function each (from: number, to: number, act: Stuck): Promise<void> {
  for (let at = from; at < to; at += atOnce) await Promise.all(Array.from({ length: atOnce }, async (_, i) => act(at + i)))
}

/** Takes the head of the answer, and no more of it than comes along. */
function reader (crowd: Crowd, face: Face): Stuck {
  const firstOf = (i: number): number => Math.floor(i * readBytes / (clients + 40))
  const doors = face === 'rpc' ? grpc(crowd) : []
  return async (i) => {
    if (face === 'rpc') return doors[i % doors.length]?.getObject({ bucket, key: 'large', range: { first: BigInt(firstOf(i)) } })[Symbol.asyncIterator]().next()
    const [answer] = await once(asked(crowd, face, 'GET', 'large', { range: `bytes=${firstOf(i)}-` }).end(), 'response') as [IncomingMessage]
    answer.on('error', () => { /* it is ended below */ })
    if (answer.statusCode !== 206) throw new Error(`a read answered ${answer.statusCode}`)
  }
}

/** Sends a part of what it announced, and then nothing; or as much as a node takes that has no memory for one more. */
function writer (crowd: Crowd, face: Face): Stuck {
  const doors = face === 'rpc' ? grpc(crowd) : []
  return async (i) => {
    const sent = Promise.withResolvers<void>()
    if (face !== 'rpc') asked(crowd, face, 'PUT', `stuck-${i}`, { 'content-length': String(announcedBytes) }).write(randomBytes(sentBytes), () => { sent.resolve() })
    else {
      void doors[i % doors.length]?.putObject((async function * () {
        yield { part: { case: 'head' as const, value: { bucket, key: `stuck-${i}` } } }
        for (let at = 0; at < sentBytes; at += mebibyte) yield { part: { case: 'chunk' as const, value: new Uint8Array(randomBytes(mebibyte)) } }
        sent.resolve()
        await new Promise(() => {})
      })()).catch(() => { /* it is ended below */ })
    }
    await Promise.race([sent.promise, new Promise((resolve) => { setTimeout(resolve, restMs) })])
  }
}

const agent = new Agent({ maxSockets: Infinity })

function asked ({ node, key, ends }: Crowd, face: 's3' | 'http', method: string, name: string, headers: Record<string, string>): ClientRequest {
  const { hostname, port, host } = new URL(node.ready?.endpoints[face] ?? '')
  const path = `/${bucket}/${name}`
  const signed = face === 's3'
    ? aws4.sign({ service: 's3', region: 'us-east-1', method, host, path, headers: { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }, { accessKeyId: key.id, secretAccessKey: key.secret }).headers as Record<string, string>
    : { ...headers, authorization: `Bearer ${key.id}:${key.secret}` }
  const sent = request({ agent, host: hostname, port, method, path, headers: signed })
  sent.on('error', () => { /* it is ended below */ })
  ends.push(() => { sent.destroy() })
  return sent
}

function grpc ({ node, key, ends }: Crowd): Array<ReturnType<typeof createClient<typeof ObjectService>>> {
  return Array.from({ length: 4 }, () => {
    const baseUrl = (node.ready?.endpoints.rpc ?? '').replace(/\/$/, '')
    const sessionManager = new Http2SessionManager(baseUrl)
    ends.push(() => { sessionManager.abort() })
    return createClient(ObjectService, createGrpcTransport({ baseUrl, sessionManager, interceptors: [(next) => (call) => { call.header.set('authorization', `Bearer ${key.id}:${key.secret}`); return next(call) }] }))
  })
}

/** When it changes no more. */
async function residentBytes (node: LocalNode): Promise<number> {
  let [last, now] = [-1, 0]
  await until('the node has taken what it takes', patienceMs, async () => {
    last = now
    await new Promise((resolve) => { setTimeout(resolve, restMs) })
    now = await node.memoryBytes('VmRSS') ?? 0
    return Math.abs(now - last) < restBytes
  })
  return now
}
