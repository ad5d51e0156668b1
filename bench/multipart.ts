import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecretAccessKey } from '../src/objects/index.ts'
import type { Bench } from './bench.ts'
import { inTurns, medianOf, mebibyte, mib, noise, secondsOf, speedAgainst, type Timed } from './measure.ts'
import type { BenchNodes } from './nodes.ts'
import { rivalIn } from './s3.ts'
import { S3 } from './s3-client.ts'

const bucket = 'copies-1'
const atOnce = 4
const partBytes = 8 * mebibyte
const copiedPartBytes = 64 * mebibyte
/** Of 5 MiB, all alike: their blocks are there already, so that the rows are what is measured. */
const many = { parts: 500, bytes: 5 * mebibyte } as const

/** Uploads in parts through S3: through one node and through two against one put, copied parts, and the completion of many. */
export async function multipart (bench: Bench, nodes: BenchNodes): Promise<void> {
  const { report, rounds, sizeBytes } = bench
  const [key = { id: '', secret: '' }] = await nodes.node(0).json<SecretAccessKey>(['key', 'create', 'bench-parts'])
  const servers = [0, 1].map((index) => new S3(nodes.node(index).ready?.endpoints.s3 ?? '', key, bucket)) as [S3, S3]
  const [one] = servers
  const theirs = await rivalIn(await mkdtemp(join(bench.folder, 's3rver-')), (why) => { report.note(`!!! S3RVER IS NOT MEASURED: ${why}`) })
  try {
    const large = await inTurns(rounds, {
      put: async (round) => timed(async () => one.put(`parts/whole-${round}`, noise(sizeBytes), sizeBytes)),
      throughOne: async (round) => timed(async () => upload(`parts/one-${round}`, [one], sizeBytes)),
      throughTwo: async (round) => timed(async () => upload(`parts/two-${round}`, servers, sizeBytes)),
      ...(theirs === undefined ? {} : { theirs: async (round: number) => timed(async () => upload(`parts/theirs-${round}`, [theirs.s3], sizeBytes)) }),
      copied: async (round) => timed(async () => copy(one, { from: `parts/whole-${round}`, to: `parts/copied-${round}`, sizeBytes })),
    })
    const rate = (samples: readonly Timed[]): number => mib(sizeBytes) / medianOf(samples)
    report.add(`put of ${mib(sizeBytes)} MiB through S3 in parts of 8 MiB, ${atOnce} at once, one copy`, rate(large.throughOne), 'MiB/s', { ratio: speedAgainst(large.put, large.throughOne), against: 'one put' })
    if (large.theirs !== undefined) report.add('the same beside another S3 server, which never syncs', rate(large.throughOne), 'MiB/s', { ratio: speedAgainst(large.theirs, large.throughOne), against: 's3rver' })
    report.add(`the same through two nodes at once, ${atOnce} each`, rate(large.throughTwo), 'MiB/s', { ratio: speedAgainst(large.throughOne, large.throughTwo), against: 'one node' })
    report.add(`copy of ${mib(sizeBytes)} MiB in parts of 64 MiB, read for their MD5s, blocks shared`, rate(large.copied), 'MiB/s', { ratio: speedAgainst(large.put, large.copied), against: 'one put' })
    const content = randomBytes(many.bytes)
    const { uploadId, etags } = await partsOf('parts/many', [one], Array.from({ length: many.parts }, () => [content]), many.bytes)
    report.add(`completion of ${many.parts} parts of 5 MiB`, await secondsOf(async () => one.complete('parts/many', uploadId, etags)) * 1000, 'ms')
  } finally {
    for (const server of servers) server.close()
    await theirs?.end()
  }
}

const timed = async (act: () => Promise<unknown>): Promise<Timed> => ({ seconds: await secondsOf(act) })

async function upload (key: string, servers: readonly S3[], sizeBytes: number): Promise<void> {
  const count = Math.ceil(sizeBytes / partBytes)
  const { uploadId, etags } = await partsOf(key, servers, Array.from({ length: count }, () => noise(partBytes)), partBytes)
  await (servers.at(-1) as S3).complete(key, uploadId, etags)
}

async function partsOf (key: string, servers: readonly S3[], sources: ReadonlyArray<Iterable<Uint8Array> | AsyncIterable<Uint8Array>>, bytes: number): Promise<{ uploadId: string, etags: string[] }> {
  const uploadId = await (servers[0] as S3).begin(key)
  const etags: string[] = []
  let next = 0
  await Promise.all(servers.flatMap((server) => Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < sources.length; i = next++) etags[i] = await server.putPart(key, uploadId, i + 1, sources[i] ?? [], bytes)
  })))
  return { uploadId, etags }
}

async function copy (server: S3, { from, to, sizeBytes }: { from: string, to: string, sizeBytes: number }): Promise<void> {
  const uploadId = await server.begin(to)
  const etags: string[] = []
  for (let at = 0; at < sizeBytes; at += copiedPartBytes) etags.push(await server.copyPart(to, uploadId, etags.length + 1, from, { first: at, last: Math.min(sizeBytes, at + copiedPartBytes) - 1 }))
  await server.complete(to, uploadId, etags)
}
