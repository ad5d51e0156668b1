import { join } from 'node:path'
import type { Cid } from '../base/cid.ts'
import { KeyedQueue } from '../base/keyed-queue.ts'
import { type CondemnedBlocks, condemnedBlocks } from '../blockstore/condemned.ts'
import { type BlockHolder, blockHolder } from '../blockstore/holder.ts'
import { type BlockCache, openBlockCache } from '../blockstore/cached-blocks.ts'
import { type DiskBlocks, openDiskBlocks } from '../blockstore/disk-blocks.ts'
import { blockInventory, type Inventory } from '../blockstore/inventory.ts'
import { pieceFolderAt, pieceFolders } from '../blockstore/piece-disk.ts'
import type { Config } from '../config.ts'
import type { Files, KeyValue } from '../disk/index.ts'
import { damageBeforeOpening, isTable, keepEvidence, levelFilesIn, type LevelDamage } from '../disk/level-damage.ts'
import { levelKeyValue } from '../disk/level-key-value.ts'
import { finishSalvage, salvage } from '../disk/level-salvage.ts'
import { type DiskRows, openRowStore, type RowStoreOptions } from '../tables/row-store.ts'

export interface RowsOptions extends Omit<RowStoreOptions, 'folder' | 'index'> {
  readonly data: string
  readonly onDamage?: IndexParts['onDamage']
}

export interface IndexParts {
  readonly data: string
  readonly files: Files
  /** Below the data folder. */
  readonly folder: string
  /** A file of LevelDB's, looked at before it is opened, is not what was written. `evidence`: where a copy of it is, if there was room for one. */
  readonly onDamage: (damage: LevelDamage, evidence: string | undefined) => void
}

/** LevelDB, whose files are looked at before it reads them: it would leave out in silence what it cannot read, or give it as if it were right, or end the process. */
async function openIndex ({ data, files, folder, onDamage }: IndexParts): Promise<KeyValue> {
  await finishSalvage({ data, folder })
  const found = await damageBeforeOpening(files, folder)
  for (const damage of found) onDamage(damage, await keepEvidence(files, damage.file))
  if (found.some(isTable)) await salvage({ data, files, folder })
  return levelKeyValue(join(data, folder))
}

/** The row store of a data folder. Its id is made with it, and named in the members row: so it is opened before a node joins. */
export async function openRows ({ data, onDamage = () => {}, ...options }: RowsOptions): Promise<DiskRows> {
  const { files } = options
  await files.ensureFolder('rows')
  return openRowStore({ ...options, folder: 'rows', keepEvidence: async (path) => { await keepEvidence(files, path) }, index: await openIndex({ data, files, folder: indexFolders.rows, onDamage }) })
}

/** Where LevelDB keeps what is looked up, below the data folder. */
export const indexFolders = { rows: 'rows/index', blocks: 'blocks/index' } as const

export interface BlockStores extends AsyncDisposable {
  readonly blocks: DiskBlocks
  readonly holder: BlockHolder
  readonly condemned: CondemnedBlocks
  readonly inventory: Inventory
  readonly cache: BlockCache
  readonly index: KeyValue
  /** What was found of the files of the index before it was opened: it may lack what it had. */
  readonly damage: readonly LevelDamage[]
}

export interface BlocksOptions {
  readonly config: Config
  /** Bytes of blocks that are taken; undefined: what the disk has. */
  readonly quotaBytes?: () => number | undefined
  readonly files: Files
  readonly onCorrupt: (cid: Cid) => void
  readonly onDamage?: IndexParts['onDamage']
}

export async function openBlocks ({ config, quotaBytes = () => config.capacityBytes, files, onCorrupt, onDamage = () => {} }: BlocksOptions): Promise<BlockStores> {
  await files.ensureFolder('blocks')
  const damage: LevelDamage[] = []
  const damaged: IndexParts['onDamage'] = (found, evidence) => { damage.push(found); onDamage(found, evidence) }
  if (await isWithoutIndex(files)) damaged({ file: indexFolders.blocks, reason: 'it is not there, and blocks are' }, undefined)
  const index = await openIndex({ data: config.data, files, folder: indexFolders.blocks, onDamage: damaged })
  const blocks = await openDiskBlocks({
    files,
    index,
    quotaBytes,
    reserveBytes: config.reserveBytes,
    onCorrupt,
  })
  const cache = await openBlockCache({ files, limitBytes: config.cacheBytes, reserveBytes: config.reserveBytes })
  const locks = new KeyedQueue()
  return { blocks, holder: blockHolder({ blocks, index, locks }), condemned: condemnedBlocks({ blocks, index, locks }), inventory: blockInventory({ blocks, index }), cache, index, damage, [Symbol.asyncDispose]: async () => index[Symbol.asyncDispose]() }
}

/** Moved away, as one that does not open: what it listed is here all the same. */
async function isWithoutIndex (files: Files): Promise<boolean> {
  if ((await levelFilesIn(files, indexFolders.blocks)).length > 0) return false
  for (let at = 0; at < pieceFolders; at++) for await (const _ of files.list(pieceFolderAt(at))) return true
  return false
}
