import { defineConfig } from 'vitest/config'

/** Files that run nodes as processes: those want both cores, and side by side would only disturb each other's timing. */
const withProcesses = ['test/cluster/**/*.test.ts', 'test/cli/cli.test.ts', 'test/package.test.ts']

const shared = { testTimeout: 60_000, hookTimeout: 60_000, pool: 'forks' } as const

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'alone', include: ['test/**/*.test.ts'], exclude: withProcesses, maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { test: { ...shared, name: 'processes', include: withProcesses, maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 1 } } },
    ],
  },
})
