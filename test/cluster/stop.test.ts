import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dfsPath, LocalCluster, until } from '../../scripts/local-cluster.ts'
import { exitCodes } from '../../src/cli/exit-codes.ts'
import { connectLocal } from '../../src/client/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, objectsOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('SIGTERM ends a node gracefully while somebody watches and a put is under way: the put is finished, the watch ends, nothing is left behind', async () => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path)
  const node = await cluster.found()
  await node.json(['bucket', 'create', bucketName, '--redundancy', 'rf:1'])
  const watcher = spawn(dfsPath, ['watch', '--data', node.data, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(watcher.stdout, 'data')
  const watched = once(watcher, 'close')

  const content = noiseBytes(20_000_000)
  const [taken, rest] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  async function * source (): AsyncIterable<Uint8Array> {
    yield content.subarray(0, 16_000_000)
    // more than the system keeps of a connection, so the node is reading it
    taken.resolve()
    await rest.promise
    yield content.subarray(16_000_000)
  }
  const client = await connectLocal(node.data)
  const put = objectsOf(client).put('under-way', source(), { 'content-length': String(content.byteLength) })
  await taken.promise
  const stopped = node.stop('SIGTERM')
  await until('the node says that it stops', 5000, () => node.log.includes('"stopping"'))
  rest.resolve()
  expect((await put).sizeBytes).toBe(content.byteLength)
  await stopped
  expect(await watched).toEqual([exitCodes.unavailable, null])
  expect(node.log).not.toContain('ended at once')
  expect(await readdir(node.data)).toEqual(expect.not.arrayContaining(['lock', 'api.json']))

  await node.start()
  expect(await objectsOf(await connectLocal(node.data)).digest('under-way')).toBe(digestOfBytes(content))
  await expect(readdir(join(node.data, 'lock'))).rejects.toThrow('ENOTDIR')
}, 60_000)
