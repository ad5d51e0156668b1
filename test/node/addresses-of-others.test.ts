import { join } from 'node:path'
import { expect, test } from 'vitest'
import { configOf } from '../../src/config.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { initCluster, openNode, type Secrets } from '../../src/node.ts'
import { type ClusterFacts, readFacts, writeFacts } from '../../src/node/state.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('a node starts though a members row names addresses that are none: whoever joins says its own', async () => {
  await using folder = await temporaryFolder()
  const { config } = configOf({ home: '/', options: { data: folder.path, listen: '/ip4/127.0.0.1/tcp/0' } })
  const secrets: Secrets = { kind: 'key-file', path: join(folder.path, 'key') }
  const { peerId } = await initCluster(config, secrets)
  const files = nodeFiles(folder.path)
  const facts = await readFacts(files) as ClusterFacts
  const addresses = [Uint8Array.of(0xff, 0xff, 0xff), Uint8Array.of(4, 127)]
  await writeFacts(files, { ...facts, members: facts.members.map((row) => ({ ...row, addresses })) })
  await using node = await openNode(config, secrets)
  expect((await node.status()).peerId).toBe(peerId)
})
