import { type ByteReader, ByteWriter, compareBytes } from '../base/bytes.ts'
import type { Ballot } from './index.ts'

export const ballotLimits = {
  /** u64 counter | 32-byte Ed25519 key. */
  encodedBytes: 40,
  /** Further ahead of everything known is refused: one liar could else use up the counters of a row for ever. */
  maxCounterJump: 2n ** 32n,
} as const

/** Byte order of the encoded form: by counter, then by proposer. Negative, zero or positive. */
export function compareBallots (a: Ballot, b: Ballot): number {
  if (a.counter !== b.counter) return a.counter < b.counter ? -1 : 1
  return compareBytes(a.proposer, b.proposer)
}

export const isSameBallot = (a: Ballot, b: Ballot): boolean => compareBallots(a, b) === 0

/** Undefined: there is none. */
export const highestBallot = (ballots: ReadonlyArray<Ballot | undefined>): Ballot | undefined =>
  ballots.reduce((a, b) => (b === undefined || (a !== undefined && compareBallots(a, b) >= 0) ? a : b), undefined)

/** 40 bytes: u64 counter | 32-byte proposer's key. */
export const encodeBallot = ({ counter, proposer }: Ballot): Uint8Array => new ByteWriter().u64(counter).raw(proposer).finish()

/** @throws MalformedBytes if fewer than 40 bytes are left */
export function readBallot (reader: ByteReader): Ballot {
  const counter = reader.u64()
  return { counter, proposer: reader.raw(32) }
}
