import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecretAccessKey } from '../src/objects/index.ts'
import type { Bench } from './bench.ts'
import { inTurns, medianOf, mebibyte, mib, noise, percentile, secondsOf, speedAgainst, type Timed } from './measure.ts'
import { type BenchNodes, get, put } from './nodes.ts'
import { launch, type Launched } from './processes.ts'
import { installed } from './rivals.ts'
import { S3 } from './s3-client.ts'

const program = join(import.meta.dirname, 's3rver', 'server.ts')
const atOnce = 8
const smallBytes = 4096
const smallInFlight = 32
/** Of 1 MiB. */
const middling = { count: 64, inFlight: 8 } as const

/** The S3 face of node 1 against the same node's local API, and against another S3 server in the same run, by one client that signs as presigned URLs are signed. */
export async function s3 ({ report, rounds, sizeBytes, count, folder }: Bench, nodes: BenchNodes): Promise<void> {
  const [key] = await nodes.node(0).json<SecretAccessKey>(['key', 'create', 'bench'])
  const ours = new S3(nodes.node(0).ready?.endpoints.s3 ?? '', key ?? { id: '', secret: '' }, bucket)
  const local = await nodes.client(0)
  const rival = await rivalIn(join(folder, 's3rver'), (why) => { report.note(`!!! S3RVER IS NOT MEASURED: ${why}`) })
  try {
    const theirs = rival?.s3
    const large = await inTurns(rounds, {
      localPut: async (round) => timed(async () => { await put(local, { bucket, key: `s3/local-${round}`, source: noise(sizeBytes), sizeBytes }) }),
      ourPut: async (round) => timed(async () => ours.put(`s3/large-${round}`, noise(sizeBytes), sizeBytes)),
      ...(theirs === undefined ? {} : { theirPut: async (round: number) => timed(async () => theirs.put(`s3/large-${round}`, noise(sizeBytes), sizeBytes)) }),
      localGet: async (round) => timed(async () => { for await (const _ of await get(local, { bucket, key: `s3/large-${round}` })); }),
      ourGet: async (round) => timed(async () => ours.get(`s3/large-${round}`)),
      ...(theirs === undefined ? {} : { theirGet: async (round: number) => timed(async () => theirs.get(`s3/large-${round}`)) }),
      ourPuts: async (round) => timed(async () => Promise.all(each(atOnce, async (i) => ours.put(`s3/eighth-${round}-${i}`, noise(sizeBytes / atOnce), sizeBytes / atOnce)))),
      ourGets: async (round) => timed(async () => Promise.all(each(atOnce, async (i) => ours.get(`s3/eighth-${round}-${i}`)))),
    }) as Readonly<Record<string, readonly Timed[]>>
    const rate = (name: string): number => mib(sizeBytes) / medianOf(large[name] ?? [])
    const against = (name: string, base: string, what: string): { ratio: number, against: string } => ({ ratio: speedAgainst(large[base] ?? [], large[name] ?? []), against: what })
    const overhead = (name: string, base: string): number => 1 / speedAgainst(large[base] ?? [], large[name] ?? [])
    report.add(`put of ${mib(sizeBytes)} MiB through S3, one copy`, rate('ourPut'), 'MiB/s', theirs === undefined ? {} : against('ourPut', 'theirPut', 's3rver, which never syncs'))
    report.add(`get of ${mib(sizeBytes)} MiB through S3`, rate('ourGet'), 'MiB/s', theirs === undefined ? {} : against('ourGet', 'theirGet', 's3rver'))
    report.add(`put of ${atOnce} at once, together as much`, rate('ourPuts'), 'MiB/s', against('ourPuts', 'ourPut', 'one'))
    report.add(`get of ${atOnce} at once, together as much`, rate('ourGets'), 'MiB/s', against('ourGets', 'ourGet', 'one'))
    report.add('time of a put through S3 / through the local API', overhead('ourPut', 'localPut'), '', { target: { atMost: 1.3 } })
    report.add('time of a get through S3 / through the local API', overhead('ourGet', 'localGet'), '', { target: { atMost: 1.3 } })
    for (const [name, server] of [['', ours], ...(theirs === undefined ? [] : [[', s3rver', theirs] as const])] as const) {
      await many(report, `1 MiB${name}`, server, { bytes: mebibyte, ...middling })
      await many(report, `4 KiB${name}`, server, { bytes: smallBytes, count, inFlight: smallInFlight })
      const listed = await secondsOf(async () => { const found = await server.list(`4 KiB${name}/`); if (found !== count) throw new Error(`${found} objects of ${count} were listed`) })
      report.add(`list of ${count} objects, pages of 1,000${name}`, count / listed, 'keys/s')
    }
  } finally {
    ours.close()
    await rival?.end()
  }
}

const bucket = 'copies-1'
const each = <T>(times: number, act: (i: number) => T): T[] => Array.from({ length: times }, (_, i) => act(i))
const timed = async (act: () => Promise<unknown>): Promise<Timed> => ({ seconds: await secondsOf(act) })

async function many (report: Bench['report'], name: string, server: S3, { bytes, count, inFlight }: { bytes: number, count: number, inFlight: number }): Promise<void> {
  const content = randomBytes(bytes)
  for (const [what, act] of [['put', async (i: number) => server.put(`${name}/${String(i).padStart(8, '0')}`, [content], bytes)], ['got', async (i: number) => server.get(`${name}/${String(i).padStart(8, '0')}`)]] as const) {
    const times: number[] = []
    let next = 0
    const seconds = await secondsOf(async () => Promise.all(each(inFlight, async () => { for (let i = next++; i < count; i = next++) times.push(await secondsOf(async () => act(i))) })))
    report.add(`${name} objects ${what}, ${inFlight} in flight`, count / seconds, '/s')
    report.add(`${name} objects ${what}, ${inFlight} in flight, p99`, percentile(times, 0.99) * 1000, 'ms')
  }
}

async function rivalIn (folder: string, tell: (why: string) => void): Promise<{ s3: S3, end: () => Promise<void> } | undefined> {
  const missing = installed('s3rver')
  if (missing !== undefined) { tell(missing); return undefined }
  await mkdir(folder, { recursive: true })
  const launched: Launched<{ port: number }> = launch(process.execPath, ['--disable-warning=DEP0187', '--no-deprecation', program, folder])
  const { port } = await launched.answer
  const s3 = new S3(`http://127.0.0.1:${port}`, { id: 'S3RVER', secret: 'S3RVER' }, bucket)
  return { s3, end: async () => { s3.close(); await launched.end() } }
}
