import { readFile } from 'node:fs/promises'

/** The chunker's inner loop. Two of one meaning: a kernel in WASM (wasm/gear.as.ts), 2-3 GB/s, and its twin in JavaScript, half as fast. */
export interface GearScanner {
  /** Loads bytes to be scanned; at most `maxBytes`. */
  load (bytes: Uint8Array): void
  /** The position behind the first cut in [from, to) of what was loaded, or undefined; `hash` is what an earlier call gave, 0 at a chunk's start. */
  scan (range: { from: number, to: number, mask: number, hash: number }): { cut: number | undefined, hash: number }
}

// Node has it; only the browser's types describe it (https://webassembly.github.io/spec/js-api/)
declare const WebAssembly: {
  compile (bytes: Uint8Array): Promise<object>
  instantiate (module: object, imports: object): Promise<{ exports: unknown }>
}

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer, grow (pages: number): number }
  scan (from: number, to: number, mask: number, hash: number): number
  lastHash (): number
}

const tableEntries = 256
const dataAt = tableEntries * 4
const pageBytes = 64 * 1024

let compiled: Promise<object | undefined> | undefined

/** `table`: 256 u32. `maxBytes`: what one load may hold. */
export async function gearScanner (table: Uint32Array, maxBytes: number): Promise<GearScanner> {
  compiled ??= compile().catch((error: unknown) => { compiled = undefined; throw error })
  const module = await compiled
  return module === undefined ? plainGearScanner(table) : kernelScanner(module, table, maxBytes)
}

/** Undefined in a checkout that was installed without development dependencies: the compiler of the kernel is one. */
async function compile (): Promise<object | undefined> {
  const bytes = await readFile(new URL('./wasm/gear.wasm', import.meta.url)).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return undefined; throw error })
  return bytes === undefined ? undefined : WebAssembly.compile(bytes)
}

async function kernelScanner (module: object, table: Uint32Array, maxBytes: number): Promise<GearScanner> {
  const { exports } = await WebAssembly.instantiate(module, {})
  const kernel = exports as Kernel
  const missingBytes = dataAt + maxBytes - kernel.memory.buffer.byteLength
  if (missingBytes > 0) kernel.memory.grow(Math.ceil(missingBytes / pageBytes))
  const memory = new Uint8Array(kernel.memory.buffer)
  new Uint32Array(kernel.memory.buffer, 0, tableEntries).set(table)
  return {
    load: (bytes) => { memory.set(bytes, dataAt) },
    scan ({ from, to, mask, hash }) {
      const cut = kernel.scan(from, to, mask, hash)
      return { cut: cut === 0 ? undefined : cut, hash: kernel.lastHash() }
    },
  }
}

/** The kernel's twin: the same cuts. */
export function plainGearScanner (table: Uint32Array): GearScanner {
  let loaded: Uint8Array = new Uint8Array(0)
  return {
    load: (bytes) => { loaded = bytes },
    scan ({ from, to, mask, hash }) {
      let h = hash
      for (let at = from; at < to; at++) {
        h = ((h << 1) + (table[loaded[at] as number] as number)) | 0
        if ((h & mask) === 0) return { cut: at + 1, hash: h }
      }
      return { cut: undefined, hash: h }
    },
  }
}
