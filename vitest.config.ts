import { defineConfig } from 'vitest/config'

/** Files that run nodes as processes: those want both cores, and side by side would only disturb each other's timing. */
const withProcesses = ['test/cluster/**/*.test.ts', 'test/cli/cli.test.ts']
/** Of those, what is about src/cluster/ alone. */
const without = ['assignment', 'certificate', 'layout', 'recovery', 'statement'].map((name) => `test/cluster/${name}.test.ts`)
/** Files that take half a minute and more each: `npm run test:longer`. */
const longer = [
  ...['byzantine', 'churn', 'clocks', 'collect', 'conversion', 'demonstration', 'forget-lost', 'forgetful-stores', 'full-beside', 'keyless', 'keyless-work', 'kills', 'layout-changes', 'left-out', 'lifecycle', 'load', 'model', 'node-changes', 'partitions', 'power-loss', 'removal', 'removal-in-use', 'repair', 're-announce', 'refused-puts', 'rot', 'shards', 'slow-clients', 'verify', 'versions', 'without-development'].map((name) => `test/cluster/${name}.test.ts`),
  'test/node/rot.test.ts', 'test/package.test.ts', 'test/simulation/collection.test.ts', 'test/simulation/era-histories.test.ts', 'test/simulation/join-histories.test.ts', 'test/simulation/joins.test.ts', 'test/simulation/layout-changes.test.ts', 'test/simulation/loss.test.ts', 'test/simulation/loss-histories.test.ts', 'test/simulation/whole.test.ts', 'test/simulation/whole-histories.test.ts',
]
/** Files that let other programs loose on nodes, where those are installed: `npm run test:clients`. */
const withClients = [...['client', 'embed', 'http-door', 'rpc-clients', 's3-clients', 's3-features', 's3-hosts', 's3-recipes', 'uploads'].map((name) => `test/cluster/${name}.test.ts`), 'test/client/in-browser.test.ts', 'test/client/connect-web.test.ts']

const shared = { testTimeout: 60_000, hookTimeout: 60_000, pool: 'forks' } as const
const oneByOne = { ...shared, maxWorkers: 1, fileParallelism: false } as const

/** All tests: the first two are `npm test`. */
export const projects = [
  { test: { ...shared, name: 'alone', include: ['test/!(cluster)/**/*.test.ts', 'test/*.test.ts', ...without], exclude: ['test/cli/cli.test.ts', ...longer, ...withClients], maxWorkers: 2, sequence: { groupOrder: 0 } } },
  { test: { ...oneByOne, name: 'processes', include: withProcesses, exclude: [...without, ...longer, ...withClients], sequence: { groupOrder: 1 } } },
  { test: { ...oneByOne, name: 'longer', include: longer, sequence: { groupOrder: 2 } } },
  { test: { ...oneByOne, name: 'clients', include: withClients, sequence: { groupOrder: 3 } } },
]

/** What takes too long for every change. */
export const proofs = { test: { ...oneByOne, name: 'proofs', include: ['test/proof/**/*.proof.ts'], testTimeout: 600_000, hookTimeout: 600_000, sequence: { groupOrder: 4 } } }

export default defineConfig({ test: { projects } })
