import { join } from 'node:path'
import type { Cid } from '../base/cid.ts'
import { type BlockHolder, blockHolder } from '../blockstore/holder.ts'
import { type BlockCache, openBlockCache } from '../blockstore/cached-blocks.ts'
import { type DiskBlocks, openDiskBlocks } from '../blockstore/disk-blocks.ts'
import { blockInventory, type Inventory } from '../blockstore/inventory.ts'
import type { Config } from '../config.ts'
import type { Files } from '../disk/index.ts'
import { levelKeyValue } from '../disk/level-key-value.ts'
import type { RowStore } from '../tables/index.ts'
import { openRowStore, type RowStoreOptions } from '../tables/row-store.ts'

export interface RowsOptions extends Omit<RowStoreOptions, 'folder' | 'index'> {
  readonly data: string
}

/** The row store of a data folder. Its id is made with it, and named in the members row: so it is opened before a node joins. */
export async function openRows ({ data, ...options }: RowsOptions): Promise<RowStore> {
  await options.files.ensureFolder('rows')
  return openRowStore({ ...options, folder: 'rows', index: await levelKeyValue(join(data, 'rows', 'index')) })
}

export interface BlockStores extends AsyncDisposable {
  readonly blocks: DiskBlocks
  readonly holder: BlockHolder
  readonly inventory: Inventory
  readonly cache: BlockCache
}

export async function openBlocks ({ config, files, onCorrupt }: { config: Config, files: Files, onCorrupt: (cid: Cid) => void }): Promise<BlockStores> {
  await files.ensureFolder('blocks')
  const index = await levelKeyValue(join(config.data, 'blocks', 'index'))
  const blocks = await openDiskBlocks({
    files,
    index,
    quotaBytes: config.capacityBytes,
    reserveBytes: config.reserveBytes,
    onCorrupt,
  })
  const cache = await openBlockCache({ files, limitBytes: config.cacheBytes })
  return { blocks, holder: blockHolder({ blocks, index }), inventory: blockInventory({ blocks, index }), cache, [Symbol.asyncDispose]: async () => index[Symbol.asyncDispose]() }
}
