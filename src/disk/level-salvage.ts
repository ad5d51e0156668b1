import { rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Files, KeyValue, KeyValueChange } from './index.ts'
import { levelFilesIn } from './level-damage.ts'
import { changesInLog, changesInTable, type LevelChange } from './level-files.ts'
import { levelKeyValue } from './level-key-value.ts'

/**
 * A new LevelDB of what can be read of a damaged one: every block of its tables and every record of its logs whose CRC fits; of each key the last change. What could not be read is not there, and what was
 * deleted may be there again: whoever keeps something in it must be able to tell, and can (names, checks, proofs). LevelDB's own repair reads damaged blocks as if they were right.
 *
 * It is made beside the old one, which then gives way: a crash leaves one or the other.
 */
export async function salvage ({ data, files, folder }: { data: string, files: Files, folder: string }): Promise<void> {
  const [gathering, fresh, whole] = ['.gathering', '.salvaging', '.salvaged'].map((half) => join(data, `${folder}${half}`)) as [string, string, string]
  for (const path of [gathering, fresh, whole]) await rm(path, { recursive: true, force: true })
  {
    await using found = await levelKeyValue(gathering)
    for (const { name } of await levelFilesIn(files, folder)) {
      if (name.startsWith('MANIFEST')) continue
      const bytes = await files.read(`${folder}/${name}`)
      await gather(found, name.endsWith('.log') ? changesInLog(bytes) : changesInTable(bytes).changes)
    }
    await using made = await levelKeyValue(fresh)
    let batch: KeyValueChange[] = []
    const flush = async (): Promise<void> => { await made.batch(batch.splice(0), { sync: false }) }
    for await (const [key, value] of found.entries({})) {
      const { value: kept } = decoded(value)
      if (kept !== undefined) batch.push({ type: 'put', key, value: kept })
      if (batch.length >= batchSize) await flush()
    }
    await flush()
    await made.batch([], { sync: 'all' })
  }
  await rm(gathering, { recursive: true, force: true })
  await rename(fresh, whole)
  await files.syncFolder(folder.slice(0, Math.max(0, folder.lastIndexOf('/'))) || '.')
  await finishSalvage({ data, folder })
}

/** What a crash left of it: to be called before anything is opened. */
export async function finishSalvage ({ data, folder }: { data: string, folder: string }): Promise<void> {
  const [old, whole] = [join(data, folder), join(data, `${folder}.salvaged`)]
  for (const half of ['.gathering', '.salvaging']) await rm(join(data, `${folder}${half}`), { recursive: true, force: true })
  const isThere = await stat(whole).then(() => true, (error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return false; throw error })
  if (!isThere) return
  await rm(old, { recursive: true, force: true })
  await rename(whole, old)
}

const batchSize = 1000

async function gather (found: KeyValue, changes: readonly LevelChange[]): Promise<void> {
  for (let at = 0; at < changes.length; at += batchSize) {
    const last = new Map<string, LevelChange>()
    for (const change of changes.slice(at, at + batchSize)) {
      const name = Buffer.from(change.key).toString('latin1')
      if ((last.get(name)?.sequence ?? -1n) < change.sequence) last.set(name, change)
    }
    const page = [...last.values()]
    const before = await found.getMany(page.map(({ key }) => key))
    await found.batch(page.filter(({ sequence }, i) => { const known = before[i]; return known === undefined || decoded(known).sequence < sequence }).map((change) => ({ type: 'put', key: change.key, value: encoded(change) })), { sync: false })
  }
}

/** u64 number | u8 1 put, 0 deleted | value */
const encoded = ({ sequence, value }: LevelChange): Uint8Array => new ByteWriter().u64(sequence).u8(value === undefined ? 0 : 1).raw(value ?? new Uint8Array(0)).finish()

function decoded (bytes: Uint8Array): Pick<LevelChange, 'sequence' | 'value'> {
  const reader = new ByteReader(bytes)
  const [sequence, isPut] = [reader.u64(), reader.u8() === 1]
  const rest = reader.rest()
  return { sequence, value: isPut ? rest : undefined }
}
