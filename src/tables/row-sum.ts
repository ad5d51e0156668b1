import { concat, hexOf } from '../base/bytes.ts'
import { hash } from '../base/hash.ts'
import { encodeBallot } from './ballot.ts'
import type { Ballot, StoredRow, TableNumber } from './index.ts'

/**
 * Digests of sets of rows that do not depend on the order and follow a change in one step: sums of hashes modulo 2^256. Sums and not XOR, whose
 * collisions a writer can choose (Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", Eurocrypt 1997).
 */
const modulus = 1n << 256n

export const termOf = (bytes: Uint8Array): bigint => BigInt(`0x${hexOf(bytes)}`)
export const added = (sum: bigint, term: bigint): bigint => (sum + term) % modulus
export const subtracted = (sum: bigint, term: bigint): bigint => (sum + modulus - term) % modulus
export const sumBytes = (sum: bigint): Uint8Array => Buffer.from(sum.toString(16).padStart(64, '0'), 'hex')

/** What replicas compare: table, row key and accepted ballot. Undefined: nothing is accepted, so there is nothing to agree on. */
export function agreedTerm ({ table, rowKey, accepted }: Pick<StoredRow, 'table' | 'rowKey' | 'accepted'>, ballotOf: (table: TableNumber, record: Uint8Array) => Ballot): bigint | undefined {
  return accepted === undefined ? undefined : termOf(hash(Uint8Array.of(table), rowKey, encodeBallot(ballotOf(table, accepted))))
}

/** What a store proves to itself: every byte of the row. 32 bytes. */
export const rowHash = ({ table, rowKey, promised, accepted }: StoredRow): Uint8Array =>
  hash(Uint8Array.of(table), rowKey, encodeBallot(promised), Uint8Array.of(accepted === undefined ? 0 : 1), accepted ?? concat([]))
