// Compiles src/ to dist/ (JavaScript, types, source maps) and copies the WASM kernels beside it.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const top = join(import.meta.dirname, '..')
rmSync(join(top, 'dist'), { recursive: true, force: true })
const compiled = spawnSync(process.execPath, [join(top, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], { cwd: top, stdio: 'inherit' })
if (compiled.status !== 0) process.exit(compiled.status ?? 1)
for (const name of readdirSync(join(top, 'src'), { recursive: true }).filter((file) => file.endsWith('.wasm'))) {
  mkdirSync(dirname(join(top, 'dist', name)), { recursive: true })
  copyFileSync(join(top, 'src', name), join(top, 'dist', name))
}
