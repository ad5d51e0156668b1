import { defineConfig } from 'vitest/config'
import { projects, proofs } from './vitest.config.ts'

/** The tests and the proofs, with a table at the end of what was tried: `npm run prove`, which also sets higher counts. */
export default defineConfig({ test: { projects: [...projects, proofs], reporters: ['default', './test/proof/table.ts'] } })
