import { concat } from '../base/bytes.ts'
import { type Cid, cidOfDigest, digestOf } from '../base/cid.ts'
import { Corrupt, NotFound } from '../base/errors.ts'
import type { KeyValue } from '../disk/index.ts'
import type { DiskBlocks } from './disk-blocks.ts'
import type { BlockHolder } from './holder.ts'
import type { Inventory } from './inventory.ts'
import { isUnchecked, referenceKind, referenceOf } from './references.ts'
import type { ShardName } from './shard.ts'

/**
 * Reads all that a node holds, a piece at a time, behind a cursor, and holds it against what it should be. What is not right has been set aside by the store when it is told here;
 * `report` brings it to repair, which fetches it anew.
 */
export interface BlockScrubParts {
  readonly blocks: Pick<DiskBlocks, 'get' | 'shards'>
  readonly holder: Pick<BlockHolder, 'sawRight' | 'mendReference'>
  readonly inventory: Pick<Inventory, 'page'>
  readonly index: Pick<KeyValue, 'entries'>
  readonly report: (cid: Cid) => void
}

export interface Scrubbed {
  /** Behind what was read: where the next step begins. Undefined: there is no more. */
  readonly next: Uint8Array | undefined
  readonly bytes: number
  readonly pieces: number
  /** Not what they should be. */
  readonly wrong: number
}

export const blockScrubLimits = {
  /** Blocks of the inventory in one step, and bytes after which it ends before that. */
  page: 64,
  stepBytes: 8 * 1024 * 1024,
  /** References in one step. */
  references: 2000,
} as const

/** Blocks and shards behind a digest, in the order of digests. What is referenced and not here is repair's, which looks at that by itself. */
export async function scrubBlocks ({ blocks, holder, inventory, report }: BlockScrubParts, after: Uint8Array | undefined): Promise<Scrubbed> {
  const { items, next } = await inventory.page({ after, limit: blockScrubLimits.page })
  const sum = { bytes: 0, pieces: 0, wrong: 0 }
  for (const [i, { cid, isHere, shards }] of items.entries()) {
    const names: Array<Cid | ShardName> = [...isHere ? [cid] : [], ...shards]
    for (const name of names) {
      const bytes = await lengthIfRight(blocks, name)
      sum.pieces++
      sum.bytes += bytes ?? 0
      if (bytes !== undefined) holder.sawRight(name)
      else { sum.wrong++; report(cid) }
    }
    if (sum.bytes >= blockScrubLimits.stepBytes && i < items.length - 1) return { ...sum, next: digestOf(cid) }
  }
  return { ...sum, next }
}

/** References, behind one; those that had no check get it. */
export async function scrubReferences ({ index, holder, report }: BlockScrubParts, after: Uint8Array | undefined): Promise<Scrubbed> {
  const sum = { bytes: 0, pieces: 0, wrong: 0 }
  let last: Uint8Array | undefined
  const from = after === undefined ? Uint8Array.of(referenceKind) : concat([after, Uint8Array.of(0)])
  for await (const [key, value] of index.entries({ from, to: Uint8Array.of(referenceKind + 1), limit: blockScrubLimits.references })) {
    sum.pieces++
    sum.bytes += key.byteLength + value.byteLength
    last = key
    const isDamaged = referenceOf(key, value) === 'damaged'
    if (isDamaged || isUnchecked(value)) await holder.mendReference(key)
    if (!isDamaged) continue
    sum.wrong++
    if (key.byteLength > 32) report(cidOfDigest(key.slice(1, 33)))
  }
  return { ...sum, next: sum.pieces < blockScrubLimits.references ? undefined : last }
}

/** Undefined: it is not what it should be, or gone meanwhile. */
async function lengthIfRight (blocks: BlockScrubParts['blocks'], name: Cid | ShardName): Promise<number | undefined> {
  try {
    return typeof name === 'string' ? (await blocks.get(name)).byteLength : (await blocks.shards.get(name)).bytes.byteLength
  } catch (error) {
    if (error instanceof Corrupt || error instanceof NotFound) return undefined
    throw error
  }
}
