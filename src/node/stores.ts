import { join } from 'node:path'
import type { Random } from '../base/random.ts'
import { type BlockHolder, blockHolder } from '../blockstore/holder.ts'
import { type BlockCache, openBlockCache } from '../blockstore/cached-blocks.ts'
import { type DiskBlocks, openDiskBlocks } from '../blockstore/disk-blocks.ts'
import type { Config } from '../config.ts'
import type { Files } from '../disk/index.ts'
import { levelKeyValue } from '../disk/level-key-value.ts'
import { type Ballot, type RowStore, type TableNumber } from '../tables/index.ts'
import { openRowStore } from '../tables/row-store.ts'

export interface StoreLog { warn (fields: object, message: string): void }

export interface RowsOptions {
  readonly data: string
  readonly files: Files
  readonly random: Random
  readonly ballotOf: (table: TableNumber, record: Uint8Array) => Ballot
  readonly log: StoreLog
  readonly named?: Uint8Array
}

/** The row store of a data folder. Its id is made with it, and named in the members row: so it is opened before a node joins. */
export async function openRows ({ data, files, random, ballotOf, log, named }: RowsOptions): Promise<RowStore> {
  await files.ensureFolder('rows')
  return openRowStore({
    files,
    folder: 'rows',
    index: await levelKeyValue(join(data, 'rows', 'index')),
    random,
    ballotOf,
    ...(named === undefined ? {} : { named }),
    onLost: (loss) => { log.warn(loss, 'memory of rows was lost or changed: the partitions neither answer nor vote') },
  })
}

export interface BlockStores extends AsyncDisposable {
  readonly blocks: DiskBlocks
  readonly holder: BlockHolder
  readonly cache: BlockCache
}

export async function openBlocks ({ config, files, log }: { config: Config, files: Files, log: StoreLog }): Promise<BlockStores> {
  await files.ensureFolder('blocks')
  const index = await levelKeyValue(join(config.data, 'blocks', 'index'))
  const blocks = await openDiskBlocks({
    files,
    index,
    quotaBytes: config.capacityBytes,
    reserveBytes: config.reserveBytes,
    onCorrupt: (cid) => { log.warn({ cid }, 'a block was corrupt and is set aside') },
  })
  const cache = await openBlockCache({ files, limitBytes: config.cacheBytes })
  return { blocks, holder: blockHolder({ blocks, index }), cache, [Symbol.asyncDispose]: async () => index[Symbol.asyncDispose]() }
}
