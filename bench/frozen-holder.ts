import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Bench } from './bench.ts'
import { drain, median, mebibyte, noise, secondsOf } from './measure.ts'
import { type BenchNodes, get, put } from './nodes.ts'

const frozen = 2
const mostBytes = 64 * mebibyte
const smallBytes = 4096
const smallObjects = 20

/** One of three holders stopped with SIGSTOP: connected, and silent. The first node puts, the second gets with an emptied cache, before and while it is. */
export async function frozenHolder (bench: Bench, nodes: BenchNodes): Promise<void> {
  const [writer, reader] = [await nodes.client(0), await nodes.client(1)]
  const sizeBytes = Math.min(bench.sizeBytes, mostBytes)
  await put(writer, { bucket: 'copies-2', key: 'frozen/read', source: noise(sizeBytes), sizeBytes })
  const small = (i: number): { bucket: string, key: string } => ({ bucket: 'copies-3', key: `frozen/small/${i}` })
  let written = 0
  const acts = {
    'put, 3 copies': async () => secondsOf(async () => put(writer, { bucket: 'copies-3', key: `frozen/${written++}`, source: noise(sizeBytes), sizeBytes })),
    'get, 2 copies': async () => {
      await reader.json('DELETE', '/v1/cache')
      return secondsOf(async () => drain(await get(reader, { bucket: 'copies-2', key: 'frozen/read' })))
    },
    'put of 4 KiB, p50': async () => ofSmall(async (i) => put(writer, { ...small(i), source: Readable.from([randomBytes(smallBytes)]), sizeBytes: smallBytes })),
    'get of 4 KiB, p50': async () => ofSmall(async (i) => drain(await get(reader, small(i)))),
  }
  for (const act of Object.values(acts)) await act() // what runs first is slow by being first
  const times = Object.keys(acts).map(() => ({ normal: [] as number[], stopped: [] as number[] }))
  for (let round = 0; round < bench.rounds; round++) {
    for (const [i, act] of Object.values(acts).entries()) times[i]?.normal.push(await act())
    nodes.node(frozen).freeze()
    try {
      for (const [i, act] of Object.values(acts).entries()) times[i]?.stopped.push(await act())
    } finally {
      nodes.node(frozen).thaw()
    }
    await nodes.connected()
  }
  for (const [i, name] of Object.keys(acts).entries()) {
    const { normal = [], stopped = [] } = times[i] ?? {}
    const ratio = median(stopped.map((seconds, round) => seconds / (normal[round] ?? Number.NaN)))
    bench.report.add(`one holder stopped: ${name}`, median(stopped) * 1000, 'ms', { ratio, against: 'normal time', target: { atMost: 1.5 } })
  }
}

async function ofSmall (act: (i: number) => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < smallObjects; i++) times.push(await secondsOf(async () => act(i)))
  return median(times)
}
