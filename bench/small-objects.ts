import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Bench } from './bench.ts'
import { drain, percentile, secondsOf } from './measure.ts'
import { type BenchNodes, get, put } from './nodes.ts'

const objectBytes = 4096
const oneByOneShare = 10

/** Objects of 4 KiB on three nodes, all put and got through one: with 1 and with 32 in flight. */
export async function smallObjects ({ report, count }: Bench, nodes: BenchNodes): Promise<void> {
  const client = await nodes.client(0)
  const content = randomBytes(objectBytes)
  const acts = {
    put: async (key: string) => put(client, { bucket: 'copies-3', key, source: Readable.from([content]), sizeBytes: objectBytes }),
    got: async (key: string) => drain(await get(client, { bucket: 'copies-3', key })),
  }
  for (const inFlight of [1, 32]) {
    const objects = inFlight === 1 ? Math.ceil(count / oneByOneShare) : count
    for (const [name, act] of Object.entries(acts)) {
      const times: number[] = []
      let next = 0
      const worker = async (): Promise<void> => {
        for (let i = next++; i < objects; i = next++) times.push(await secondsOf(async () => act(`small/${inFlight}/${i}`)))
      }
      const seconds = await secondsOf(async () => Promise.all(Array.from({ length: inFlight }, worker)))
      const what = `4 KiB objects ${name}, ${inFlight} in flight`
      report.add(what, objects / seconds, '/s', name === 'put' && inFlight === 32 ? { target: { atLeast: 1000 } } : {})
      report.add(`${what}, p50`, percentile(times, 0.5) * 1000, 'ms')
      report.add(`${what}, p99`, percentile(times, 0.99) * 1000, 'ms')
    }
  }
}
