import { execFile, spawn } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs, promisify } from 'node:util'
import { ClusterKeys, sealBlock } from '../src/encryption/index.ts'
import { connectLocal, type LocalClient, objectPath } from '../src/client/index.ts'
import type { NodeStatus } from '../src/node.ts'
import { dfs, LocalCluster, type LocalNode } from '../scripts/local-cluster.ts'

/** `npm run bench`: real processes on loopback, side by side in one run, because machines are shared and absolute times prove nothing. Ratios do. */
const { values } = parseArgs({ options: { size: { type: 'string', default: '256' }, json: { type: 'string' }, rounds: { type: 'string', default: '3' } } })
const sizeBytes = Number(values.size) * 1024 ** 2
const rounds = Number(values.rounds)
const run = promisify(execFile)
const here = import.meta.dirname
const mib = (bytes: number): number => bytes / 1024 ** 2

interface Figure { readonly name: string, readonly value: number, readonly unit: string, readonly ratio?: number, readonly against?: string, readonly target?: string }
const figures: Figure[] = []
function figure (name: string, value: number, unit: string, more: Partial<Figure> = {}): void {
  figures.push({ name, value, unit, ...more })
  const ratio = more.ratio === undefined ? '' : `   ${more.ratio.toFixed(2)} × ${more.against ?? ''}`
  console.log(`${name.padEnd(58)} ${(value >= 100 ? value.toFixed(0) : value.toFixed(2)).padStart(10)} ${unit.padEnd(8)}${ratio}${more.target === undefined ? '' : `   (target ${more.target})`}`)
}
const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
const seconds = async (act: () => Promise<unknown>): Promise<number> => { const start = performance.now(); await act(); return (performance.now() - start) / 1000 }

const folder = await mkdtemp(join(tmpdir(), 'dfs-bench-'))
const cluster = new LocalCluster(join(folder, 'nodes'), { options: (index) => ['--log-level', 'warn', ...(index === 3 ? ['--capacity', '0', '--cache', '0'] : [])] })
try {
  await mkdir(join(folder, 'nodes'))
  console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, file of ${values.size} MiB, ${new Date().toISOString().slice(0, 10)}, medians of ${rounds}\n`)
  figure('dfs --help', await median3(async () => { await dfs(['--help']) }) * 1000, 'ms', { target: '< 150' })
  // three holders, and a member of capacity 0 that must fetch everything
  await cluster.grow(4)
  const [one, , , sink] = cluster.nodes as [LocalNode, LocalNode, LocalNode, LocalNode]
  const client = await connectLocal(one.data)
  for (const copies of [1, 2, 3]) await client.json('PUT', `/v1/buckets/copies-${copies}`, { body: { copies } })
  await client.json('PUT', '/v1/buckets/small', { body: { copies: 3 } })
  const file = await noiseFile(join(folder, 'file'))
  await puts(client)
  const rawSeconds = await rawTransfer()
  await gets(sink, rawSeconds)
  await sealing(rawSeconds)
  await smallObjects(client)
  await deduplication(client, cluster.nodes, file)
  for (const [i, node] of cluster.nodes.entries()) figure(`peak memory of node ${i + 1}${i === 3 ? ' (reads only)' : ''}`, mib(await node.memoryBytes() ?? 0), 'MiB', { target: '< 350' })
  client.close()
} finally {
  await cluster.stop('SIGKILL')
  await rm(folder, { recursive: true, force: true })
}
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify({ machine: cpus()[0]?.model, node: process.version, date: new Date().toISOString(), sizeMiB: Number(values.size), figures }, null, 2)}\n`)

async function median3 (act: () => Promise<void>): Promise<number> {
  const times = []
  for (let i = 0; i < Math.max(3, rounds); i++) times.push(await seconds(act))
  return median(times)
}

function noise (bytes: number): AsyncIterable<Uint8Array> {
  const stream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(1024 ** 2)
  return (async function * () { for (let left = bytes; left > 0; left -= zeros.byteLength) yield stream.update(zeros.subarray(0, Math.min(left, zeros.byteLength))) })()
}

async function noiseFile (path: string): Promise<string> {
  await pipeline(noise(sizeBytes), createWriteStream(path))
  return path
}

async function puts (client: LocalClient): Promise<void> {
  let single = 0
  for (const copies of [1, 2, 3]) {
    const times = []
    for (let i = 0; i < rounds; i++) times.push(await seconds(async () => client.upload(objectPath(`copies-${copies}`, `file-${i}`), noise(sizeBytes), { headers: { 'content-length': String(sizeBytes) } })))
    const rate = mib(sizeBytes) / median(times)
    if (copies === 1) single = rate
    figure(`put, ${copies} ${copies === 1 ? 'copy' : 'copies'}`, rate, 'MiB/s', { ratio: rate / single, against: 'one copy' })
  }
}

async function rawTransfer (): Promise<number> {
  const server = spawn(process.execPath, [join(here, 'raw.ts'), 'serve', String(sizeBytes)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const address = await new Promise<string>((resolve) => { server.stdout.once('data', (bytes: Buffer) => { resolve(bytes.toString().trim()) }) })
  const times = []
  for (let i = 0; i < rounds; i++) times.push((JSON.parse((await run(process.execPath, [join(here, 'raw.ts'), 'get', address, String(sizeBytes)])).stdout) as { seconds: number }).seconds)
  server.kill()
  figure('raw libp2p stream, two processes', mib(sizeBytes) / median(times), 'MiB/s')
  return median(times)
}

async function gets (sink: LocalNode, rawSeconds: number): Promise<void> {
  const [listen] = sink.ready?.addresses ?? []
  const times = []
  const firsts = []
  for (let i = 0; i < rounds; i++) {
    const client = await connectLocal(sink.data)
    let first = 0
    times.push(await seconds(async () => {
      const start = performance.now()
      const { body } = await client.download(objectPath('copies-1', `file-${i}`))
      for await (const piece of body) if (first === 0 && piece.byteLength > 0) first = (performance.now() - start) / 1000
    }))
    firsts.push(first)
    client.close()
  }
  const endToEnd = median(times)
  figure('dfs get, capacity 0, cold, end to end', mib(sizeBytes) / endToEnd, 'MiB/s', { ratio: rawSeconds / endToEnd, against: 'raw', target: '≥ 0.6' })
  figure('first byte at the API', median(firsts) * 1000, 'ms', { target: '< 50' })

  await sink.stop('SIGTERM')
  const engine: Array<{ seconds: number, firstSeconds: number, bytes: number, fromPeers: number, peakBytes: number }> = []
  for (let i = 0; i < rounds; i++) engine.push(JSON.parse((await run(process.execPath, [join(here, 'engine-get.ts'), sink.data, listen?.replace(/\/p2p\/.*/, '') ?? '', 'copies-1', `file-${i}`])).stdout) as never)
  const cold = median(engine.map((of) => of.seconds))
  figure('our fetch, cold, engine to engine', mib(sizeBytes) / cold, 'MiB/s', { ratio: rawSeconds / cold, against: 'raw', target: '≥ 0.8' })
  figure('block bytes fetched / bytes of payload', (engine[0]?.fromPeers ?? 0) / (engine[0]?.bytes ?? 1), '', { target: '≤ 1.01' })
  await sink.start()
}

/** What sealing costs of the time that the bytes take on a bare stream. */
async function sealing (rawSeconds: number): Promise<void> {
  const keys = new ClusterKeys({ clusterId: new Uint8Array(16), names: new Uint8Array(32), epochs: new Map([[1, new Uint8Array(32)]]) })
  const payload = new Uint8Array(randomBytes(1024 ** 2))
  const target = new Uint8Array(payload.byteLength)
  const count = Math.round(mib(sizeBytes))
  const secret = { kind: 'convergent', key: keys.domain(1, new Uint8Array(16)).convergence } as const
  const copy = await median3(async () => { for (let i = 0; i < count; i++) target.set(payload) })
  const cipher = await median3(async () => { for (let i = 0; i < count; i++) { const gcm = createCipheriv('aes-256-gcm', Buffer.alloc(32, i), Buffer.alloc(12)); for (let at = 0; at < payload.byteLength; at += 16_384) gcm.update(payload.subarray(at, at + 16_384)); gcm.final() } })
  const whole = await median3(async () => { for (let i = 0; i < count; i++) sealBlock({ type: 'data', flag: 'plain', epoch: 1, payload, secret }) })
  figure('sealing and addressing, one core', mib(sizeBytes) / whole, 'MiB/s', { ratio: copy / whole, against: 'memcpy' })
  figure('encryption alone, share of a raw transfer', cipher / rawSeconds * 100, '%', { target: '< 5' })
  figure('sealing and addressing, share of a raw transfer', whole / rawSeconds * 100, '%', { target: '< 15' })
}

async function smallObjects (client: LocalClient): Promise<void> {
  const content = randomBytes(4096)
  const put = async (key: string): Promise<void> => { await client.upload(objectPath('small', key), Readable.from([content]), { headers: { 'content-length': '4096' } }) }
  const get = async (key: string): Promise<void> => { for await (const _piece of (await client.download(objectPath('small', key))).body) { /* to nowhere */ } }
  for (const [name, act] of [['put', put], ['got', get]] as const) {
    for (const inFlight of [1, 32]) {
      const times: number[] = []
      const count = inFlight === 1 ? 300 : 3000
      let next = 0
      const total = await seconds(async () => {
        await Promise.all(Array.from({ length: inFlight }, async () => {
          for (let i = next++; i < count; i = next++) times.push(await seconds(async () => act(`${inFlight}/${i}`)))
        }))
      })
      figure(`4 KiB objects ${name}, ${inFlight} in flight`, count / total, '/s', name === 'put' && inFlight === 32 ? { target: '≥ 1,000' } : {})
      const sorted = times.toSorted((a, b) => a - b)
      figure('  p50, p99', (sorted[times.length >> 1] ?? 0) * 1000, 'ms', { ratio: (sorted[Math.floor(times.length * 0.99)] ?? 0) / (sorted[times.length >> 1] ?? 1), against: 'p50 is p99' })
    }
  }
}

async function deduplication (client: LocalClient, nodes: readonly LocalNode[], file: string): Promise<void> {
  const held = async (): Promise<number> => {
    let bytes = 0
    for (const node of nodes) { const of = await connectLocal(node.data); bytes += (await of.json<NodeStatus>('GET', '/v1/status')).blocks.bytes; of.close() }
    return bytes
  }
  const content = (await readFile(file)).subarray(0, 100 * 1024 ** 2)
  const upload = async (key: string, pieces: Uint8Array[]): Promise<number> => {
    const before = await held()
    await client.upload(objectPath('copies-1', key), Readable.from(pieces))
    return await held() - before
  }
  const first = await upload('dedup-1', [content])
  figure('the same 100 MiB again: more on disk', await upload('dedup-2', [content]) / first * 100, '%', { target: '< 1' })
  figure('100 bytes inserted at its front: more on disk (content)', await upload('dedup-3', [randomBytes(100), content]) / first * 100, '%', { target: '< 3' })
}
