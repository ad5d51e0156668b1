import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { objectPath } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes, pieces } from '../support/file-world.ts'
import { type NodeObjects, objectsOf, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

const mib = 1024 ** 2
const sizeBytes = 64 * mib
const content = noiseBytes(sizeBytes, 5)
const attempts = 34

let real: RealCluster
let node: NodeObjects
beforeAll(async () => {
  real = await realCluster(3)
  node = await real.via(0)
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

/** What the refused puts were told, each once. */
async function reasons (put: () => Promise<unknown>): Promise<string[]> {
  const told = new Set<string>()
  for (let i = 0; i < attempts; i++) {
    const error = await put().then(() => undefined, (reason: unknown) => reason)
    told.add(statusOf(error) === 0 ? String(error) : String(statusOf(error)))
  }
  return [...told]
}

const big = (): AsyncIterable<Uint8Array> => pieces(content, mib)
const headers = { 'content-length': String(sizeBytes) }

// the connection was closed over the body, and "write EPIPE" came instead of the reason about every fourth time
describe(`a put of 64 MiB that is refused while its body is sent has its reason, ${3 * attempts} times of ${3 * attempts}`, () => {
  test('no such bucket', async () => {
    expect(await reasons(async () => objectsOf(node.client, 'no-such-bucket').put('x', big(), headers))).toEqual(['404'])
  }, 120_000)

  test('the key exists', async () => {
    await node.put('taken', utf8('here first'))
    expect(await reasons(async () => node.put('taken', big(), { ...headers, 'if-none-match': '*' }))).toEqual(['412'])
  }, 120_000)

  test('no majority', async () => {
    await Promise.all([1, 2].map(async (i) => real.node(i).stop('SIGKILL')))
    await until('the deaths are noticed', 10_000, async () => !(await node.client.json<NodeStatus>('GET', '/v1/status')).isReady)
    expect(await reasons(async () => node.put('alone', big(), headers))).toEqual(['503'])
    expect(statusOf(await node.client.head(objectPath('test-bucket', 'taken')).catch((error: unknown) => error))).toBe(503)
  }, 120_000)
})

test('a put that no node has room for says so: exit code 7', async () => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path, { options: () => ['--capacity', '1MiB'] })
  const one = await cluster.found()
  await one.json(['bucket', 'create', 'photos', '--redundancy', 'rf:1'])
  expect(await one.run(['put', '-', 'photos/big'], { input: noiseBytes(8 * mib) })).toMatchObject({ code: 7, stderr: expect.stringContaining('full') as string })
}, 60_000)
