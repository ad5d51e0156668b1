import { compareBytes, concat } from '../base/bytes.ts'
import { type Cid, cidOfDigest, digestOf } from '../base/cid.ts'
import type { KeyValue } from '../disk/index.ts'
import type { Blocks } from './index.ts'
import { noReferences, referenceKind, referenceOf, type ReferenceSum, sumOfReferences, withReference } from './references.ts'

/** One block as this node knows it: held, or only referenced. */
export interface InventoryItem {
  readonly cid: Cid
  readonly isHere: boolean
  readonly references: ReferenceSum
}

/**
 * All blocks that a node holds or should, in order of their digests, a page at a time: a walk over any number of them needs the memory of one page, and goes
 * on behind any digest. A block is known by its bytes or by its references, so either lost alone is noticed. (Both lost are noticed by the others, who have them.)
 */
export interface Inventory {
  /** Up to `limit` blocks behind `after`, or from the first. `next` is where the following page begins; undefined: there is no more. */
  page (options: { after: Uint8Array | undefined, limit: number }): Promise<{ items: readonly InventoryItem[], next: Uint8Array | undefined }>
  find (cid: Cid): Promise<InventoryItem>
  /** Bytes of a block that is here; 0 if it is not. */
  sizeOf (cid: Cid): Promise<number>
}

const kinds = { small: 1, large: 2 } as const
const digestLength = 32

export function blockInventory ({ blocks, index }: { blocks: Pick<Blocks, 'has'>, index: Pick<KeyValue, 'get' | 'keys' | 'entries'> }): Inventory {
  return {
    async page ({ after, limit }) {
      const rangeOf = (kind: number): { from: Uint8Array, to: Uint8Array } => ({ from: after === undefined ? Uint8Array.of(kind) : concat([Uint8Array.of(kind), after, new Uint8Array(33).fill(0xff)]), to: Uint8Array.of(kind + 1) })
      await using small = cursorOf(index.keys(rangeOf(kinds.small)), (key) => key)
      await using large = cursorOf(index.keys(rangeOf(kinds.large)), (key) => key)
      await using references = cursorOf(index.entries(rangeOf(referenceKind)), ([key]) => key)
      const items: Array<{ digest: Uint8Array, isSmall: boolean, sum: ReferenceSum }> = []
      for (;;) {
        const digest = first(await small.digest(), await large.digest(), await references.digest())
        if (digest === undefined) break
        if (items.length === limit) break
        let sum = noReferences
        const isSmall = await small.takes(digest) !== undefined
        await large.takes(digest)
        for (let entry = await references.takes(digest); entry !== undefined; entry = await references.takes(digest)) sum = withReference(sum, referenceOf(...entry))
        items.push({ digest, isSmall, sum })
      }
      const isMore = first(await small.digest(), await large.digest(), await references.digest()) !== undefined
      return {
        items: await Promise.all(items.map(async ({ digest, isSmall, sum }) => {
          const cid = cidOfDigest(digest)
          return { cid, isHere: isSmall || await blocks.has(cid), references: sum }
        })),
        next: isMore ? items.at(-1)?.digest : undefined,
      }
    },
    async find (cid) {
      const [isHere, references] = await Promise.all([blocks.has(cid), sumOfReferences(index, cid)])
      return { cid, isHere, references }
    },
    async sizeOf (cid) {
      const small = await index.get(concat([Uint8Array.of(kinds.small), digestOf(cid)]))
      if (small !== undefined) return small.byteLength
      const size = await index.get(concat([Uint8Array.of(kinds.large), digestOf(cid)]))
      return size?.byteLength === 4 ? new DataView(size.buffer, size.byteOffset).getUint32(0) : 0
    },
  }
}

interface Cursor<T> extends AsyncDisposable {
  /** Of the entry that is next. */
  digest (): Promise<Uint8Array | undefined>
  /** The next entry, if it is of this block. */
  takes (digest: Uint8Array): Promise<T | undefined>
}

function cursorOf<T> (entries: AsyncIterable<T>, keyOf: (entry: T) => Uint8Array): Cursor<T> {
  const iterator = entries[Symbol.asyncIterator]()
  let head: Promise<IteratorResult<T>> | undefined
  const peek = async (): Promise<T | undefined> => {
    const result = await (head ??= iterator.next())
    return result.done === true ? undefined : result.value
  }
  const digestIn = (entry: T): Uint8Array => keyOf(entry).slice(1, 1 + digestLength)
  return {
    async digest () {
      const entry = await peek()
      return entry === undefined ? undefined : digestIn(entry)
    },
    async takes (digest) {
      const entry = await peek()
      if (entry === undefined || compareBytes(digestIn(entry), digest) !== 0) return undefined
      head = undefined
      return entry
    },
    async [Symbol.asyncDispose] () { await iterator.return?.() },
  }
}

const first = (...digests: ReadonlyArray<Uint8Array | undefined>): Uint8Array | undefined =>
  digests.reduce((least, digest) => digest !== undefined && (least === undefined || compareBytes(digest, least) < 0) ? digest : least, undefined)
