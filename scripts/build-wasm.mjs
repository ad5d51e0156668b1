// Compiles every src/**/*.as.ts (AssemblyScript) to a .wasm beside it.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import asc from 'assemblyscript/asc'

const root = join(import.meta.dirname, '..', 'src')
for (const name of readdirSync(root, { recursive: true }).filter((file) => file.endsWith('.as.ts'))) {
  const source = join('src', name)
  const output = source.replace(/\.as\.ts$/, '.wasm')
  const { error } = await asc.main([source, '--outFile', output, '-O3', '--runtime', 'stub', '--noAssert', '--enable', 'simd', '--enable', 'relaxed-simd'])
  if (error) {
    console.error(error.message)
    process.exit(1)
  }
}
