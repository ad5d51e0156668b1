import { defineConfig, mergeConfig } from 'vitest/config'
import usual from './vitest.config.ts'

/** What takes too long for every change: proofs, on top of the tests. `npm run prove` runs both, with higher counts. */
const config = mergeConfig(usual, defineConfig({ test: { testTimeout: 600_000, hookTimeout: 600_000 } }))
export default { ...config, test: { ...config.test, include: ['test/proof/**/*.proof.ts'] } }
