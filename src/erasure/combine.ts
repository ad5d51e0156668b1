import { readFile } from 'node:fs/promises'
import { concat } from '../base/bytes.ts'
import { product, productsOf } from './field.ts'
import type { Matrix } from './matrix.ts'

/**
 * The one inner loop of encoding and of reconstruction: each row of the matrix times the inputs, all of one length, gives an output of that length, memory of
 * its own. Two of one meaning: a kernel in WASM (wasm/combine.as.ts) and its twin in JavaScript.
 */
export type Combine = (matrix: Matrix, inputs: readonly Uint8Array[]) => Uint8Array[]

/** Inputs and outputs of one combination together. */
export const maxPieces = 32

// Node has it; only the browser's types describe it (https://webassembly.github.io/spec/js-api/)
declare const WebAssembly: {
  compile (bytes: Uint8Array): Promise<object>
  instantiate (module: object, imports: object): Promise<{ exports: unknown }>
}

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer, grow (pages: number): number }
  combine (inputs: number, outputs: number, stride: number, length: number): void
}

const [dataAt, tableBytes, stepBytes, pageBytes] = [8192, 32, 32, 64 * 1024]
/** What the pieces of one step fill: it stays in a core's second-level cache. */
const workBytes = 512 * 1024

let loaded: Promise<Combine> | undefined

/** The kernel; its twin in a checkout that was installed without development dependencies, for the kernel's compiler is one. */
export async function combiner (): Promise<Combine> {
  loaded ??= load().catch((error: unknown) => { loaded = undefined; throw error })
  return loaded
}

async function load (): Promise<Combine> {
  const bytes = await readFile(new URL('./wasm/combine.wasm', import.meta.url)).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return undefined; throw error })
  if (bytes === undefined) return plainCombine
  const { exports } = await WebAssembly.instantiate(await WebAssembly.compile(bytes), {})
  return combineBy(exports as Kernel)
}

function combineBy (kernel: Kernel): Combine {
  const missingBytes = dataAt + workBytes - kernel.memory.buffer.byteLength
  if (missingBytes > 0) kernel.memory.grow(Math.ceil(missingBytes / pageBytes))
  const memory = new Uint8Array(kernel.memory.buffer)
  const tables = new WeakMap<Matrix, Uint8Array>()
  return (matrix, inputs) => {
    const length = inputs[0]?.byteLength ?? 0
    const pieces = inputs.length + matrix.length
    if (pieces > maxPieces) throw new RangeError(`${pieces} pieces, and at most ${maxPieces} fit`)
    const known = tables.get(matrix) ?? nibbleTablesOf(matrix)
    tables.set(matrix, known)
    memory.set(known)
    const outputs = matrix.map(() => unwritten(length))
    const stride = Math.min(roundedUp(length), workBytes / pieces & ~(stepBytes - 1))
    for (let at = 0; at < length; at += stride) {
      const bytes = Math.min(stride, length - at)
      // beyond `bytes` stands what was there before: its products are not looked at
      for (const [i, input] of inputs.entries()) memory.set(input.subarray(at, at + bytes), dataAt + i * stride)
      kernel.combine(inputs.length, outputs.length, stride, roundedUp(bytes))
      for (const [i, output] of outputs.entries()) {
        const from = dataAt + (inputs.length + i) * stride
        output.set(memory.subarray(from, from + bytes), at)
      }
    }
    return outputs
  }
}

const roundedUp = (bytes: number): number => Math.ceil(bytes / stepBytes) * stepBytes

/** Of each coefficient the products of the low nibbles, then of the high ones. */
const nibbleTablesOf = (matrix: Matrix): Uint8Array => concat(matrix.flatMap((row) => [...row].map((coefficient) =>
  Uint8Array.from({ length: tableBytes }, (_, i) => product(coefficient, i < 16 ? i : (i - 16) << 4)))))

/** Memory that is written whole before anybody sees it. */
export function unwritten (length: number): Uint8Array {
  const { buffer } = Buffer.allocUnsafeSlow(length)
  return new Uint8Array(buffer, 0, length)
}

/** The kernel's twin: the same bytes. */
export const plainCombine: Combine = (matrix, inputs) => matrix.map((coefficients) => {
  const output = new Uint8Array(inputs[0]?.byteLength ?? 0)
  for (const [column, coefficient] of coefficients.entries()) {
    const [products, input] = [productsOf(coefficient), inputs[column] as Uint8Array]
    for (let i = 0; i < output.byteLength; i++) output[i] = (output[i] as number) ^ (products[input[i] as number] as number)
  }
  return output
})
