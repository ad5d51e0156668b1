import { equals } from '../base/bytes.ts'
import { Corrupt, StoreFull } from '../base/errors.ts'
import { FileMissing, type Files, isReadFault } from './index.ts'
import { levelCheckOf } from './level-files.ts'

/** A file of LevelDB's that is not what was written. */
export interface LevelDamage {
  /** Path below the data folder. */
  readonly file: string
  /** For people. */
  readonly reason: string
}

export const evidenceFolder = 'evidence'

export const evidenceLimits = {
  /** Copies of damaged files that are kept; what comes then is told of and not kept. */
  maxFiles: 64,
  maxBytes: 256 * 1024 * 1024,
} as const

/** Tables are looked at before each start up to so much, the newest first; scrub looks at all of them. */
export const tablesBeforeOpeningBytes = 4 * 1024 ** 3

export const isTable = ({ file }: Pick<LevelDamage, 'file'>): boolean => /\.(ldb|sst)$/.test(file)

/**
 * What LevelDB will read when it opens this folder, looked at before it does: its logs, what says which tables there are, and the tables. From a log it drops what it cannot read, writes the rest
 * to tables and removes the log: afterwards nothing tells. And a table with a flipped bit can end the whole process, by an assertion that does not hold.
 * @throws Corrupt where one cannot be read at all: with what to do
 */
export async function damageBeforeOpening (files: Files, folder: string): Promise<readonly LevelDamage[]> {
  const found: LevelDamage[] = []
  let tableBytes = 0
  for (const { name, sizeBytes } of (await levelFilesIn(files, folder)).toReversed()) {
    if (isTable({ file: name }) && (tableBytes += sizeBytes) > tablesBeforeOpeningBytes) continue
    const { damage } = await damageOfFile(files, `${folder}/${name}`).catch((error: unknown) => { throw isReadFault(error) ? unread(`${folder}/${name}`, folder, error) : error })
    if (damage !== undefined) found.push(damage)
  }
  return found
}

/** What the disk does not give today it may give tomorrow, or another machine may: so nothing is made anew without it. */
const unread = (file: string, folder: string, cause: Error): Corrupt =>
  new Corrupt(`${file} cannot be read (${cause.message}): check the disk, and try a copy of the folder on another one; if it stays so, move ${folder} away and start again: the node goes on without what stood there alone, which the others have`, { cause })

/** Those that have a check, in the order of their names. */
export async function levelFilesIn (files: Files, folder: string): Promise<ReadonlyArray<{ name: string, sizeBytes: number }>> {
  const found: Array<{ name: string, sizeBytes: number }> = []
  for await (const { name, kind, sizeBytes } of files.list(folder)) if (kind === 'file' && levelCheckOf(name) !== undefined) found.push({ name, sizeBytes })
  return found.toSorted((a, b) => a.name < b.name ? -1 : 1)
}

/** A file that is gone by now, as tables go when LevelDB has written others in their place, has no damage. */
export async function damageOfFile (files: Files, path: string): Promise<{ readonly damage: LevelDamage | undefined, readonly bytes: number }> {
  const check = levelCheckOf(path.slice(path.lastIndexOf('/') + 1))
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  if (check === undefined || bytes === undefined) return { damage: undefined, bytes: 0 }
  const result = check(bytes)
  return { damage: result.isRight ? undefined : { file: path, reason: result.reason }, bytes: bytes.byteLength }
}

/** Copies a file to where evidence is kept; the same bytes once. Undefined: it is gone, or there is no more room for evidence. */
export async function keepEvidence (files: Files, path: string): Promise<string | undefined> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  if (bytes === undefined) return undefined
  await files.ensureFolder(evidenceFolder)
  const name = path.replaceAll('/', '-')
  let [count, sum] = [0, 0]
  const taken = new Set<string>()
  for await (const kept of files.list(evidenceFolder)) {
    count++
    sum += kept.sizeBytes
    taken.add(kept.name)
    if (kept.name.startsWith(name) && kept.sizeBytes === bytes.byteLength && equals(await files.read(`${evidenceFolder}/${kept.name}`), bytes)) return `${evidenceFolder}/${kept.name}`
  }
  if (count >= evidenceLimits.maxFiles || sum + bytes.byteLength > evidenceLimits.maxBytes) return undefined
  let copy = name
  for (let i = 1; taken.has(copy); i++) copy = `${name}.${i}`
  try { await files.writeDurable(`${evidenceFolder}/${copy}`, [bytes]) } catch (error) {
    // a node whose disk is full must start all the same
    if (error instanceof StoreFull) return undefined
    throw error
  }
  return `${evidenceFolder}/${copy}`
}
