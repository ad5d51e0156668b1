import { createWriteStream } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { dfsPath } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { engineGet } from './fetch.ts'
import { inTurns, median, medianOf, mib, noise, speedAgainst, type Timed } from './measure.ts'
import type { BenchNodes } from './nodes.ts'
import { type Ended, launch, type Launched, measured } from './processes.ts'
import { installed } from './rivals.ts'

const here = import.meta.dirname
const program = join(here, 'helia', 'node.ts')
/** The best of 1, 4, 8, 16 and 64 where it was tried; as it ships it asks for all blocks of a file at once. */
const tunedConcurrency = 8

interface Fetched { readonly seconds: number, readonly firstSeconds: number, readonly bytes: number, readonly peakBytes: number }
interface Added { readonly seconds: number, readonly cid: string, readonly address: string }

/** The same file added and fetched cold by Helia, on disk, process to process over loopback, in turns with ours; both keep what they fetched on disk. */
export async function helia ({ report, rounds, sizeBytes, folder }: Bench, nodes: BenchNodes): Promise<void> {
  const missing = installed('helia')
  if (missing !== undefined) {
    report.note(`!!! HELIA IS NOT MEASURED: ${missing}`)
    return
  }
  const flags = await nodes.v8Flags()
  const file = join(folder, 'file')
  const provider: { process?: Launched<Added>, added?: Added, readonly ends: Ended[] } = { ends: [] }
  const end = async (): Promise<void> => {
    if (provider.process !== undefined) provider.ends.push(await provider.process.end())
    provider.process = undefined
  }
  const fetch = (...options: string[]) => async (): Promise<Fetched> => {
    const to = join(folder, 'helia-fetched')
    const fetched = await measured<Omit<Fetched, 'peakBytes'>>([], [program, 'get', to, provider.added?.address ?? '', provider.added?.cid ?? '', ...options])
    await rm(to, { recursive: true })
    if (fetched.bytes !== sizeBytes) throw new Error(`Helia fetched ${fetched.bytes} bytes of ${sizeBytes}`)
    return fetched
  }
  try {
    const samples = await inTurns(rounds, {
      ourPut: async (round) => {
        await pipeline(noise(sizeBytes), createWriteStream(file))
        return launch(dfsPath, ['put', file, `copies-1/beside-helia-${round}`, '--data', nodes.node(0).data], { output: 'ignore' }).ended
      },
      add: async (round) => {
        await end()
        provider.process = launch<Added>(process.execPath, [program, 'add', join(folder, `helia-${round}`), file])
        return provider.added = await provider.process.answer
      },
      ourGet: async (round) => engineGet(nodes, flags, { bucket: 'copies-1', key: `beside-helia-${round}`, cache: '1GiB' }),
      shipped: fetch(),
      tuned: fetch(String(tunedConcurrency)),
    })
    await end()

    const rate = (of: readonly Timed[]): number => mib(sizeBytes) / medianOf(of)
    const first = (of: readonly Fetched[]): number => median(of.map(({ firstSeconds }) => firstSeconds)) * 1000
    report.note(`Helia ${await version()}, its own V8 flags (none)`)
    report.add('Helia fetch, as it ships', rate(samples.shipped), 'MiB/s')
    report.add(`Helia fetch, ${tunedConcurrency} blocks at once`, rate(samples.tuned), 'MiB/s')
    report.add('our fetch beside it, against Helia as it ships', rate(samples.ourGet), 'MiB/s', { ratio: speedAgainst(samples.shipped, samples.ourGet), against: 'Helia', target: { atLeast: 3 } })
    report.add(`our fetch beside it, against ${tunedConcurrency} blocks at once`, rate(samples.ourGet), 'MiB/s', { ratio: speedAgainst(samples.tuned, samples.ourGet), against: 'Helia tuned', target: { atLeast: 3 } })
    report.add('Helia first byte, as it ships', first(samples.shipped), 'ms')
    report.add(`Helia first byte, ${tunedConcurrency} blocks at once`, first(samples.tuned), 'ms')
    report.add('our first byte beside it, engine', first(samples.ourGet), 'ms', { ratio: first(samples.ourGet) / first(samples.tuned), against: 'Helia tuned' })
    report.add('Helia add (neither encrypts nor syncs)', rate(samples.add), 'MiB/s')
    report.add('dfs put FILE beside it, 1 copy (encrypted, synced)', rate(samples.ourPut), 'MiB/s', { ratio: speedAgainst(samples.add, samples.ourPut), against: 'Helia' })
    report.addPeaks({ 'Helia, adding and serving': provider.ends, 'Helia, fetching, as it ships': samples.shipped, [`Helia, fetching, ${tunedConcurrency} blocks at once`]: samples.tuned, 'our engine beside it': samples.ourGet, 'dfs put': samples.ourPut })
  } finally {
    await end()
  }
}

async function version (): Promise<string> {
  return (JSON.parse(await readFile(join(here, 'node_modules', 'helia', 'package.json'), 'utf8')) as { version: string }).version
}
