import { ByteReader, ByteWriter, equals, MalformedBytes, partitionCount, partitionOf } from '../base/bytes.ts'
import { withDigest, withoutDigest } from '../base/hash.ts'
import { compareBallots, encodeBallot, readBallot } from './ballot.ts'
import { clearPartition } from './clear-rows.ts'
import type { Ballot } from './index.ts'
import { added, subtracted, sumBytes, termOf } from './row-sum.ts'

/** How many rows a partition has, and the sum of their hashes. A count of `lostCount`: nothing proves it. */
export interface PartitionProof { readonly count: number, readonly sum: bigint }

export const lostCount = 0xffff_ffff
export const nothingProves: PartitionProof = { count: lostCount, sum: 0n }

/**
 * Per partition: how many rows there are and the sum of their hashes, and its floor; and the floor of the clear rows. Written beside the index at every checkpoint, brought up to date from
 * the journal, and held against what the index really has: an index that forgot, changed or invented a row does not add up.
 */
export class RowProof {
  readonly #counts: number[]
  readonly #sums: bigint[]
  readonly #floors: Map<number, Ballot>

  constructor (
    counts: number[] = Array.from({ length: partitionCount }, () => 0),
    sums: bigint[] = Array.from({ length: partitionCount }, () => 0n),
    floors = new Map<number, Ballot>(),
  ) {
    this.#counts = counts
    this.#sums = sums
    this.#floors = floors
  }

  /** A row with hash `after` takes the place of the one with hash `before`; undefined: there is none. */
  replace (rowKey: Uint8Array, { before, after }: { before: Uint8Array | undefined, after: Uint8Array | undefined }): void {
    const partition = partitionOf(rowKey)
    if (this.isLost(partition)) return
    let [count, sum] = [this.#counts[partition] ?? 0, this.#sums[partition] ?? 0n]
    if (after !== undefined) { sum = added(sum, termOf(after)); count++ }
    if (before !== undefined) { sum = subtracted(sum, termOf(before)); count-- }
    this.set(partition, { count, sum })
  }

  /** Whether a partition has exactly these rows. */
  holds (partition: number, found: PartitionProof): boolean {
    return !this.isLost(partition) && this.#counts[partition] === found.count && this.#sums[partition] === found.sum
  }

  set (partition: number, { count, sum }: PartitionProof): void {
    this.#counts[partition] = count
    this.#sums[partition] = sum
  }

  /** Nothing proves the partition from now on, over restarts too, until it is `set`: an empty index must not pass for a whole one. */
  lose (partition: number): void { this.set(partition, nothingProves) }
  isLost (partition: number): boolean { return this.#counts[partition] === lostCount }
  get isLostWhole (): boolean { return this.#counts.every((count) => count === lostCount) }

  floor (partition: number): Ballot | undefined { return this.#floors.get(partition) }
  removeFloor (partition: number): void { this.#floors.delete(partition) }
  raiseFloor (partition: number, floor: Ballot): void {
    const before = this.#floors.get(partition)
    if (before === undefined || compareBallots(floor, before) > 0) this.#floors.set(partition, floor)
  }

  /** "DFSP" | version u8 | storeId(16) | u64 journal position | u64 counter | 4096 × (u32 count | sum(32) | u8 flag, [floor(40)]) | nothing, or the floor of the clear rows(40) | H(all before)(32). Count 2^32 - 1: lost. */
  encode ({ storeId, position, counter }: ProofHead): Uint8Array {
    const writer = new ByteWriter().raw(magic).u8(proofVersion).raw(storeId).u64(position).u64(counter)
    for (let partition = 0; partition < partitionCount; partition++) {
      const floor = this.#floors.get(partition)
      writer.u32(this.#counts[partition] ?? 0).raw(sumBytes(this.#sums[partition] ?? 0n)).u8(floor === undefined ? 0 : 1)
      if (floor !== undefined) writer.raw(encodeBallot(floor))
    }
    const ofClear = this.#floors.get(clearPartition)
    if (ofClear !== undefined) writer.raw(encodeBallot(ofClear))
    return withDigest(writer.finish())
  }
}

export interface ProofHead {
  readonly storeId: Uint8Array
  readonly position: bigint
  readonly counter: bigint
}

const magic = Uint8Array.of(0x44, 0x46, 0x53, 0x50)
/** Version 1 has no floors: there were none. */
const proofVersion = 2

/** Undefined if a single bit of it changed. */
export function decodeProof (bytes: Uint8Array): { head: ProofHead, proof: RowProof } | undefined {
  const body = withoutDigest(bytes)
  if (body === undefined) return undefined
  try {
    return readProof(new ByteReader(body))
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined
    throw error
  }
}

function readProof (reader: ByteReader): { head: ProofHead, proof: RowProof } | undefined {
  if (!equals(reader.raw(magic.byteLength), magic)) return undefined
  const version = reader.u8()
  if (version < 1 || version > proofVersion) return undefined
  const head = { storeId: reader.raw(16), position: reader.u64(), counter: reader.u64() }
  const [counts, sums, floors]: [number[], bigint[], Map<number, Ballot>] = [[], [], new Map()]
  for (let partition = 0; partition < partitionCount; partition++) {
    counts.push(reader.u32())
    sums.push(termOf(reader.raw(32)))
    if (version > 1 && reader.u8() === 1) floors.set(partition, readBallot(reader))
  }
  if (version > 1 && reader.remaining > 0) floors.set(clearPartition, readBallot(reader))
  reader.end()
  return { head, proof: new RowProof(counts, sums, floors) }
}
