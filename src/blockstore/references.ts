import { concat } from '../base/bytes.ts'
import { type Cid, digestOf } from '../base/cid.ts'
import type { KeyRange, KeyValue } from '../disk/index.ts'

/** Why a block is kept. */
export interface BlockReference {
  /** 32 bytes. */
  readonly versionId: Uint8Array
  readonly redundancy: { readonly k: number, readonly m: number }
}

/** Key: 3 | digest(32) | versionId(32); value: k | m. */
export const referenceKind = 3

export const referenceKeyOf = (cid: Cid, { versionId }: Pick<BlockReference, 'versionId'>): Uint8Array => concat([Uint8Array.of(referenceKind), digestOf(cid), versionId])

export function referenceOf (key: Uint8Array, value: Uint8Array): BlockReference {
  return { versionId: key.slice(1 + 32), redundancy: { k: value[0] ?? 0, m: value[1] ?? 0 } }
}

/** The keys of all references to a block. */
export function referencesTo (cid: Cid): KeyRange {
  const prefix = concat([Uint8Array.of(referenceKind), digestOf(cid)])
  return { from: prefix, to: concat([prefix, new Uint8Array(33).fill(0xff)]) }
}

/** What many references come to, in a few bytes: whether two holders have recorded the same, and how many pieces the most demanding wants. */
export interface ReferenceSum {
  readonly count: number
  /** Of those that want whole copies. The same, whatever the order: the exclusive or of the first 32 bits of each version id, which is a hash. */
  readonly digest: number
  /** The largest of those that want whole copies (k = 1); undefined if there is none. */
  readonly redundancy: BlockReference['redundancy'] | undefined
  /** Of those that want shards, for each code. */
  readonly codes: ReadonlyArray<{ readonly redundancy: BlockReference['redundancy'], readonly digest: number }>
}

export const noReferences: ReferenceSum = { count: 0, digest: 0, redundancy: undefined, codes: [] }

export function withReference (sum: ReferenceSum, { versionId, redundancy }: BlockReference): ReferenceSum {
  const bits = new DataView(versionId.buffer, versionId.byteOffset).getUint32(0)
  const counted = { ...sum, count: sum.count + 1 }
  if (redundancy.k === 1) {
    const isMore = sum.redundancy === undefined || redundancy.m > sum.redundancy.m
    return { ...counted, digest: (sum.digest ^ bits) >>> 0, redundancy: isMore ? redundancy : sum.redundancy }
  }
  const digest = (digestOfCode(sum, redundancy) ^ bits) >>> 0
  return { ...counted, codes: [...sum.codes.filter((code) => !isSameCode(code.redundancy, redundancy)), { redundancy, digest }] }
}

export const digestOfCode = ({ codes }: ReferenceSum, redundancy: BlockReference['redundancy']): number => codes.find((code) => isSameCode(code.redundancy, redundancy))?.digest ?? 0

const isSameCode = (a: BlockReference['redundancy'], b: BlockReference['redundancy']): boolean => a.k === b.k && a.m === b.m

export const isSameSum = (a: ReferenceSum, b: ReferenceSum): boolean =>
  a.count === b.count && a.digest === b.digest && a.codes.length === b.codes.length && a.codes.every(({ redundancy, digest }) => digestOfCode(b, redundancy) === digest)

export async function sumOfReferences (index: Pick<KeyValue, 'entries'>, cid: Cid): Promise<ReferenceSum> {
  let sum = noReferences
  for await (const [key, value] of index.entries(referencesTo(cid))) sum = withReference(sum, referenceOf(key, value))
  return sum
}
