import { inverse, power, product } from './field.ts'

/** Rows of elements of the field. */
export type Matrix = ReadonlyArray<Uint8Array>

/**
 * k + m rows of k: shard i is row i times the k pieces of data. The first k rows are the identity, so the first k shards are the data itself, and any k rows
 * are invertible, so any k shards suffice. It is the Vandermonde matrix r^c times the inverse of its first k rows, as Backblaze's JavaReedSolomon
 * and klauspost/reedsolomon have it.
 */
export function systematicMatrix (k: number, m: number): Matrix {
  const vandermonde = Array.from({ length: k + m }, (_, row) => Uint8Array.from({ length: k }, (__, column) => power(row, column)))
  return times(vandermonde, inverted(vandermonde.slice(0, k)))
}

export const times = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => Uint8Array.from(b[0] as Uint8Array, (_, column) => row.reduce((sum, element, i) => sum ^ product(element, b[i]?.[column] as number), 0)))

/** By Gauss and Jordan, with the identity beside it; only of matrices that have an inverse. */
export function inverted (matrix: Matrix): Matrix {
  const size = matrix.length
  const rows: Uint8Array[] = matrix.map((row, i) => Uint8Array.from({ length: 2 * size }, (_, column) => column < size ? row[column] as number : Number(column - size === i)))
  for (let column = 0; column < size; column++) {
    const pivot = rows.findIndex((row, i) => i >= column && row[column] !== 0)
    if (pivot < 0) throw new Error('a matrix without an inverse')
    const row = rows[pivot] as Uint8Array
    rows[pivot] = rows[column] as Uint8Array
    rows[column] = row
    const factor = inverse(row[column] as number)
    for (const [i, element] of row.entries()) row[i] = product(element, factor)
    for (const [i, other] of rows.entries()) if (i !== column) subtract(other, row, other[column] as number)
  }
  return rows.map((row) => row.slice(size))
}

function subtract (from: Uint8Array, row: Uint8Array, factor: number): void {
  if (factor === 0) return
  for (const [i, element] of row.entries()) from[i] = (from[i] as number) ^ product(element, factor)
}
