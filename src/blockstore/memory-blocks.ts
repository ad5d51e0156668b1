import { type Cid, cidOf, parseCid } from '../base/cid.ts'
import { hold } from '../base/lease.ts'
import { BlockCorrupt, BlockMissing, type Blocks } from './index.ts'

/** Blocks in a map: for tests, and wherever nothing needs to last. */
export function memoryBlocks (): Blocks {
  const blocks = new Map<Cid, Uint8Array>()
  return {
    async get (cid) {
      const block = blocks.get(parseCid(cid))
      if (block === undefined) throw new BlockMissing(cid)
      return block
    },
    async put (cid, block) {
      if (cidOf(block) !== parseCid(cid)) throw new BlockCorrupt(cid)
      hold(block)
      blocks.set(cid, block)
    },
    has: async (cid) => blocks.has(parseCid(cid)),
    delete: async (cid) => { blocks.delete(parseCid(cid)) },
    async * list () { yield * blocks.keys() },
  }
}
