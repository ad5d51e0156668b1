import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { safeguards } from '../support/safeguards.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { type Tried, tried } from '../support/tried.ts'
import { whyNoWalls } from '../support/walls.ts'

/**
 * The proofs with real processes again, at small counts, by nodes without one safeguard (test/support/without.ts): each has to come out red, and by the loss that the safeguard prevents. One that does not would
 * prove nothing with it either. (Loss of power has its own, without fsync: power-loss.proof.ts. Rules one by one: docs/decisions/0032-simulation.md.)
 */
interface Counterpart {
  readonly without: keyof typeof safeguards
  readonly project: 'proofs' | 'longer' | 'processes'
  readonly file: string
  /** Of the test that has to fail. */
  readonly named: string
  readonly counts?: Readonly<Record<string, string>>
  /** What it does is at random, and may miss what is lost: so often it is run until it comes out red. Default: 1. */
  readonly attempts?: number
  /** What it fails by. */
  readonly loss: RegExp
  /** It cannot be tried here. */
  readonly whyNot?: string | undefined
}

const timeoutMs = 900_000
const noWalls = await whyNoWalls()

const counterparts: readonly Counterpart[] = [
  { without: 'one decides alone', project: 'proofs', file: 'test/proof/kills.proof.ts', named: 'kill -9', counts: { KILLS: '10' }, loss: /\d+-(\d+|Infinity) (put|get|list|delete)/ },
  { without: 'two of however many decide', project: 'proofs', file: 'test/proof/partitions.proof.ts', named: 'does not reach what', counts: { PARTITION_SHAPE: 'halves', FLAPS: '0' }, loss: /node \d refuses everything|once\/\d+ was created twice/, whyNot: noWalls },
  { without: 'two of however many decide', project: 'proofs', file: 'test/proof/partitions.proof.ts', named: 'does not reach what', counts: { PARTITION_SHAPE: 'bridge', FLAPS: '0' }, loss: /once\/\d+ was created twice/, whyNot: noWalls },
  { without: 'one decides alone', project: 'proofs', file: 'test/proof/partitions.proof.ts', named: 'does not reach what', counts: { PARTITION_SHAPE: 'one way', FLAPS: '0' }, loss: /node 1 refuses everything/, whyNot: noWalls },
  { without: 'one decides alone', project: 'proofs', file: 'test/proof/partitions.proof.ts', named: 'comes and goes', counts: { FLAPS: '5' }, loss: /once\/\d+ was created twice/, whyNot: noWalls },
  { without: 'a layout ends before its hand-over is confirmed', project: 'proofs', file: 'test/proof/churn.proof.ts', named: 'a move', loss: /\d\/\d+: not found meanwhile|\d\/\d+ through .*there is no object/ },
  { without: 'nothing is taken over', project: 'proofs', file: 'test/proof/churn.proof.ts', named: 'a move', loss: /\d\/\d+: not found meanwhile|\d\/\d+ through .*there is no object/ },
  { without: 'nothing is taken over, nor compared afterwards', project: 'proofs', file: 'test/proof/churn.proof.ts', named: 'joining, draining', counts: { CHURN_MINUTES: '0.5', MOVES: '0' }, attempts: 4, loss: /\d\/\d+: not found meanwhile|\d\/\d+ through .*there is no object/ },
  { without: 'redundant shards are not kept', project: 'longer', file: 'test/cluster/shards.test.ts', named: 'one of three nodes dead', loss: /needs 2 of its 3 shards and 1 could be read/ },
  { without: 'blocks are not verified when they are read', project: 'longer', file: 'test/cluster/rot.test.ts', named: 'in all blocks', loss: /through node 2: expected [\s\S]*a block's bytes are not what its address says/ },
  { without: 'what the full disk did not take counts as stored', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'takes puts again when there is room', loss: /block \w+ (is on none of|could not be read)/ },
  { without: 'blocks use the reserve', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'up to its reserve', loss: /expected \d+ to be greater than 41943040/ },
  { without: 'nobody looks whether there is room again', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'takes puts again when there is room', loss: /it says that it takes writes/ },
  { without: 'half a frame stays in the journal', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'takes puts again when there is room', loss: /it says that it takes writes|to deeply equal \[\]/ },
  { without: 'an index is written on behind where the disk was full', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'takes puts again when there is room', loss: /block \w+ (is on none of|could not be read)|it says that it takes writes/ },
  { without: 'rows that the disk did not take count as saved', project: 'processes', file: 'test/cluster/full-disk.test.ts', named: 'becomes read-only', loss: /undefined: expected 0 to be greater than or equal to 403/ },
  { without: 'graces are counted by the wall clock', project: 'longer', file: 'test/cluster/clocks.test.ts', named: 'clocks that are wrong', loss: /[01] of 3 voters can be reached|expected \d{7,} to be less than 60000/ },
  { without: 'whoever likes proposes', project: 'longer', file: 'test/cluster/byzantine.test.ts', named: 'a promise for a ballot of its own', loss: /promise resolved "\{ kind: 'promised'|only members propose\/ but got 'refused'/ },
  { without: 'what a peer sends is not verified', project: 'processes', file: 'test/cluster/liar.test.ts', named: 'wrong bytes of the right length', loss: /a block's bytes are not what its address says/ },
]

for (const { without, project, file, named, counts = {}, attempts = 1, loss, whyNot } of counterparts) test.skipIf(whyNot !== undefined)(`${without}: ${file} finds it${counts.PARTITION_SHAPE === undefined ? '' : ` (${counts.PARTITION_SHAPE})`}`, async ({ task }) => {
  let outcome = await ranWithout(without, { project, file, named, counts })
  for (let attempt = 1; attempt < attempts && outcome.failures.length === 0; attempt++) outcome = await ranWithout(without, { project, file, named, counts })
  tried(task, { what: `without a safeguard, which must lose: ${without}`, times: outcome.tests.length, lost: outcome.failures.length })
  expect(outcome.failures.length, outcome.said).toBeGreaterThan(0)
  expect(outcome.said).toMatch(loss)
}, attempts * (timeoutMs + 30_000))

interface Outcome { readonly tests: readonly string[], readonly failures: readonly string[], /** By the failures too, which the report has without what was found. */ readonly said: string }

/** The tests of this name, run by nodes that lack it. */
async function ranWithout (without: string, { project, file, named, counts }: Pick<Counterpart, 'project' | 'file' | 'named'> & { counts: Readonly<Record<string, string>> }): Promise<Outcome> {
  await using folder = await temporaryFolder()
  const [report, top] = [join(folder.path, 'report.json'), fileURLToPath(new URL('../..', import.meta.url))]
  const output: Buffer[] = []
  const child = spawn(process.execPath, [join(top, 'node_modules/vitest/vitest.mjs'), 'run', '--config', 'vitest.prove.config.ts', '--project', project, file, '-t', named, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`], {
    cwd: top,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    env: { ...process.env, ...counts, DFS_PROOF_WITHOUT: without, NODE_OPTIONS: `--import ${new URL('../support/without.ts', import.meta.url).href}`, NODE_DISABLE_COMPILE_CACHE: '1', NO_COLOR: '1', FORCE_COLOR: '0' },
  })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => { output.push(bytes) })
  await new Promise((resolve, reject) => { child.once('close', resolve); child.once('error', reject) })
  const { testResults } = JSON.parse(await readFile(report, 'utf8').catch(() => '{"testResults":[]}')) as Report
  const results = testResults.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status !== 'skipped' && status !== 'pending')
  return { tests: results.map(({ fullName }) => fullName), failures: results.flatMap(({ status, failureMessages }) => status === 'failed' ? failureMessages : []), said: Buffer.concat(output).toString() }
}

interface Report { readonly testResults: ReadonlyArray<{ readonly assertionResults: ReadonlyArray<{ readonly fullName: string, readonly status: string, readonly failureMessages: readonly string[], readonly meta?: { readonly tried?: readonly Tried[] } }> }> }
