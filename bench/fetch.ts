import { join } from 'node:path'
import { dfsPath } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { drain, inTurns, median, medianOf, mebibyte, mib, noise, speedAgainst, type Timed } from './measure.ts'
import { type BenchNodes, get, put } from './nodes.ts'
import { cpuSeconds, launch, type Launched, measured } from './processes.ts'
import type { SocketBytes } from './wire.ts'

/** The two members of capacity 0 and cache 0: one runs, one is opened by engine-get.ts. */
export const readers = { running: 3, engine: 4 } as const

export interface RawGet {
  readonly seconds: number
  /** Of the receiving process, from before the first byte to after the last. */
  readonly cpuSeconds: number
}

export interface EngineGet extends RawGet {
  readonly firstSeconds: number
  readonly bytes: number
  readonly blockBytes: number
  readonly wire: SocketBytes
  readonly peakBytes: number
}

/** The node of a data folder opened in a process of its own, which reads one object: no daemon, no API. */
export function engineGet (nodes: BenchNodes, flags: readonly string[], { bucket, key, cache = '0' }: { bucket: string, key: string, cache?: string }): Promise<EngineGet> {
  const { data, ready } = nodes.node(readers.engine)
  const listen = ready?.addresses[0]?.replace(/\/p2p\/.*/, '') ?? ''
  return measured<EngineGet>(flags, [join(import.meta.dirname, 'engine-get.ts'), data, listen, bucket, key, cache])
}

/** The same bytes over a bare stream, and fetched cold by our engine, by the command and by the API's client, in turns. */
export async function fetches ({ report, rounds, sizeBytes, secondsPerByte }: Bench, nodes: BenchNodes): Promise<void> {
  const object = { bucket: 'copies-1', key: 'fetched' }
  await put(await nodes.client(0), { ...object, source: noise(sizeBytes), sizeBytes })
  const flags = await nodes.v8Flags()
  report.note(`raw and engine run under the nodes' own V8 flags: ${flags.join(' ')}`)
  const client = await nodes.client(readers.running)
  const raw = [...flags, join(import.meta.dirname, 'raw.ts')]
  const serving = async (bytes: number): Promise<RawSender> => {
    const sender = launch<{ address: string }>(process.execPath, [...raw, 'serve', String(bytes)])
    return { ...sender, address: (await sender.answer).address }
  }
  const sender = await serving(sizeBytes)
  const thirdBytes = Math.ceil(sizeBytes / 3)
  const senders = [await serving(thirdBytes), await serving(thirdBytes), await serving(thirdBytes)]
  const received = (bytes: number, from: readonly RawSender[]) => withSenders(from.map(({ pid }) => pid), async () => measured<RawGet>(raw, ['get', String(bytes), ...from.map(({ address }) => address)]))
  const samples = await inTurns(rounds, {
    raw: received(sizeBytes, [sender]),
    'raw from three': received(thirdBytes, senders),
    engine: withSenders([0, 1, 2].map((index) => nodes.node(index).pid), async () => engineGet(nodes, flags, object)),
    command: async () => launch(dfsPath, ['get', `${object.bucket}/${object.key}`, '-', '--data', nodes.node(readers.running).data], { output: 'ignore' }).ended,
    client: async () => drain(await get(client, object)),
  })
  const rate = (of: readonly Timed[]): number => mib(sizeBytes) / medianOf(of)
  const against = (of: readonly Timed[]): { ratio: number, against: string } => ({ ratio: speedAgainst(samples.raw, of), against: 'raw' })
  report.add('raw libp2p stream, process to process', rate(samples.raw), 'MiB/s')
  report.add('raw libp2p streams, three processes to one', rate(samples['raw from three']), 'MiB/s', against(samples['raw from three']))
  report.add('our fetch, engine to engine, cold', rate(samples.engine), 'MiB/s', { ...against(samples.engine), target: { atLeast: 0.8 } })
  report.add('the same, beside as many processes', rate(samples.engine), 'MiB/s', { ratio: speedAgainst(samples['raw from three'], samples.engine), against: 'raw from three' })
  report.add('dfs get OBJECT - to the null device, cold', rate(samples.command), 'MiB/s', { ...against(samples.command), target: { atLeast: 0.6 } })
  report.add('the same object through the API\'s client, cold', rate(samples.client), 'MiB/s', { ...against(samples.client), target: { atLeast: 0.6 } })
  for (const [name, of] of Object.entries({ 'raw stream': samples.raw, 'raw streams from three': samples['raw from three'], 'our fetch': samples.engine })) {
    const perGiB = (seconds: (sample: RawGet & { readonly senderCpuSeconds: number }) => number): number => median(of.map(seconds)) / mib(sizeBytes) * 1024
    report.add(`processor time of a GiB, ${name}: receiver`, perGiB(({ cpuSeconds: own }) => own), 's')
    report.add(`processor time of a GiB, ${name}: senders together`, perGiB(({ senderCpuSeconds }) => senderCpuSeconds), 's')
  }
  const [first] = samples.engine
  if (first !== undefined) {
    report.add('bytes received over sockets / payload, engine', first.wire.received / first.bytes, '', { target: { atMost: 1.01 } })
    report.add('bytes sent over sockets / payload, engine', first.wire.sent / first.bytes, '')
    report.add('bytes of blocks fetched / payload, engine', first.blockBytes / first.bytes, '', { target: { atMost: 1.01 } })
  }
  secondsPerByte.get = medianOf(samples.engine) / sizeBytes
  for (const one of senders) await one.end()
  report.addPeaks({ 'raw stream, sending process': [await sender.end()], 'raw stream, receiving process': samples.raw, 'our engine': samples.engine, 'dfs get': samples.command })
}

type RawSender = Launched<unknown> & { readonly address: string }

/** What the senders' processes took meanwhile, beside what was measured. */
function withSenders<T> (pids: readonly (number | undefined)[], act: () => Promise<T>): () => Promise<T & { readonly senderCpuSeconds: number }> {
  const spent = (): number => pids.reduce<number>((sum, pid) => sum + cpuSeconds(pid), 0)
  return async () => {
    const before = spent()
    const result = await act()
    return { ...result, senderCpuSeconds: spent() - before }
  }
}

const firstByteObjects = 5

/** From a request at the API of a member that holds nothing to the first byte of the body: each object is read once. */
export async function firstBytes ({ report, sizeBytes }: Bench, nodes: BenchNodes): Promise<void> {
  const [writer, reader] = [await nodes.client(0), await nodes.client(readers.running)]
  const sizes = { '4 KiB': 4096, '64 KiB': 64 * 1024, '1 MiB': mebibyte, '8 MiB': 8 * mebibyte, [`${mib(sizeBytes)} MiB`]: sizeBytes }
  for (const [name, bytes] of Object.entries(sizes)) {
    const times: number[] = []
    for (let i = 0; i < firstByteObjects; i++) {
      const object = { bucket: 'copies-2', key: `first-byte/${name}/${i}` }
      await put(writer, { ...object, source: noise(bytes), sizeBytes: bytes })
      const start = performance.now()
      const body = (await get(reader, object))[Symbol.asyncIterator]()
      await body.next()
      times.push(performance.now() - start)
      await body.return?.()
    }
    report.add(`first byte at the API, cold, object of ${name}, p50`, median(times), 'ms', { target: { atMost: 50 } })
  }
}
