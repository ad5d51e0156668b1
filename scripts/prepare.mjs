// Runs on every install from a checkout: builds the WASM kernels. Without development dependencies (npm ci --omit=dev) there is no compiler, which is no
// failure: each kernel has a twin in JavaScript, and a published package carries the kernels built.
try {
  await import('assemblyscript/asc')
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  console.log('dfs: without development dependencies there is no compiler for the WASM kernels: files are cut in JavaScript, at half the speed and the same places, and shards are made at a twentieth of it')
  process.exit(0)
}
await import('./build-wasm.mjs')
