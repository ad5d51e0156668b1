import { compareBytes, concat } from '../base/bytes.ts'
import { type Cid, cidOfDigest, digestOf } from '../base/cid.ts'
import type { KeyValue } from '../disk/index.ts'
import { deadKind, deadReferencesTo, isAnyAside } from './condemned.ts'
import { type Blocks, orUnseen, type Shards } from './index.ts'
import { type FormName, formNameOf, noReferences, referenceKind, referenceOf, type ReferenceSum, sumOfReferences, withReference } from './references.ts'
import type { ShardName } from './shard.ts'

/** One block as this node knows it: held, or only referenced, be it by what is dead. */
export interface InventoryItem {
  readonly cid: Cid
  readonly isHere: boolean
  readonly shards: readonly ShardName[]
  /** Of the block, or of a shard, the disk does not tell whether it is here: it counts as none that is, and is not known to be gone. */
  readonly isUnseen: boolean
  /** Those that live. */
  readonly references: ReferenceSum
  /** How many are dead. */
  readonly dead: number
  /** Of what is here it is not known whom it is for: there is no reference but such as cannot be read, or were set aside for that. It may be the only copy that there is. */
  readonly isInDoubt: boolean
}

/**
 * All blocks that a node holds or should, in order of their digests, a page at a time: a walk over any number of them needs the memory of one page, and goes
 * on behind any digest. A block is known by its bytes or by its references, so either lost alone is noticed. (Both lost are noticed by the others, who have them.)
 */
export interface Inventory {
  /** Up to `limit` blocks behind `after`, or from the first. `next` is where the following page begins; undefined: there is no more. */
  page (options: { after: Uint8Array | undefined, limit: number }): Promise<{ items: readonly InventoryItem[], next: Uint8Array | undefined }>
  find (cid: Cid): Promise<InventoryItem>
  /** Bytes of a block that is here, or of its shards; 0 if nothing is. `forms`: of what is kept so. */
  sizeOf (cid: Cid, forms?: ReadonlySet<FormName>): Promise<number>
}

/** In which forms a block is here. */
export const formsHere = ({ isHere, shards }: Pick<InventoryItem, 'isHere' | 'shards'>): ReadonlySet<FormName> => new Set([...isHere ? ['whole' as const] : [], ...shards.map(formNameOf)])

const kinds = { small: 1, large: 2, smallShard: 8, largeShard: 9 } as const
const digestLength = 32

export function blockInventory ({ blocks, index }: { blocks: Pick<Blocks, 'has'> & { readonly shards: Pick<Shards, 'of' | 'has'> }, index: Pick<KeyValue, 'get' | 'keys' | 'entries'> }): Inventory {
  const piecesOf = async (cid: Cid, { isSmall, hasShards }: { isSmall: boolean, hasShards: boolean }): Promise<Pick<InventoryItem, 'isHere' | 'shards' | 'isUnseen'>> => {
    let isUnseen = false
    const unseen = (error: unknown): false => { isUnseen = true; return orUnseen(error) }
    const isHere = isSmall || await blocks.has(cid).catch(unseen)
    const shards: ShardName[] = []
    if (hasShards) for await (const name of blocks.shards.of(cid)) if (await blocks.shards.has(name).catch(unseen)) shards.push(name)
    return { isHere, shards, isUnseen }
  }
  const known = async (item: Omit<InventoryItem, 'isInDoubt'>): Promise<InventoryItem> => {
    const { cid, references: { count, damaged }, isHere, shards } = item
    return { ...item, isInDoubt: count === 0 && (isHere || shards.length > 0) && (damaged > 0 || await isAnyAside(index, cid)) }
  }
  return {
    async page ({ after, limit }) {
      const rangeOf = (kind: number): { from: Uint8Array, to: Uint8Array } => ({ from: after === undefined ? Uint8Array.of(kind) : concat([Uint8Array.of(kind), after, new Uint8Array(33).fill(0xff)]), to: Uint8Array.of(kind + 1) })
      await using small = cursorOf(index.keys(rangeOf(kinds.small)), (key) => key)
      await using large = cursorOf(index.keys(rangeOf(kinds.large)), (key) => key)
      await using smallShards = cursorOf(index.keys(rangeOf(kinds.smallShard)), (key) => key)
      await using largeShards = cursorOf(index.keys(rangeOf(kinds.largeShard)), (key) => key)
      await using references = cursorOf(index.entries(rangeOf(referenceKind)), ([key]) => key)
      await using deadReferences = cursorOf(index.keys(rangeOf(deadKind)), (key) => key)
      const items: Array<{ digest: Uint8Array, isSmall: boolean, hasShards: boolean, sum: ReferenceSum, dead: number }> = []
      const next = async (): Promise<Uint8Array | undefined> => first(await small.digest(), await large.digest(), await smallShards.digest(), await largeShards.digest(), await references.digest(), await deadReferences.digest())
      for (;;) {
        const digest = await next()
        if (digest === undefined) break
        if (items.length === limit) break
        let sum = noReferences
        const isSmall = await small.takes(digest) !== undefined
        await large.takes(digest)
        let hasShards = false
        for (const shards of [smallShards, largeShards]) while (await shards.takes(digest) !== undefined) hasShards = true
        for (let entry = await references.takes(digest); entry !== undefined; entry = await references.takes(digest)) sum = withReference(sum, referenceOf(...entry))
        let dead = 0
        while (await deadReferences.takes(digest) !== undefined) dead++
        items.push({ digest, isSmall, hasShards, sum, dead })
      }
      const isMore = await next() !== undefined
      return {
        items: await Promise.all(items.map(async ({ digest, sum, dead, ...kept }) => {
          const cid = cidOfDigest(digest)
          return known({ cid, ...await piecesOf(cid, kept), references: sum, dead })
        })),
        next: isMore ? items.at(-1)?.digest : undefined,
      }
    },
    async find (cid) {
      const [pieces, references, dead] = await Promise.all([piecesOf(cid, { isSmall: false, hasShards: true }), sumOfReferences(index, cid), countOf(index.keys(deadReferencesTo(cid)))])
      return known({ cid, ...pieces, references, dead })
    },
    async sizeOf (cid, forms) {
      const isAsked = (form: FormName): boolean => forms === undefined || forms.has(form)
      let bytes = 0
      if (isAsked('whole')) {
        const small = await index.get(concat([Uint8Array.of(kinds.small), digestOf(cid)]))
        bytes += small?.byteLength ?? sizeIn(await index.get(concat([Uint8Array.of(kinds.large), digestOf(cid)])))
      }
      for (const kind of [kinds.smallShard, kinds.largeShard]) {
        const from = concat([Uint8Array.of(kind), digestOf(cid)])
        for await (const [key, value] of index.entries({ from, to: concat([from, new Uint8Array(33).fill(0xff)]) })) {
          const [k = 0, m = 0] = key.subarray(1 + digestLength)
          if (isAsked(formNameOf({ k, m }))) bytes += kind === kinds.smallShard ? value.byteLength : sizeIn(value)
        }
      }
      return bytes
    },
  }
}

async function countOf (keys: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of keys) count++
  return count
}

const sizeIn = (value: Uint8Array | undefined): number => value?.byteLength === 4 ? new DataView(value.buffer, value.byteOffset).getUint32(0) : 0

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
    for (;;) {
      const result = await (head ??= iterator.next())
      if (result.done === true) return undefined
      // a key that rotted may be too short to name a block
      if (keyOf(result.value).byteLength > digestLength) return result.value
      head = undefined
    }
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
