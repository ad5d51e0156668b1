import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { InvalidInput } from '../../base/errors.ts'
import { lastDateMs } from '../../base/iso-date.ts'

/** A count, as integers of 64 bits are told. */
export const whole = (count: number): bigint => BigInt(Math.round(count))

export const wholeIfKnown = (count: number | undefined): bigint | undefined => count === undefined ? undefined : whole(count)

/** Each a count. */
export const wholes = <Name extends string>(counts: Readonly<Record<Name, number>>): Record<Name, bigint> =>
  Object.fromEntries(Object.entries<number>(counts).map(([name, count]) => [name, whole(count)])) as Record<Name, bigint>

/** @throws InvalidInput for what a number of ours cannot hold */
export function numberOf (field: string, value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new InvalidInput(field, `${field} is ${value}; it takes less than 2^53`)
  return number
}

/** Milliseconds since 1970. @throws InvalidInput for what is no Timestamp: its seconds count on, or back, and its nanoseconds only on, within one */
export function msIn (field: string, timestamp: Timestamp): number
export function msIn (field: string, timestamp: Timestamp | undefined): number | undefined
export function msIn (field: string, timestamp: Timestamp | undefined): number | undefined {
  if (timestamp === undefined) return undefined
  const { seconds, nanos } = timestamp
  if (nanos < 0 || nanos >= 1e9 || seconds < -lastSecond || seconds > lastSecond) throw new InvalidInput(field, `${field} is no date: ${seconds} seconds and ${nanos} nanoseconds`)
  return timestampMs(timestamp)
}
const lastSecond = BigInt(Math.floor(lastDateMs / 1000))

/** Integers of 64 bits as text, which JSON has none of: for telling whether two answers differ. */
export const comparable = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_, part: unknown) => typeof part === 'bigint' ? String(part) : part) ?? 'null')
