import { until } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { inTurns, medianOf, mib, noise, secondsOf, speedAgainst } from './measure.ts'
import { type BenchNodes, put } from './nodes.ts'

/** New content through one of three nodes, with 1, 2 and 3 holders. */
export async function puts ({ report, rounds, sizeBytes, secondsPerByte }: Bench, nodes: BenchNodes): Promise<void> {
  const client = await nodes.client(0)
  const copies = (count: number) => async (round: number): Promise<{ seconds: number }> =>
    ({ seconds: await secondsOf(async () => put(client, { bucket: `copies-${count}`, key: `put-${round}`, source: noise(sizeBytes), sizeBytes })) })
  const samples = await inTurns(rounds, { '1 copy': copies(1), '2 copies': copies(2), '3 copies': copies(3) })
  for (const [name, of] of Object.entries(samples)) {
    report.add(`put, ${name}`, mib(sizeBytes) / medianOf(of), 'MiB/s', name === '1 copy' ? {} : { ratio: speedAgainst(samples['1 copy'], of), against: 'one copy' })
  }
  secondsPerByte.put = medianOf(samples['1 copy']) / sizeBytes

  const [heldBefore, sentBefore] = [await nodes.heldBytes(), await nodes.sentBetweenNodes()]
  await put(client, { bucket: 'copies-3', key: 'wire', source: noise(sizeBytes), sizeBytes })
  // a put is acknowledged at its quorum: the last copy is on its way
  await until('all three copies are held', 60_000, async () => await nodes.heldBytes() - heldBefore >= sizeBytes * 3)
  const remoteCopies = 2
  report.add('bytes sent by all nodes / bytes of two remote copies, put', (await nodes.sentBetweenNodes() - sentBefore) / (sizeBytes * remoteCopies), '', { target: { atMost: 1.01 } })
}
