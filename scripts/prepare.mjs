// Runs on every install from a checkout: builds the WASM kernels. Without development dependencies (npm ci --omit=dev) there is no compiler; a
// published package carries its kernels built, so that is no failure.
try {
  await import('assemblyscript/asc')
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  console.log('dfs: development dependencies are left out, so the WASM kernels are not built here')
  process.exit(0)
}
await import('./build-wasm.mjs')
