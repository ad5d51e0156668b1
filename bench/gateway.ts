import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connectLocal } from '../src/client/index.ts'
import type { SecretAccessKey } from '../src/objects/index.ts'
import type { Bench } from './bench.ts'
import type { Spent, Task } from './engine-and-doors.ts'
import { inTurns, median, mib, noise } from './measure.ts'
import { BenchNodes, get, put } from './nodes.ts'
import { S3 } from './s3-client.ts'

const program = join(import.meta.dirname, 'engine-and-doors.ts')
const bucket = 'copies-1'

/**
 * What a door costs: a node puts and gets by its engine alone, through the local API and through S3, in turns, in one process. First with one copy on its own disk, which is all
 * that its engine can do least; then from engine to engine, as in a cluster: the node holds nothing, the one copy lies with three others.
 * Processor time of that process, its threads among it, is compared: a client in another process beside it takes the machine's time, not the node's. So is the time
 * itself, which is what users feel: digests are taken on a thread of their own, and a client makes its next bytes while the node is at the last ones.
 */
export async function gateway (bench: Bench): Promise<void> {
  {
    await using nodes = await BenchNodes.start(join(bench.folder, 'gateway'), { holders: 1 })
    await doorsOf(nodes, 0, { ...bench, from: 'own disk' })
  }
  await using nodes = await BenchNodes.start(join(bench.folder, 'gateway-among-others'), { holders: 3, readers: 1 })
  await doorsOf(nodes, 3, { ...bench, from: 'three others' })
}

/** The index-th node ends, and runs once more in a process that does as it is told. */
async function doorsOf (nodes: BenchNodes, index: number, { report, rounds, sizeBytes, from }: Bench & { readonly from: string }): Promise<void> {
  const { data } = nodes.node(index)
  const [key] = await nodes.node(index).json<SecretAccessKey>(['key', 'create', 'bench'])
  if (key === undefined) throw new Error('no key was made')
  const flags = await nodes.v8Flags()
  await nodes.node(index).stop()
  await using node = await EngineAndDoors.start(flags, data, { holdsNothing: index > 0 })
  const s3 = new S3(node.s3, key, bucket)
  const local = await connectLocal(data)
  const sourceOf = (seed: Uint8Array): AsyncIterable<Uint8Array> => noise(sizeBytes, { seed })
  const large = await inTurns(rounds, {
    rest: async () => node.during(async () => new Promise((resolve) => { setTimeout(resolve, restMs) })),
    enginePut: async (round) => node.ask({ kind: 'put', bucket, key: `engine-${round}`, sizeBytes }),
    localPut: async (round) => node.during(async () => put(local, { bucket, key: `local-${round}`, source: noise(sizeBytes), sizeBytes })),
    unsignedPut: async (round) => node.during(async () => s3.put(`s3-${round}`, noise(sizeBytes), sizeBytes)),
    signedPut: async (round) => s3.putSigned(`signed-${round}`, sourceOf, sizeBytes, async (act) => node.during(act)),
    chunksPut: async (round) => s3.putInChunks(`chunks-${round}`, { isSigned: true, hasTrailer: false, sourceOf, sizeBytes }, async (act) => node.during(act)),
    trailerPut: async (round) => s3.putInChunks(`trailer-${round}`, { isSigned: false, hasTrailer: true, sourceOf, sizeBytes }, async (act) => node.during(act)),
    signedTrailerPut: async (round) => s3.putInChunks(`signed-trailer-${round}`, { isSigned: true, hasTrailer: true, sourceOf, sizeBytes }, async (act) => node.during(act)),
    engineGet: async (round) => node.ask({ kind: 'get', bucket, key: `engine-${round}`, sizeBytes }),
    localGet: async (round) => node.during(async () => { for await (const _ of await get(local, { bucket, key: `local-${round}` })); }),
    s3Get: async (round) => node.during(async () => s3.get(`s3-${round}`)),
  })
  local.close()
  s3.close()
  for (const [way, engine, doors] of [
    ['put', large.enginePut, { 'the local API': large.localPut, 'S3, body unsigned': large.unsignedPut, 'S3, body hashed': large.signedPut, 'S3, chunks of 64 KiB signed': large.chunksPut, 'S3, unsigned chunks and a trailer': large.trailerPut, 'S3, signed chunks and a trailer': large.signedTrailerPut }],
    ['get', large.engineGet, { 'the local API': large.localGet, S3: large.s3Get }],
  ] as const) {
    for (const { what, of } of measures) {
      const perMib = (samples: readonly Spent[]): number => median(samples.map(of)) * 1000 / mib(sizeBytes)
      const against = (samples: readonly Spent[]): number => median(samples.map((spent, round) => of(spent) / of(engine[round] ?? nothing)))
      report.add(`${what} of a ${way} by the engine, ${from}`, perMib(engine), 'ms/MiB')
      for (const [door, samples] of Object.entries(doors)) report.add(`the same through ${door}`, perMib(samples), 'ms/MiB', { ratio: against(samples), against: 'engine', ...(door.startsWith('S3') ? { target: { atMost: 1.3 } } : {}) })
    }
  }
  report.add(`processor time of a second at rest, ${from}`, median(large.rest.map(({ seconds, cpuSeconds }) => cpuSeconds / seconds)) * 1000, 'ms/s')
}

/** What the node's process did, threads of its own among it, and how long who waits has waited. */
const measures = [
  { what: 'processor time', of: ({ cpuSeconds }: Spent) => cpuSeconds },
  { what: 'time', of: ({ seconds }: Spent) => seconds },
] as const
const nothing: Spent = { seconds: Number.NaN, cpuSeconds: Number.NaN }
const restMs = 2000

class EngineAndDoors implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly s3: string

  private constructor (child: ChildProcess, lines: AsyncIterator<string>, s3: string) {
    this.#child = child
    this.#lines = lines
    this.s3 = s3
  }

  static async start (flags: readonly string[], data: string, { holdsNothing }: { holdsNothing: boolean }): Promise<EngineAndDoors> {
    const child = spawn(process.execPath, [...flags, program, data, ...(holdsNothing ? ['0'] : [])], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const { s3 } = JSON.parse((await lines.next()).value as string) as { s3: string }
    return new EngineAndDoors(child, lines, s3)
  }

  async ask (task: Task): Promise<Spent> {
    this.#child.stdin?.write(`${JSON.stringify(task)}\n`)
    const line = await this.#lines.next()
    if (line.done === true) throw new Error('the process ended')
    return JSON.parse(line.value) as Spent
  }

  /** What it spends while somebody uses its doors. */
  async during (act: () => Promise<unknown>): Promise<Spent> {
    await this.ask({ kind: 'start' })
    await act()
    return this.ask({ kind: 'end' })
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    const ended = new Promise((resolve) => { this.#child.once('exit', resolve) })
    this.#child.kill('SIGTERM')
    await ended
  }
}
