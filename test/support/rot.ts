import { existsSync } from 'node:fs'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { equals, hexOf } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { Corrupt, NotFound } from '../../src/base/errors.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { type Shard, shardKeyOf } from '../../src/blockstore/shard.ts'
import type { Config } from '../../src/config.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { Scrub } from '../../src/node/work/scrub.ts'
import { openBlocks, openRows } from '../../src/node/stores.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { PartitionLost, type StoredRow } from '../../src/tables/index.ts'
import { ballotOf, row } from '../tables/row-store-disk.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { noiseBytes } from './file-world.ts'
import { filesIn } from './real-cluster.ts'
import { temporaryFolder } from './temporary.ts'

/** A node's disk, on which one bit flips at a time; what it is afterwards is opened, scrubbed and read. */
export interface RottingDisk extends AsyncDisposable {
  /** Flips one bit, anywhere in a file whose path matches, and looks. */
  rot (pattern: RegExp, random: Random): Promise<RotOutcome>
}

export interface RotOutcome {
  /** Which bit. */
  readonly where: string
  /** It was noticed: at the start, or by scrub. */
  readonly isFound: boolean
  /** The start was refused, in words that name the file or its folder. */
  readonly isRefused: boolean
  /** Given out as something that it is not. */
  readonly wrong: readonly string[]
  /** Not there any more, and nobody was told to look for it. */
  readonly forgotten: readonly string[]
  /** Something of what was damaged can still be looked at. */
  readonly hasEvidence: boolean
}

const reference = { versionId: new Uint8Array(32).fill(9), redundancy: { k: 1, m: 1 } }
const code = { k: 2, m: 1 }

/** Small and large blocks and shards, with references, and rows; in tables of both indexes as well as in their logs. */
export async function rottingDisk (): Promise<RottingDisk> {
  // a disk in memory: a copy has a thousand folders, which are synced
  const folder = await temporaryFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  const [blocks, shards, rows] = [new Map<Cid, Uint8Array>(), new Map<string, Shard>(), new Map<string, StoredRow>()]
  const [building, original] = [join(folder.path, 'building'), join(folder.path, 'original')]
  await nodeFiles(building).ensureFolder('.')
  for (const half of [0, 1]) {
    await using open = await opened(building)
    for (let i = half * 100; i < half * 100 + 60; i++) {
      const bytes = noiseBytes([300, 4000, 20_000][i % 3] ?? 0, i)
      blocks.set(cidOf(bytes), bytes)
      await open.stores.holder.store(cidOf(bytes), bytes, reference)
    }
    for (let i = half * 100; i < half * 100 + 4; i++) {
      const large = noiseBytes(40_000 + i, 1000 + i)
      blocks.set(cidOf(large), large)
      await open.stores.holder.store(cidOf(large), large, reference)
      const spread = noiseBytes(i % 2 === 0 ? 90_000 : 20_000, 2000 + i)
      for (const shard of (await shardsOf(cidOf(spread), spread, code)).slice(0, 2)) {
        shards.set(shardKeyOf(shard), shard)
        await open.stores.holder.storeShard(shard, { ...reference, redundancy: code })
      }
    }
    for (let n = half * 100; n < half * 100 + 80; n++) {
      rows.set(hexOf(row(n, 2).rowKey), row(n, 2))
      await open.rows.save([row(n, 2)])
    }
    // as after a kill: what stands in the journal alone too
    if (half === 1) await cp(building, original, { recursive: true })
  }
  let trial = 0
  return {
    async rot (pattern, random) {
      const path = join(folder.path, String(trial++))
      await cp(original, path, { recursive: true })
      const names = (await filesIn(path)).filter((name) => pattern.test(name))
      const sizes = await Promise.all(names.map(async (name) => (await readFile(join(path, name))).byteLength))
      // every byte is as likely as every other
      let at = Math.floor(random.fraction() * sizes.reduce((sum, size) => sum + size, 0))
      const index = sizes.findIndex((size) => { if (at < size) return true; at -= size; return false })
      const [name, bit] = [names[index] ?? '', Math.floor(random.fraction() * 8)]
      const bytes = await readFile(join(path, name))
      await writeFile(join(path, name), Uint8Array.from(bytes, (byte, i) => i === at ? byte ^ (1 << bit) : byte))
      await using _trial = { [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) }
      return await looked(path, { where: `bit ${bit} of byte ${at} of ${bytes.byteLength} of ${name}`, blocks, shards, rows })
    },
    [Symbol.asyncDispose]: async () => folder[Symbol.asyncDispose](),
  }
}

interface Expected { readonly where: string, readonly blocks: ReadonlyMap<Cid, Uint8Array>, readonly shards: ReadonlyMap<string, Shard>, readonly rows: ReadonlyMap<string, StoredRow> }

async function opened (path: string): Promise<AsyncDisposable & { readonly stores: Awaited<ReturnType<typeof openBlocks>>, readonly rows: Awaited<ReturnType<typeof openRows>>, readonly noticed: string[] }> {
  await using open = new AsyncDisposableStack()
  const files = nodeFiles(path)
  const noticed: string[] = []
  const note = (what: string) => (): void => { noticed.push(what) }
  const rows = open.use(await openRows({ data: path, files, random: seededRandom(1), ballotOf, onLost: note('rows lost'), onDamage: note('index of rows damaged') }))
  const stores = open.use(await openBlocks({ config: { data: path, reserveBytes: 0, cacheBytes: 0, capacityBytes: undefined } as Config, files, onCorrupt: note('corrupt'), onDamage: note('index of blocks damaged') }))
  const opened = open.move()
  return { stores, rows, noticed, [Symbol.asyncDispose]: async () => opened.disposeAsync() }
}

async function looked (path: string, expected: Expected): Promise<RotOutcome> {
  const { where } = expected
  const files = nodeFiles(path)
  try {
    await using open = await opened(path)
    const { stores, rows, noticed } = open
    const { holder, inventory } = stores
    const reported = new Set<Cid>()
    let isAllLookedFor = false
    const scrub = await Scrub.open({
      files, rows, clock: new VirtualTime().clock(), everyMs: 1e9, warn: (message) => { noticed.push(message) }, onLoss: (why) => { noticed.push(why); isAllLookedFor = true },
      blocks: { ...stores, report: (cid) => { reported.add(cid) } },
    }, { damage: stores.damage.length === 0 ? undefined : 'damaged' })
    scrub.now()
    while (await scrub.step({ signal: new AbortController().signal }) === 'busy');
    const { found } = scrub.status()
    const [wrong, forgotten]: [string[], string[]] = [[], []]
    const isMissed = async (cid: Cid): Promise<boolean> => {
      if (isAllLookedFor || reported.has(cid)) return false
      // what is referenced and not here is fetched by repair
      const { references, isHere, shards } = await inventory.find(cid)
      return references.count === 0 || isHere || shards.length > 1
    }
    for (const [cid, bytes] of expected.blocks) {
      const got = await orMissing(async () => stores.blocks.get(cid))
      if (got === undefined ? await isMissed(cid) : !equals(got, bytes)) (got === undefined ? forgotten : wrong).push(cid)
    }
    for (const shard of expected.shards.values()) {
      const got = await orMissing(async () => stores.blocks.shards.get(shard))
      if (got === undefined ? await isMissed(shard.cid) : !equals(got.bytes, shard.bytes)) (got === undefined ? forgotten : wrong).push(shardKeyOf(shard))
    }
    for (const cid of [...expected.blocks.keys(), ...[...expected.shards.values()].map((shard) => shard.cid)]) {
      for await (const { versionId } of holder.references(cid)) if (!equals(versionId, reference.versionId)) wrong.push(`a reference of ${cid}`)
    }
    for (const one of expected.rows.values()) {
      const got = await rows.get(one.table, one.rowKey).catch((error: unknown) => { if (error instanceof PartitionLost) return 'lost' as const; throw error })
      if (got === 'lost') continue
      if (got === undefined) forgotten.push(`row ${hexOf(one.rowKey)}`)
      else if (got.accepted === undefined || one.accepted === undefined || !equals(got.accepted, one.accepted) || got.promised.counter !== one.promised.counter) wrong.push(`row ${hexOf(one.rowKey)}`)
    }
    const { wrongPieces, wrongReferences, lostPartitions, damagedFiles, enteredFiles } = found
    const isFound = noticed.length > 0 || wrongPieces + wrongReferences + lostPartitions + damagedFiles + enteredFiles > 0
    return { where, isFound, isRefused: false, wrong, forgotten, hasEvidence: await hasEvidence(path, stores.index) }
  } catch (error) {
    const name = where.slice(where.lastIndexOf(' ') + 1)
    const isRefused = error instanceof Corrupt && (error.message.includes(name) || error.message.includes(join(path, name.slice(0, name.lastIndexOf('/')))))
    if (!isRefused) throw new Error(`${where}: stumbled`, { cause: error })
    // what refuses to start is left as it was found
    return { where, isFound: true, isRefused, wrong: [], forgotten: [], hasEvidence: true }
  }
}

async function hasEvidence (path: string, index: { keys (range: { from: Uint8Array, to: Uint8Array }): AsyncIterable<Uint8Array> }): Promise<boolean> {
  if ((await filesIn(path)).some((name) => name.startsWith('evidence/') || name.startsWith('blocks/corrupt/'))) return true
  for (const kind of [4, 10, 32]) for await (const _ of index.keys({ from: Uint8Array.of(kind), to: Uint8Array.of(kind + 1) })) return true
  return false
}

async function orMissing<T> (read: () => Promise<T>): Promise<T | undefined> {
  try { return await read() } catch (error) {
    if (error instanceof NotFound || error instanceof Corrupt) return undefined
    throw error
  }
}

/** Where bits flip, by what is there. */
export const rotten: Readonly<Record<string, RegExp>> = {
  'large blocks': /^blocks\/large\/[^.]*$/,
  'large shards': /^blocks\/large\/.*\..*$/,
  'log of the block index': /^blocks\/index\/\d+\.log$/,
  'tables of the block index': /^blocks\/index\/\d+\.ldb$/,
  'MANIFEST and CURRENT of the block index': /^blocks\/index\/(MANIFEST-\d+|CURRENT)$/,
  'journal of rows': /^rows\/journal\//,
  'proof of rows': /^rows\/proof$/,
  'log of the row index': /^rows\/index\/\d+\.log$/,
  'tables of the row index': /^rows\/index\/\d+\.ldb$/,
  'MANIFEST and CURRENT of the row index': /^rows\/index\/(MANIFEST-\d+|CURRENT)$/,
}
