import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
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

/** Of one object, and of `atOnce` together. */
const hugeBytes = 1024 * mebibyte

/** One object of 1 GiB, then as much in eight at once, beside another S3 server, through node 1; one round, for it takes minutes. */
export async function s3Large (bench: Bench, nodes: BenchNodes): Promise<void> {
  await beside(bench, nodes, async ({ ours, theirs }) => {
    const servers = Object.entries({ ours, theirs }).flatMap(([name, server]) => server === undefined ? [] : [[name, server] as const])
    const contenders = Object.fromEntries(servers.flatMap(([name, server]) => [
      [`put ${name}`, async () => timed(async () => server.put('huge/one', noise(hugeBytes), hugeBytes))],
      [`get ${name}`, async () => timed(async () => server.get('huge/one'))],
      [`puts ${name}`, async () => timed(async () => Promise.all(each(atOnce, async (i) => server.put(`huge/eighth-${i}`, noise(hugeBytes / atOnce), hugeBytes / atOnce))))],
      [`gets ${name}`, async () => timed(async () => Promise.all(each(atOnce, async (i) => server.get(`huge/eighth-${i}`))))],
    ] as const))
    const taken = await inTurns(1, contenders)
    for (const [way, what] of [['put', 'put of 1 GiB through S3'], ['get', 'get of 1 GiB'], ['puts', `put of ${atOnce} at once, 1 GiB together`], ['gets', `get of ${atOnce} at once, 1 GiB together`]] as const) {
      const [own = [], other] = [taken[`${way} ours`], taken[`${way} theirs`]]
      bench.report.add(what, mib(hugeBytes) / medianOf(own), 'MiB/s', other === undefined ? {} : { ratio: speedAgainst(other, own), against: 's3rver' })
    }
  })
}

/** A list of many, in pages of 1,000, beside another S3 server; the objects are of 100 bytes, put through all nodes. Of the other one a few pages tell, for each takes seconds. */
export async function s3List (bench: Bench, nodes: BenchNodes): Promise<void> {
  const { report, listed } = bench
  await beside(bench, nodes, async ({ ours, theirs, key }) => {
    const doors = [...nodes.all.keys()].map((index) => new S3(nodes.node(index).ready?.endpoints.s3 ?? '', key, bucket))
    const content = randomBytes(100)
    const fill = async (through: readonly S3[]): Promise<number> => secondsOf(async () => inFlight(64, listed, async (i) => (through[i % through.length] ?? ours).put(listedKey(i), [content], content.byteLength)))
    report.add(`${listed} objects of 100 bytes put through ${doors.length} nodes, 64 in flight`, listed / await fill(doors), '/s')
    for (const door of doors) door.close()
    let found = 0
    const seconds = await secondsOf(async () => { found = await ours.list('listed/') })
    if (found !== listed) throw new Error(`${found} objects of ${listed} were listed`)
    report.add(`list of ${listed} objects, pages of 1,000`, listed / seconds, 'keys/s')
    const page = seconds / Math.ceil(listed / 1000)
    let against: { ratio: number, against: string } | undefined
    if (theirs !== undefined) {
      try {
        await fill([theirs])
        const theirPage = await secondsOf(async () => theirs.list('listed/', { pages: theirPages })) / Math.min(theirPages, Math.ceil(listed / 1000))
        against = { ratio: theirPage / page, against: 's3rver' }
      } catch (error) {
        report.note(`!!! S3RVER DOES NOT TAKE AND LIST THEM: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    report.add('a page of it', page * 1000, 'ms', against)
  })
}

const theirPages = 3
const listedKey = (i: number): string => `listed/${String(i).padStart(8, '0')}`

/** Both servers, each by the same client. */
async function beside ({ report, folder }: Bench, nodes: BenchNodes, act: (servers: { ours: S3, theirs: S3 | undefined, key: SecretAccessKey }) => Promise<void>): Promise<void> {
  const [key] = await nodes.node(0).json<SecretAccessKey>(['key', 'create', 'bench'])
  if (key === undefined) throw new Error('no key was made')
  const ours = new S3(nodes.node(0).ready?.endpoints.s3 ?? '', key, bucket)
  const rival = await rivalIn(await mkdtemp(join(folder, 's3rver-')), (why) => { report.note(`!!! S3RVER IS NOT MEASURED: ${why}`) })
  try {
    await act({ ours, theirs: rival?.s3, key })
  } finally {
    ours.close()
    await rival?.end()
  }
}

/** The S3 face of node 1 against the same node's local API, and against another S3 server in the same run, by one client that signs as presigned URLs are signed. */
export async function s3 (bench: Bench, nodes: BenchNodes): Promise<void> {
  const { report, rounds, sizeBytes, count } = bench
  const local = await nodes.client(0)
  await beside(bench, nodes, async ({ ours, theirs }) => {
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
  })
}

const bucket = 'copies-1'
const each = <T>(times: number, act: (i: number) => T): T[] => Array.from({ length: times }, (_, i) => act(i))
const timed = async (act: () => Promise<unknown>): Promise<Timed> => ({ seconds: await secondsOf(act) })

async function many (report: Bench['report'], name: string, server: S3, { bytes, count, inFlight: most }: { bytes: number, count: number, inFlight: number }): Promise<void> {
  const content = randomBytes(bytes)
  for (const [what, act] of [['put', async (i: number) => server.put(`${name}/${String(i).padStart(8, '0')}`, [content], bytes)], ['got', async (i: number) => server.get(`${name}/${String(i).padStart(8, '0')}`)]] as const) {
    const times: number[] = []
    const seconds = await secondsOf(async () => inFlight(most, count, async (i) => { times.push(await secondsOf(async () => act(i))) }))
    report.add(`${name} objects ${what}, ${most} in flight`, count / seconds, '/s')
    report.add(`${name} objects ${what}, ${most} in flight, p99`, percentile(times, 0.99) * 1000, 'ms')
  }
}

/** `act` of 0 to `count` - 1, at most so many at once. */
async function inFlight (most: number, count: number, act: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(each(most, async () => { for (let i = next++; i < count; i = next++) await act(i) }))
}

/** Its continuation tokens are made with a cipher that OpenSSL counts as legacy. */
export async function rivalIn (folder: string, tell: (why: string) => void): Promise<{ s3: S3, end: () => Promise<void> } | undefined> {
  const missing = installed('s3rver')
  if (missing !== undefined) { tell(missing); return undefined }
  const launched: Launched<{ port: number }> = launch(process.execPath, ['--disable-warning=DEP0187', '--no-deprecation', '--openssl-legacy-provider', program, folder])
  const { port } = await launched.answer
  const s3 = new S3(`http://127.0.0.1:${port}`, { id: 'S3RVER', secret: 'S3RVER' }, bucket)
  return { s3, end: async () => { s3.close(); await launched.end() } }
}
