import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dfs, dfsPath, LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, type NodeObjects, objectsOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/** Three nodes whose wall clocks are wrong, by hours, by decades, and stepping back while they run. Who wins, what lives and who belongs must not change. */
const library = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1'].find(existsSync)
if (library === undefined) process.stderr.write('SKIPPED: wrong clocks cannot be tried here without libfaketime (Debian: faketime)\n')

const nodes = 3
/** CLOCK_ROUNDS: how many of them, the last ones, which are the worst. */
const clocks = ([
  ['+0', '+1h', '-1h'],
  ['-3650d', '+3650d', '+0'],
  ['+3650d', '-1h', '-3650d'],
] satisfies ReadonlyArray<readonly [string, string, string]>).slice(-Number(process.env.CLOCK_ROUNDS ?? 3))

/** A node whose wall clock says what a file says, read anew each time. Its monotonic clock is its own. */
async function wrongClock (folder: string, index: number): Promise<{ program: string, set: (offset: string) => Promise<void> }> {
  const [program, clock] = [join(folder, `dfs-${index + 1}`), join(folder, `clock-${index + 1}`)]
  const set = async (offset: string): Promise<void> => writeFile(clock, `${offset}\n`)
  await set('+0')
  await writeFile(program, `#!/bin/sh\nexec env LD_PRELOAD=${library} FAKETIME_TIMESTAMP_FILE=${clock} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 ${dfsPath} "$@"\n`, { mode: 0o755 })
  return { program, set }
}

test.skipIf(library === undefined)('clocks that are wrong by an hour and by ten years, and that step back, change nothing but the dates that are shown and what dates may refuse', async ({ task }) => {
  await using folder = await temporaryFolder()
  const wrong = await Promise.all(Array.from({ length: nodes }, async (_, i) => wrongClock(folder.path, i)))
  await using cluster = new LocalCluster(folder.path, { programOf: (i) => wrong[i]?.program ?? '', options: () => ['--evict-after', '1h'] })
  await cluster.grow(nodes)
  const via = async ({ data }: LocalNode): Promise<NodeObjects> => objectsOf(await connectLocal(data))
  await (await via(cluster.node(0))).client.json('PUT', `/v1/buckets/${bucketName}`, { body: {} })
  const statusOf = async (node: LocalNode): Promise<NodeStatus> => {
    const { client } = await via(node)
    try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
  }
  const settled = await statusOf(cluster.node(0))
  let [acknowledged, lost] = [0, 0]
  let last: Uint8Array | undefined
  for (const [round, offsets] of clocks.entries()) {
    for (const [i, offset] of offsets.entries()) await wrong[i]?.set(offset)
    const clients = await Promise.all(cluster.nodes.map(via))
    // what is stored has the date that a majority has come to, whose clock is the middle one of three: of this round, or remembered from the one before
    for (const [i, client] of clients.entries()) expect(distance(await client.put(`dated/${round}/${i}`, noiseBytes(10, i)), [offsets, clocks[round - 1] ?? offsets])).toBeLessThan(60_000)
    // whoever writes last wins, whatever the dates say
    for (let i = 0; i < 30; i++) {
      const content = noiseBytes(200 + i, round * 100 + i)
      await (clients[i % nodes] as NodeObjects).put('contested', content)
      acknowledged++
      last = content
      const seen = await (clients[(i + 1) % nodes] as NodeObjects).get('contested')
      if (Buffer.compare(seen, content) !== 0) lost++
    }
    // one winner of those who create, through all at once
    const created = await Promise.allSettled(clients.map(async (client, i) => client.put(`once/${round}`, noiseBytes(30, i), { 'if-none-match': '*' })))
    expect(created.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    // restarted under these clocks, a node knows what it knew
    const restarted = cluster.node(round)
    await restarted.stop('SIGKILL')
    await restarted.start()
    await cluster.ready()
    for (const client of clients) client.client.close()
    // it remembers no date: in the last round the middle clock is an hour behind, which shows that they are wrong indeed
    const afresh = await via(restarted)
    expect(distance(await afresh.put(`dated/${round}/again`, noiseBytes(10, round)), [offsets])).toBeLessThan(60_000)
    afresh.client.close()
    for (const node of cluster.nodes) {
      const client = await via(node)
      if (last !== undefined && Buffer.compare(await client.get('contested'), last) !== 0) lost++
      client.client.close()
    }
  }
  // nobody was put out, though one clock or the other was decades past every grace
  await until('all are connected', 30_000, async () => (await statusOf(cluster.node(0))).members.every(({ isConnected }) => isConnected))
  for (const node of cluster.nodes) expect((await statusOf(node)).layout).toEqual(settled.layout)
  // a date may refuse: an invite of a day is too old for a sponsor ten years ahead, and not for one ten years behind
  await wrong[0]?.set('+0')
  const [invite] = await cluster.node(0).json<{ token: string }>(['invite', '--expires', '1d'])
  const ahead = await joining(folder.path, 'ahead', invite?.token ?? '', async () => wrong[0]?.set('+3650d'))
  expect(ahead.code).not.toBe(0)
  expect(ahead.stderr).toMatch(/expired|too late|no longer/)
  const behind = await joining(folder.path, 'behind', invite?.token ?? '', async () => wrong[0]?.set('-3650d'))
  expect(behind.code, behind.stderr).toBe(0)
  tried(task, { what: 'wall clocks wrong by 1 h and 10 years, stepping', times: clocks.length * nodes, acknowledged, lost })
  expect(lost).toBe(0)
}, 300_000)

async function joining (folder: string, name: string, token: string, first: () => Promise<void> | undefined): Promise<{ code: number, stderr: string }> {
  await first()
  return dfs(['join', token, '--no-passphrase', '--data', join(folder, name), '--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0'])
}

/** From the middle one of these clocks: of one of several rounds. */
function distance ({ modified }: { readonly modified: string }, rounds: ReadonlyArray<readonly string[]>): number {
  const middles = rounds.map((offsets) => offsets.map(millisecondsOf).toSorted((a, b) => a - b)[Math.trunc(nodes / 2)] ?? 0)
  return Math.min(...middles.map((offsetMs) => Math.abs(Date.parse(modified) - Date.now() - offsetMs)))
}

function millisecondsOf (offset: string): number {
  const amount = Number.parseInt(offset, 10)
  return amount * (offset.endsWith('d') ? 86_400_000 : offset.endsWith('h') ? 3_600_000 : 1000)
}
