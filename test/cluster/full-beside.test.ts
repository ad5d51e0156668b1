import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus, RepairReport } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, objectsOf, realCluster, statusOf } from '../support/real-cluster.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tried } from '../support/tried.ts'

const mib = 1024 ** 2
const full = 3

describe.skipIf(!await canMount())('a node that is full beside others that are not', () => {
  test('takes no blocks, and puts go around it; it votes, reads and removes; all have as many copies as they should, and when it has room again it gets what is its own', async ({ task }) => {
    await using disk = await smallDisk(160 * mib)
    // each is counted on for as much; the last has not got it
    await using real = await realCluster(4, {
      copies: 2,
      options: (index) => ['--capacity', '1GiB', '--cache', '0', ...index === full ? ['--reserve', '40MiB'] : []],
      beforeNode: async (index, path) => {
        if (index !== full) return
        await mkdir(join(disk.path, 'data'))
        await symlink(join(disk.path, 'data'), path)
      },
    })
    const status = async (index: number): Promise<NodeStatus> => {
      const { client } = await real.via(index)
      try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
    }
    const repair = async (index: number, action: 'status' | 'now'): Promise<RepairReport> => (await real.node(index).json<RepairReport>(['repair', action]))[0] as RepairReport
    const fullPeer = real.node(full).ready?.peerId ?? ''
    expect((await status(0)).members.every(({ capacityBytes }) => capacityBytes === 1024 * mib)).toBe(true)
    await disk.fill(24 * mib)
    const before = (await status(full)).blocks.count

    const acknowledged = new Map<string, string>()
    const put = async (through: number, i: number): Promise<void> => {
      const content = noiseBytes(2 * mib, i)
      const node = await real.via(through)
      await node.put(`object/${i}`, content)
      node.client.close()
      acknowledged.set(`object/${i}`, digestOfBytes(content))
    }
    // through the full one too, which holds none of it
    await eachOf(Array.from({ length: 16 }, (_, i) => i), 2, async (i) => put(i % 4, i))
    expect((await status(full)).blocks.count).toBe(before)
    expect((await status(full)).health.join()).toContain('this node takes no more blocks')
    expect((await status(full)).isReady).toBe(true)
    for (const index of [0, 1, 2]) await repair(index, 'now')
    await until('who looks after it says who has no room', 60_000, async () => (await Promise.all([0, 1, 2].map(status))).some(({ health }) => health.some((line) => line.includes(`${fullPeer} has no room`))))
    // two copies of each lie on the other three
    await until('nothing is at risk', 60_000, async () => (await Promise.all([0, 1, 2].map(async (index) => repair(index, 'status')))).every(({ found }) => found?.goneBlocks === 0) && (await status(0)).blocks.count + (await status(1)).blocks.count + (await status(2)).blocks.count >= 2 * 16)
    await real.node(2).stop('SIGKILL')
    const lost: string[] = []
    const readAll = async (through: number): Promise<void> => {
      const node = await real.via(through)
      for (const [key, digest] of acknowledged) if (await node.digest(key).catch(String) !== digest) lost.push(key)
      node.client.close()
    }
    await readAll(full)
    expect(lost).toEqual([])
    await real.node(2).start()
    await real.cluster.connected()

    // what is removed through it is gone, though it is full
    const node = await real.via(full)
    expect(await node.remove('object/0')).toBe(true)
    acknowledged.delete('object/0')
    expect((await node.keys()).toSorted()).toEqual([...acknowledged.keys()].toSorted())
    node.client.close()

    await disk.free()
    await until('it has what belongs to it, and the others have given that up', 120_000, async () => {
      for (const index of [0, 1, 2, full]) if ((await repair(index, 'status')).phase === 'waiting') await repair(index, 'now')
      const found = await Promise.all([0, 1, 2, full].map(async (index) => (await repair(index, 'status')).found))
      return (await status(full)).blocks.count > before && found.every((one) => one?.misplacedBlocks === 0 && one.shortBlocks === 0)
    })
    await readAll(0)
    tried(task, { what: 'a full node beside three that are not, one of which dies; then room again', times: 1, acknowledged: 16, lost: lost.length })
    expect(lost).toEqual([])
  }, 300_000)
})

describe.skipIf(!await canMount())('a node that is full', () => {
  test.each([['its disk has no more than the reserve', ['--reserve', '48MiB']], ['it has as much as it is to hold', ['--capacity', '24MiB', '--reserve', '0']]] as const)('because %s takes puts again by itself when what was removed is collected', async (_, options) => {
    await using disk = await smallDisk(140 * mib)
    await using cluster = new LocalCluster(disk.path, { options: () => [...options, '--cache', '0', '--collect-after', '1s'] })
    await cluster.grow(1)
    const client = await connectLocal(cluster.node(0).data)
    await client.json('PUT', '/v1/buckets/test-bucket', { body: { copies: 1 } })
    const node = objectsOf(client)
    const put = async (i: number): Promise<number> => node.put(`object/${i}`, noiseBytes(mib, i)).then(() => 201, statusOf)
    let count = 0
    while (await put(count) === 201) count++
    expect(await put(count)).toBe(507)
    expect(count).toBeGreaterThan(10)
    for (let i = 0; i < count - 2; i++) expect(await node.remove(`object/${i}`)).toBe(true)
    await until('there is room again', 120_000, async () => await put(1000) === 201)
    for (let i = 1001; i < 1008; i++) await until('what was removed makes room for as much', 60_000, async () => await put(i) === 201)
    for (const i of [count - 2, count - 1, 1000, 1007]) expect(await node.digest(`object/${i}`)).toBe(digestOfBytes(noiseBytes(mib, i)))
    client.close()
  }, 240_000)
})
