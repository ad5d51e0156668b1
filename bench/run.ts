import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import { deduplication } from './deduplication.ts'
import { erasure } from './erasure.ts'
import { fetches, firstBytes, readers } from './fetch.ts'
import { frozenHolder } from './frozen-holder.ts'
import { gateway } from './gateway.ts'
import { helia } from './helia.ts'
import { mebibyte } from './measure.ts'
import { BenchNodes } from './nodes.ts'
import { puts } from './put.ts'
import { Report } from './report.ts'
import { layout } from './layout.ts'
import { repair } from './repair.ts'
import { rpc } from './rpc.ts'
import { s3, s3Large, s3List } from './s3.ts'
import { multipart } from './multipart.ts'
import { scale } from './scale/scale.ts'
import { sealing } from './sealing.ts'
import { slowClients } from './slow-clients.ts'
import { smallObjects } from './small-objects.ts'
import { startUp } from './start-up.ts'

/**
 * `npm run bench`: real processes on loopback, side by side in one run, because machines are shared and absolute times prove nothing. Ratios do.
 */
const usage = `npm run bench -- [--only SECTION,…] [--size MIB] [--rounds N] [--count N] [--listed N] [--objects N] [--json FILE]

  --only      these sections (all: half an hour on two cores): %
  --size      MiB of the large file (256)
  --rounds    (3)
  --count     small objects (3000)
  --listed    objects of the long list (100000)
  --objects   of the member that has many (1000000)
  --json      writes the figures there

bench/README.md says how each figure is measured. It ends with 1 when a section failed or a target was missed, with 2 for wrong options.`

class WrongOption extends Error {}

function givenOptions () {
  try {
    return parseArgs({
      options: {
        size: { type: 'string', default: '256' },
        rounds: { type: 'string', default: '3' },
        count: { type: 'string', default: '3000' },
        objects: { type: 'string', default: '1000000' },
        listed: { type: 'string', default: '100000' },
        only: { type: 'string' },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (cause) {
    throw new WrongOption(`${(cause as Error).message}\n(npm run bench -- --help lists the options)`, { cause })
  }
}

type Section = (bench: Bench, nodes: BenchNodes) => Promise<void>

/** On three nodes, all of them holders. */
const onThree: Readonly<Record<string, Section>> = { 'start-up': startUp, small: smallObjects, put: puts, s3, 's3-large': s3Large, multipart, dedup: deduplication, rpc, frozen: frozenHolder, 's3-list': s3List }
/** On three holders and two members that hold nothing. */
const onReaders: Readonly<Record<string, Section>> = { fetch: fetches, 'first-byte': firstBytes, helia }
/** In this process, or on nodes of their own. */
const alone: Readonly<Record<string, (bench: Bench) => Promise<void>>> = { gateway, 'slow-clients': slowClients, sealing, erasure, layout, scale, repair }

const names = [...Object.keys(onThree), ...Object.keys(onReaders), ...Object.keys(alone)]

async function main (): Promise<void> {
  const values = givenOptions()
  if (values.help) { console.log(usage.replace('%', names.join(' '))); return }
  const wanted = values.only === undefined ? names : values.only.split(',')
  const unknown = wanted.filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new WrongOption(`there is no section ${unknown.join(', ')}; there are ${names.join(', ')}`)
  const [sizeMiB, rounds, count, listed, objects] = [positive('size', values.size), positive('rounds', values.rounds), positive('count', values.count), positive('listed', values.listed), positive('objects', values.objects)]
  const settings = { sizeMiB, rounds, count, objects, listed, sections: wanted.join(' ') }
  const folder = await mkdtemp(join(tmpdir(), 'dfs-bench-'))
  const bench: Bench = { sizeBytes: sizeMiB * mebibyte, rounds, count, objects, listed, report: new Report(settings), folder, secondsPerByte: {} }
  try {
    await run(bench, wanted, 'three nodes', onThree, { holders: 3 })
    await run(bench, wanted, 'three holders, two readers', onReaders, { holders: 3, readers: 2 })
    for (const [name, section] of Object.entries(alone)) {
      if (!wanted.includes(name)) continue
      bench.report.section(name)
      await toItsEnd(bench, name, section(bench))
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  if (values.json !== undefined) await bench.report.writeJson(values.json, settings)
  const { missed } = bench.report
  if (missed.length === 0) return
  console.log(`\n${missed.length} targets missed:\n  ${missed.join('\n  ')}`)
  process.exitCode = 1
}

async function run (bench: Bench, wanted: readonly string[], title: string, sections: Readonly<Record<string, Section>>, members: { holders: number, readers?: number }): Promise<void> {
  const chosen = Object.entries(sections).filter(([name]) => wanted.includes(name))
  if (chosen.length === 0) return
  const home = join(bench.folder, title.replaceAll(/\W+/g, '-'))
  {
    await using nodes = await BenchNodes.start(home, members)
    if (members.readers !== undefined) await nodes.node(readers.engine).stop()
    for (const [name, section] of chosen) {
      bench.report.section(`${name} (${title})`)
      await toItsEnd(bench, name, section(bench, nodes))
    }
    bench.report.section(`memory (${title})`)
    bench.report.addPeaks(nodes.peaks(), { target: { atMost: 350 } })
  }
  // the next cluster shall not find the disk full of this one
  await rm(home, { recursive: true, force: true })
}

/** What the others have to say is still worth hearing. */
async function toItsEnd (bench: Bench, name: string, section: Promise<void>): Promise<void> {
  await section.catch((error: unknown) => {
    bench.report.note(`!!! ${name.toUpperCase()} FAILED: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  })
}

function positive (name: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new WrongOption(`--${name} is "${text}"; it takes a whole number from 1`)
  return number
}

await main().catch((error: unknown) => {
  if (!(error instanceof WrongOption)) throw error
  console.error(error.message)
  process.exitCode = 2
})
