import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // real processes in the tests want both cores; files side by side would only disturb each other's timing
    fileParallelism: false,
  },
})
