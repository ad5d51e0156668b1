import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { anyPorts } from '../support/member.ts'
import { type NodeObjects, objectsOf } from '../support/real-cluster.ts'
import { foundInMemory, foundOnDisk, type Needles, secretsOf } from '../support/secrets-in-memory.ts'
import { tried } from '../support/tried.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'
import { LocalCluster, LocalNode, until } from '../../scripts/local-cluster.ts'

// two members, of which one holds no blocks, a witness, a storage node: what the last two must never see, and what the first can do with them
const [bucket, key] = ['quince-cellar-bucket', 'preserves/medlar-jelly-of-1931']
let folder: TemporaryFolder
let cluster: LocalCluster
let witness: LocalNode
let storage: LocalNode
let needles: Needles
let objects: NodeObjects

async function joined (role: string): Promise<LocalNode> {
  const [invite] = await cluster.node(0).json<{ token: string }>(['invite', '--role', role])
  const node = new LocalNode(join(folder.path, role), [...anyPorts])
  cluster.nodes.push(node)
  await node.start(['join', invite?.token ?? '', '--start', '--no-passphrase'])
  return node
}

beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(folder.path, { options: (index) => index === 1 ? ['--capacity', '0'] : [] })
  await cluster.grow(2)
  witness = await joined('witness')
  storage = await joined('storage')
  await cluster.connected()
  const client = await connectLocal(cluster.node(0).data)
  await client.json('PUT', `/v1/buckets/${bucket}`, { body: { copies: 2, degraded: 'allow' } })
  objects = objectsOf(client, bucket)
  needles = await secretsOf(cluster.node(0).data, { bucket, object: key })
}, 180_000)
afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

const scanRounds = Number(process.env.SCANS ?? 1)

describe('a node without keys', () => {
  const content = new Uint8Array(200_000).map((_, i) => (i * 7919) >> 3)

  test('says what it is, and serves no objects', async () => {
    for (const [node, role] of [[witness, 'witness'], [storage, 'storage']] as const) {
      const [status] = await node.json<NodeStatus>(['status'])
      expect(status).toMatchObject({ role, isReady: true })
      expect((await node.run(['ls'])).stderr).toContain(`this is a ${role} node`)
    }
    const [status] = await cluster.node(0).json<NodeStatus>(['status'])
    expect(status?.layout).toMatchObject({ voters: 3 })
  })

  test('never has a key or a name, in memory or on disk, while members put and get; a member has them', async ({ task }) => {
    let scanned = 0
    const leaked: string[] = []
    const keyless = async (): Promise<void> => {
      const scans = [witness, storage].flatMap((node) => [foundInMemory(node.pid ?? 0, needles), foundOnDisk(node.data, needles)])
      for (const found of await Promise.all(scans)) leaked.push(...found)
      scanned += scans.length
    }
    await keyless()
    for (let round = 0; round < scanRounds; round++) {
      await Promise.all([objects.put(`${key}-${round}`, content), keyless()])
      expect(await objects.get(`${key}-${round}`)).toEqual(content)
    }
    await objects.put(key, content)
    await keyless()
    tried(task, { what: 'scans of memory and disk of nodes without keys, for keys and names', times: scanned, lost: leaked.length })
    expect(leaked).toEqual([])
    const atMember = await foundInMemory(cluster.node(0).pid ?? 0, needles)
    for (const name of ['S', 'N', 'key of names', 'key of votes', 'name of the bucket', 'name of the object']) expect(atMember, name).toContain(name)
    // each scan reads all memory of two processes
  }, 60_000 + 20_000 * scanRounds)

  test('holds blocks as storage, and none as a witness', async () => {
    const blocksOf = async (node: LocalNode): Promise<number | undefined> => (await node.json<NodeStatus>(['status']))[0]?.blocks.count
    expect(await blocksOf(storage)).toBeGreaterThan(0)
    expect(await blocksOf(witness)).toBe(0)
  })

  test('as a witness leaves two members writing when one of them dies, where one of two block holders may acknowledge', async () => {
    await storage.stop('SIGKILL')
    await cluster.node(1).stop('SIGKILL')
    await until('the dead are missed', 30_000, async () => ((await cluster.node(0).json<NodeStatus>(['status']))[0]?.members.filter(({ isConnected }) => isConnected).length ?? 0) === 2)
    await objects.put('alone', content)
    expect(await objects.get('alone')).toEqual(content)
    // the witness knows no names, and vouches for the one that does
    expect(await objects.keys()).toEqual(expect.arrayContaining(['alone', key]))
    await witness.stop('SIGKILL')
    await expect(objects.put('nobody votes', Uint8Array.of(1))).rejects.toThrow()
  }, 120_000)
})
