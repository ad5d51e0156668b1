import { concat } from '../base/bytes.ts'
import { type Cid, digestOf } from '../base/cid.ts'
import type { KeyValue } from '../disk/index.ts'
import type { DiskBlocks } from './disk-blocks.ts'
import { BlockCorrupt, BlockMissing, type Blocks } from './index.ts'

/** Why a block is kept. */
export interface BlockReference {
  /** 32 bytes. */
  readonly versionId: Uint8Array
  readonly redundancy: { readonly k: number, readonly m: number }
}

/** Blocks with the versions that need them: both on disk before an answer, for what is not referenced may one day be collected. */
export interface BlockHolder {
  /** 'kept': the block is here, durable and right, and the reference is recorded. */
  keep (cid: Cid, reference: BlockReference): Promise<'kept' | 'want'>
  /** @throws StoreFull, StoreReadOnly, BlockCorrupt */
  store (cid: Cid, block: Uint8Array, reference: BlockReference): Promise<void>
  references (cid: Cid): AsyncIterable<BlockReference>
}

export const holderLimits = {
  /** Blocks lately stored or read right, which need not be read again to say that they are here. */
  maxProven: 65_536,
} as const

/** Key: 3 | digest(32) | versionId(32); value: k | m. */
const referenceKind = 3
const keyOf = (cid: Cid, { versionId }: Pick<BlockReference, 'versionId'>): Uint8Array => concat([Uint8Array.of(referenceKind), digestOf(cid), versionId])

export function blockHolder ({ blocks, index }: { blocks: Pick<DiskBlocks, 'get' | 'has' | 'put' | 'settled'>, index: KeyValue }): BlockHolder {
  const proven = new Set<Cid>()
  const record = async (cid: Cid, reference: BlockReference): Promise<void> => {
    const { k, m } = reference.redundancy
    await index.batch([{ type: 'put', key: keyOf(cid, reference), value: Uint8Array.of(k, m) }], { sync: true })
  }
  const prove = (cid: Cid): void => {
    if (proven.size >= holderLimits.maxProven) proven.clear()
    proven.add(cid)
  }
  return {
    async keep (cid, reference) {
      const isHere = await isHereRight(blocks, cid, proven)
      await blocks.settled(cid)
      if (!isHere) { proven.delete(cid); return 'want' }
      prove(cid)
      await record(cid, reference)
      return 'kept'
    },
    async store (cid, block, reference) {
      // a reference without its block is harmless, so neither waits for the other
      await Promise.all([blocks.put(cid, block), record(cid, reference)])
      prove(cid)
    },
    async * references (cid) {
      const prefix = concat([Uint8Array.of(referenceKind), digestOf(cid)])
      const beyond = concat([prefix, new Uint8Array(33).fill(0xff)])
      for await (const [key, value] of index.entries({ from: prefix, to: beyond })) {
        yield { versionId: key.slice(prefix.byteLength), redundancy: { k: value[0] ?? 0, m: value[1] ?? 0 } }
      }
    },
  }
}

async function isHereRight (blocks: Pick<Blocks, 'get' | 'has'>, cid: Cid, proven: ReadonlySet<Cid>): Promise<boolean> {
  if (proven.has(cid)) return blocks.has(cid)
  try {
    await blocks.get(cid)
    return true
  } catch (error) {
    if (error instanceof BlockMissing || error instanceof BlockCorrupt) return false
    throw error
  }
}
