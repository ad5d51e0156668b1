import { ByteReader, ByteWriter, equals, partitionCount, partitionOf } from '../base/bytes.ts'
import { hashLength, withDigest, withoutDigest } from '../base/hash.ts'
import type { StoredRow } from './index.ts'
import { added, rowHash, subtracted, sumBytes, termOf } from './row-sum.ts'

/**
 * Per partition: how many rows there are and the sum of their hashes. Written beside the index at every checkpoint, brought up to date from the journal,
 * and held against what the index really has: an index that forgot, changed or invented a row does not add up.
 */
export class RowProof {
  readonly #counts: number[]
  readonly #sums: bigint[]

  constructor (counts: number[] = Array.from({ length: partitionCount }, () => 0), sums: bigint[] = Array.from({ length: partitionCount }, () => 0n)) {
    this.#counts = counts
    this.#sums = sums
  }

  /** A row takes the place of one with hash `before`, or of none. */
  replace (row: StoredRow, before: Uint8Array | undefined): void {
    const partition = partitionOf(row.rowKey)
    if (this.isLost(partition)) return
    let sum = added(this.#sums[partition] ?? 0n, termOf(rowHash(row)))
    if (before === undefined) this.#counts[partition] = (this.#counts[partition] ?? 0) + 1
    else sum = subtracted(sum, termOf(before))
    this.#sums[partition] = sum
  }

  /** Whether a partition has exactly these rows. */
  holds (partition: number, found: { count: number, sum: bigint }): boolean {
    return !this.isLost(partition) && this.#counts[partition] === found.count && this.#sums[partition] === found.sum
  }

  set (partition: number, { count, sum }: { count: number, sum: bigint }): void {
    this.#counts[partition] = count
    this.#sums[partition] = sum
  }

  /** Nothing proves the partition from now on, over restarts too, until it is `set`: an empty index must not pass for a whole one. */
  lose (partition: number): void { this.set(partition, { count: lostCount, sum: 0n }) }
  isLost (partition: number): boolean { return this.#counts[partition] === lostCount }
  get isLostWhole (): boolean { return this.#counts.every((count) => count === lostCount) }

  /** "DFSP" | version u8 | storeId(16) | u64 journal position | u64 counter | 4096 × (u32 count | sum(32)) | H(all before)(32). Count 2^32 - 1: lost. */
  encode ({ storeId, position, counter }: ProofHead): Uint8Array {
    const writer = new ByteWriter().raw(magic).raw(storeId).u64(position).u64(counter)
    for (let partition = 0; partition < partitionCount; partition++) writer.u32(this.#counts[partition] ?? 0).raw(sumBytes(this.#sums[partition] ?? 0n))
    return withDigest(writer.finish())
  }
}

export interface ProofHead {
  readonly storeId: Uint8Array
  readonly position: bigint
  readonly counter: bigint
}

const magic = Uint8Array.of(0x44, 0x46, 0x53, 0x50, 1)
const lostCount = 0xffff_ffff

/** Undefined if a single bit of it changed. */
export function decodeProof (bytes: Uint8Array): { head: ProofHead, proof: RowProof } | undefined {
  if (bytes.byteLength !== magic.byteLength + 16 + 16 + partitionCount * 36 + hashLength) return undefined
  const body = withoutDigest(bytes)
  if (body === undefined) return undefined
  const reader = new ByteReader(body)
  if (!equals(reader.raw(magic.byteLength), magic)) return undefined
  const head = { storeId: reader.raw(16), position: reader.u64(), counter: reader.u64() }
  const [counts, sums]: [number[], bigint[]] = [[], []]
  for (let partition = 0; partition < partitionCount; partition++) {
    counts.push(reader.u32())
    sums.push(termOf(reader.raw(32)))
  }
  return { head, proof: new RowProof(counts, sums) }
}
