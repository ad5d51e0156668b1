import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { bucket, demonstrate } from './demonstration.ts'
import { LocalCluster } from './local-cluster.ts'
import { Story } from './story.ts'

/**
 * `npm run cluster`: nodes on this machine, each a process of its own with its own folder, joined by invite; what they can do is shown (demonstration.ts).
 * Then they stay up to be played with, or with --exit it cleans up and says what was proved.
 */
const usage = `npm run cluster -- [--nodes N] [--size 256MiB | --file F] [--data DIR] [--exit] [--json]

  --nodes N     how many nodes, 3 to 16 (3, or as many as DIR has)
  --size SIZE   size of the file that is made and stored, e.g. 64MiB, 1GiB (256MiB)
  --file F      store this file instead
  --data DIR    keep the nodes' folders here, and go on with those that are there (a temporary folder that is removed at the end)
  --exit        stop when everything is shown; exit code 0 only if all of it held, 2 for wrong options
  --json        one JSON object a node when it is up, and one, last, for the result`

interface Options {
  /** Undefined: as many as there are, or 3. */
  readonly nodes: number | undefined
  readonly sizeBytes: number
  readonly file: string | undefined
  readonly data: string | undefined
  readonly exit: boolean
}

/** Exit code 2. */
class WrongOption extends Error {}
/** Exit code 130. */
class Interrupted extends Error {}

function givenOptions (args: string[]) {
  try {
    return parseArgs({ args, options: { nodes: { type: 'string' }, size: { type: 'string', default: '256MiB' }, file: { type: 'string' }, data: { type: 'string' }, exit: { type: 'boolean', default: false }, json: { type: 'boolean' }, help: { type: 'boolean' } } }).values
  } catch (cause) {
    throw new WrongOption(`${(cause as Error).message}\n(npm run cluster -- --help lists the options)`, { cause })
  }
}

async function optionsOf ({ nodes, size, file, data, exit }: ReturnType<typeof givenOptions>): Promise<Options> {
  if (nodes !== undefined && !(/^\d+$/.test(nodes) && Number(nodes) >= 3 && Number(nodes) <= 16)) throw new WrongOption(`--nodes takes 3 to 16, not "${nodes}"`)
  if (file !== undefined && !await isFile(file)) throw new WrongOption(`--file takes a file; "${file}" is none`)
  return { nodes: nodes === undefined ? undefined : Number(nodes), sizeBytes: sizeOf(size), file, data, exit }
}

function sizeOf (text: string): number {
  const [, number, unit = 'B'] = /^(\d+)(B|KiB|MiB|GiB)?$/.exec(text) ?? []
  const sizeBytes = Number(number) * 1024 ** ['B', 'KiB', 'MiB', 'GiB'].indexOf(unit)
  if (!Number.isSafeInteger(sizeBytes)) throw new WrongOption(`--size takes a number with B, KiB, MiB or GiB, e.g. 64MiB, not "${text}"`)
  return sizeBytes
}

const isFile = async (path: string): Promise<boolean> => stat(path).then((found) => found.isFile(), () => false)

async function run (options: Options, story: Story, interrupt: AbortSignal): Promise<void> {
  await using folder = await folderFor(options)
  await using cluster = new LocalCluster(folder.path, { signal: interrupt })
  const interrupted = new Promise<never>((_, reject) => { interrupt.addEventListener('abort', () => { reject(interrupt.reason as Error) }) })
  try {
    await Promise.race([show(cluster, folder, options, story), interrupted])
    if (options.exit) return
    invitation(cluster, story)
    await interrupted.catch(() => { story.say('\nstopping') }) // the way this ends
  } finally {
    await cluster.stop('SIGTERM')
  }
}

interface Folder extends AsyncDisposable {
  readonly path: string
  /** Files of the demonstration alone. */
  readonly work: string
}

async function folderFor ({ data }: Options): Promise<Folder> {
  const path = data === undefined ? await mkdtemp(join(tmpdir(), 'dfs-cluster-')) : resolve(data)
  const work = join(path, 'work')
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  return { path, work, [Symbol.asyncDispose]: async () => { await rm(data === undefined ? path : work, { recursive: true, force: true }) } }
}

async function show (cluster: LocalCluster, { path, work }: Folder, { nodes, sizeBytes, file }: Options, story: Story): Promise<void> {
  const found = await cluster.resume()
  if (found > 0) story.say(`going on with ${found} nodes in ${path}`)
  const wanted = nodes ?? Math.max(found, 3)
  if (found > wanted) throw new WrongOption(`${path} has ${found} nodes already: leave --nodes out, or take another folder`)
  if (found < wanted && await isSettled(cluster)) throw new WrongOption(`${path} has a settled cluster of ${found} nodes, which no other joins: leave --nodes out, or take another folder`)
  story.say(`starting ${wanted - found} nodes, each a process with a folder of its own`)
  await cluster.grow(wanted)
  await demonstrate({ cluster, story, work, source: file === undefined ? { kind: 'made', sizeBytes } : { kind: 'given', path: resolve(file) } })
}

async function isSettled (cluster: LocalCluster): Promise<boolean> {
  const [status] = cluster.nodes.length === 0 ? [] : await cluster.node(0).json<{ layout: { state: string } }>(['status'])
  return status !== undefined && status.layout.state !== 'open'
}

function invitation (cluster: LocalCluster, story: Story): void {
  const [one, two] = [cluster.node(0), cluster.node(1)]
  story.say(`\nThe cluster stays up until Ctrl-C:\n${cluster.nodes.map((node, index) => `  node ${index + 1}  ${node.ready?.addresses[0]}\n          ${node.ready?.api}  ${node.data}`).join('\n')}

To play with it:
  ./bin/dfs status --data ${one.data}
  ./bin/dfs put README.md ${bucket}/readme --data ${one.data}
  ./bin/dfs get ${bucket}/readme - --data ${two.data}
  ./bin/dfs ls ${bucket} --data ${two.data}
  ./bin/dfs watch --data ${two.data}`)
}

async function main (args: string[]): Promise<number> {
  const story = new Story({ isJson: args.includes('--json') })
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => { interrupt.abort(new Interrupted('interrupted')) })
  try {
    const given = givenOptions(args)
    if (given.help === true) { console.log(usage); return 0 }
    await run(await optionsOf(given), story, interrupt.signal)
    return 0
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    story.fail(error instanceof Interrupted || error instanceof WrongOption ? reason : `failed: ${reason}`)
    return error instanceof WrongOption ? 2 : error instanceof Interrupted ? 130 : 1
  }
}

// what an interrupt left half done may still wait for something
process.exit(await main(process.argv.slice(2)))
