/** Reed-Solomon: a piece of data as k shards and m more, of which any k give it back. */
import { type Combine, combiner, maxPieces, unwritten } from './combine.ts'
import { inverted, type Matrix, systematicMatrix, times } from './matrix.ts'

export interface ErasureCode {
  readonly k: number
  readonly m: number
  /** k + m shards of ⌈length / k⌉ bytes each; the first k are the data itself with zeros behind (views of it, where they can be). */
  shardsOf (data: Uint8Array): Uint8Array[]
  /** One of the k + m shards, without the others. */
  shardOf (data: Uint8Array, index: number): Uint8Array
  /** The data, from any k shards under their indexes; `length`: of the data. More than k are not looked at. */
  dataOf (shards: ReadonlyMap<number, Uint8Array>, length: number): Uint8Array
}

/** Shards of a code: k, m ≥ 1 and no more than this together. */
export const maxShards = maxPieces

export const shardLengthOf = (length: number, k: number): number => Math.ceil(length / k)

/** The code of k + m, k and m ≥ 1, k + m ≤ 32. */
export async function erasureCode ({ k, m }: { readonly k: number, readonly m: number }): Promise<ErasureCode> {
  return codeOver(await combiner(), { k, m })
}

export function codeOver (combine: Combine, { k, m }: { readonly k: number, readonly m: number }): ErasureCode {
  if (!Number.isInteger(k) || !Number.isInteger(m) || k < 1 || m < 1 || k + m > maxShards) throw new RangeError(`there is no code of ${k}+${m} shards`)
  const matrix = systematicMatrix(k, m)
  const parity = matrix.slice(k)
  const restoring = rememberedRows(matrix)
  return {
    k,
    m,
    shardsOf (data) {
      const pieces = piecesOf(data, k)
      return [...pieces, ...combine(parity, pieces)]
    },
    shardOf (data, index) {
      const pieces = piecesOf(data, k)
      return index < k ? pieces[index] as Uint8Array : combine([rowOf(matrix, index)], pieces)[0] as Uint8Array
    },
    dataOf (shards, length) {
      const indexes = [...shards.keys()].sort((a, b) => a - b).slice(0, k)
      if (indexes.length < k) throw new RangeError(`${indexes.length} shards of the ${k} that are needed`)
      const missing = Array.from({ length: k }, (_, i) => i).filter((i) => !indexes.includes(i))
      const restored = missing.length === 0 ? [] : combine(restoring(indexes, missing), indexes.map((index) => shards.get(index) as Uint8Array))
      const data = unwritten(length)
      for (let i = 0, pieceBytes = shardLengthOf(length, k); i < k; i++) {
        const piece = shards.get(i) ?? restored[missing.indexOf(i)] as Uint8Array
        const at = Math.min(i * pieceBytes, length)
        data.set(piece.subarray(0, Math.min(pieceBytes, length - at)), at)
      }
      return data
    },
  }
}

function piecesOf (data: Uint8Array, k: number): Uint8Array[] {
  const pieceBytes = shardLengthOf(data.byteLength, k)
  return Array.from({ length: k }, (_, i) => {
    const piece = data.subarray(i * pieceBytes, (i + 1) * pieceBytes)
    if (piece.byteLength === pieceBytes) return piece
    const filled = new Uint8Array(pieceBytes)
    filled.set(piece)
    return filled
  })
}

/** Combinations of lost shards that are remembered: while a node is away it is nearly always the same few. */
const maxRemembered = 64

/** What the shards at `indexes` must be multiplied with to give those at `missing`, which follow from them. */
function rememberedRows (matrix: Matrix): (indexes: readonly number[], missing: readonly number[]) => Matrix {
  const known = new Map<string, Matrix>()
  return (indexes, missing) => {
    const name = indexes.join()
    const rows = known.get(name) ?? times(missing.map((i) => rowOf(matrix, i)), inverted(indexes.map((i) => rowOf(matrix, i))))
    if (known.size >= maxRemembered) known.clear()
    known.set(name, rows)
    return rows
  }
}

const rowOf = (matrix: Matrix, index: number): Uint8Array => matrix[index] as Uint8Array
