import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readKeyring, keyringKeyOf } from '../../src/node/membership/keys.ts'
import { join } from 'node:path'
import { systemRandom } from '../../src/base/random.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import type { NodeStatus } from '../../src/node.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'
import { LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'

let folder: TemporaryFolder
let cluster: LocalCluster

beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(folder.path)
  await cluster.grow(3)
}, 60_000)
afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

const statusOf = async (node: LocalNode): Promise<NodeStatus> => (JSON.parse((await node.run(['status', '--json'])).stdout) as NodeStatus)
const connectedTo = ({ members, peerId }: NodeStatus): string[] => members.filter((member) => member.isConnected && member.peerId !== peerId).map((member) => member.peerId)
const peerOf = (node: LocalNode): string => node.ready?.peerId ?? ''
async function epochsOf ({ data }: LocalNode): Promise<number | undefined> {
  const key = await keyringKeyOf({ kind: 'key-file', path: join(data, 'key') }, { make: false, random: systemRandom })
  return (await readKeyring(nodeFiles(data), key))?.ring?.epochs.size
}

describe('dfs node remove', () => {
  test('puts a running node out, over restarts of everybody, and leaves it without the new keys', async () => {
    const [founder, bob, carol] = [cluster.node(0), cluster.node(1), cluster.node(2)]
    const removed = await founder.run(['node', 'remove', peerOf(carol)])
    expect(removed.stdout).toContain('era 2, what is sealed from now on is of epoch 2')
    await until('nobody is connected to the removed one', 15_000, async () => connectedTo(await statusOf(carol)).length === 0)
    for (const [node, other] of [[founder, bob], [bob, founder]] as const) {
      await until('the others are connected', 15_000, async () => connectedTo(await statusOf(node)).join() === peerOf(other))
      expect((await statusOf(node)).members).toHaveLength(2)
    }
    await until('the new keys are with both that remain', 15_000, async () => await epochsOf(founder) === 2 && await epochsOf(bob) === 2)
    expect(await epochsOf(carol)).toBe(1)
    await Promise.all([bob, carol].map(async (node) => { await node.stop('SIGKILL') }))
    await Promise.all([bob, carol].map(async (node) => node.start()))
    await until('the one that remains is back', 15_000, async () => connectedTo(await statusOf(founder)).join() === peerOf(bob))
    expect(connectedTo(await statusOf(carol))).toEqual([])
    // nor has any of them dialled it: their libraries had it marked to be kept, and dialled it forty times a second
    expect(carol.log).not.toContain('met a member')
    expect((await founder.run(['node', 'remove', 'nobody'])).code).toBe(2)
  }, 60_000)

  test('and dfs admin are for those who may', async () => {
    const [founder, bob] = [cluster.node(0), cluster.node(1)]
    for (const dry of [[], ['--dry-run']]) expect(await bob.run(['node', 'remove', peerOf(founder), ...dry])).toMatchObject({ code: 8, stderr: expect.stringContaining('may neither invite nor remove') as string })
    expect(await founder.json(['admin', 'add', peerOf(bob)])).toEqual([{ admin: peerOf(bob) }])
    await until('it knows', 15_000, async () => (await bob.json(['admin', 'ls'])).length === 1)
    const [invite] = await bob.json<{ token: string }>(['invite'])
    expect(invite?.token).toMatch(/^dfs1-/)
    expect(await founder.json(['admin', 'rm', peerOf(bob)])).toEqual([])
  }, 60_000)
})
