import { readFileSync } from 'node:fs'
import { fromHex, hexOf } from '../../src/base/bytes.ts'

/** Vectors of rows as JSON: byte strings are written as {"hex": "…"}. */
export function rowVectors<Row> (file: string): ReadonlyArray<{ readonly name: string, readonly row: Row, readonly bytes: string }> {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'), revived) as ReadonlyArray<{ name: string, row: Row, bytes: string }>
}

/** For writing one. */
export const vectorText = (vectors: unknown): string => `${JSON.stringify(vectors, (_, value: unknown) => value instanceof Uint8Array ? { hex: hexOf(value) } : value, 2)}\n`

function revived (_: string, value: unknown): unknown {
  const isBytes = typeof value === 'object' && value !== null && 'hex' in value && typeof value.hex === 'string'
  return isBytes ? fromHex(value.hex as string) : value
}
