import { concat, equals } from '../base/bytes.ts'
import { type Cid, digestOf } from '../base/cid.ts'
import { hash } from '../base/hash.ts'
import type { KeyRange, KeyValue } from '../disk/index.ts'

/** Why a block is kept. */
export interface BlockReference {
  /** 32 bytes. */
  readonly versionId: Uint8Array
  readonly redundancy: { readonly k: number, readonly m: number }
}

/**
 * Key: 3 | digest(32) | versionId(32); value: k | m | first 8 of H(key | k | m). The first version had no check behind it, and is read: LevelDB gives what rotted in its
 * tables as if it were right, and a reference with a flipped bit is another reference.
 */
export const referenceKind = 3
const [keyLength, checkLength] = [1 + 32 + 32, 8]
/**
 * First byte of the keys of references that were set aside, as they were: behind it stands the key, and the value is its own. In no sum, for how it wants the block to be kept is not known any more;
 * but its block, or a form of it, does not go before the version is known to be dead, or the reference stands here again: where there is one copy nobody else knows of it.
 */
export const asideReferenceKind = 32

export const referenceKeyOf = (cid: Cid, { versionId }: Pick<BlockReference, 'versionId'>): Uint8Array => concat([Uint8Array.of(referenceKind), digestOf(cid), versionId])

export const referenceValueOf = (key: Uint8Array, { redundancy: { k, m } }: Pick<BlockReference, 'redundancy'>): Uint8Array => concat([Uint8Array.of(k, m), checkOf(key, Uint8Array.of(k, m))])

/** 'damaged': it is not what was written. It says nothing, not even that there was none: what it may have kept must not go because of it. */
export function referenceOf (key: Uint8Array, value: Uint8Array): BlockReference | 'damaged' {
  const redundancy = value.subarray(0, 2)
  const isChecked = value.byteLength !== 2
  if (key.byteLength !== keyLength || (isChecked && !equals(value.subarray(2), checkOf(key, redundancy)))) return 'damaged'
  return { versionId: key.slice(1 + 32), redundancy: { k: value[0] ?? 0, m: value[1] ?? 0 } }
}

/** Written before references had a check. */
export const isUnchecked = (value: Uint8Array): boolean => value.byteLength === 2

const checkOf = (key: Uint8Array, redundancy: Uint8Array): Uint8Array => hash(key, redundancy).subarray(0, checkLength)

/** The keys of all references to a block. */
export function referencesTo (cid: Cid): Required<Pick<KeyRange, 'from' | 'to'>> {
  const prefix = concat([Uint8Array.of(referenceKind), digestOf(cid)])
  return { from: prefix, to: concat([prefix, new Uint8Array(33).fill(0xff)]) }
}

/** The keys of references to a block that were set aside. */
export const asideReferencesTo = (cid: Cid): KeyRange => {
  const { from, to } = referencesTo(cid)
  return { from: concat([Uint8Array.of(asideReferenceKind), from]), to: concat([Uint8Array.of(asideReferenceKind), to]) }
}

export const asideKeyOf = (key: Uint8Array): Uint8Array => concat([Uint8Array.of(asideReferenceKind), key])

/** What many references come to, in a few bytes: whether two holders have recorded the same, and how many pieces the most demanding wants. */
export interface ReferenceSum {
  readonly count: number
  /** Not what was written: while there are such, what is known of the block's references is not all. */
  readonly damaged: number
  /** Of those that want whole copies. The same, whatever the order: the exclusive or of the first 32 bits of each version id, which is a hash. */
  readonly digest: number
  /** The largest of those that want whole copies (k = 1); undefined if there is none. */
  readonly redundancy: BlockReference['redundancy'] | undefined
  /** Of those that want shards, for each code. */
  readonly codes: ReadonlyArray<{ readonly redundancy: BlockReference['redundancy'], readonly digest: number }>
}

/** In which a block, or a part of it, is kept: whole, or in shards of a code. */
export type FormName = 'whole' | `${number}+${number}`

export const formNameOf = ({ k, m }: BlockReference['redundancy']): FormName => k === 1 ? 'whole' : `${k}+${m}`

/** Whether some of the references want a block to be kept so. */
export const isWanted = ({ redundancy, codes }: ReferenceSum, form: FormName): boolean => form === 'whole' ? redundancy !== undefined : codes.some((code) => formNameOf(code.redundancy) === form)

export const noReferences: ReferenceSum = { count: 0, damaged: 0, digest: 0, redundancy: undefined, codes: [] }

export function withReference (sum: ReferenceSum, reference: BlockReference | 'damaged'): ReferenceSum {
  if (reference === 'damaged') return { ...sum, damaged: sum.damaged + 1 }
  const { versionId, redundancy } = reference
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
  a.count === b.count && a.damaged === b.damaged && a.digest === b.digest && a.codes.length === b.codes.length && a.codes.every(({ redundancy, digest }) => digestOfCode(b, redundancy) === digest)

export async function sumOfReferences (index: Pick<KeyValue, 'entries'>, cid: Cid): Promise<ReferenceSum> {
  let sum = noReferences
  for await (const [key, value] of index.entries(referencesTo(cid))) sum = withReference(sum, referenceOf(key, value))
  return sum
}
