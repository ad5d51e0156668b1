import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { systemClock } from '../../src/base/clock.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { seededRandom, systemRandom } from '../../src/base/random.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { type Network, networkLimits, startNetwork } from '../../src/network/libp2p-network.ts'
import { fetchProtocol } from '../../src/protocols/fetch.ts'
import { helloId } from '../../src/protocols/hello.ts'
import { storeProtocol } from '../../src/protocols/store.ts'
import { tableProtocol } from '../../src/protocols/table.ts'
import { realCluster, type RealCluster } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { LocalNode } from '../../scripts/local-cluster.ts'

let real: RealCluster
let stranger: Network
const quiet = { debug: () => {}, info: () => {}, warn: () => {} }
const seed = seededRandom(5).bytes(32)
const strangerId = peerIdOf(signingKeyOf(seed).publicKey)

beforeAll(async () => {
  real = await realCluster(3)
  stranger = await startNetwork({ seed, listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom, greet: undefined, isMember: () => false, log: quiet })
  await stranger.listen()
}, 60_000)
afterAll(async () => { await stranger?.[Symbol.asyncDispose](); await real?.[Symbol.asyncDispose]() })

const dial = async (): Promise<ReturnType<Network['dial']>> => stranger.dial(real.node(0).ready?.addresses ?? [], { signal: AbortSignal.timeout(5000) })

describe('a stranger with no certificate', () => {
  test.each([storeProtocol, fetchProtocol, tableProtocol])('gets no answer from %s', async (protocol) => {
    const peer = await dial()
    await expect(stranger.requests.request(peer, protocol, [new Uint8Array(40)], { timeoutMs: 5000, maxAnswerBytes: 4_000_000 })).rejects.toThrow()
  })

  test('learns nothing from hello but that it is refused', async () => {
    const peer = await dial()
    const error = await stranger.requests.request(peer, helloId, [new Uint8Array(300)], { timeoutMs: 5000, maxAnswerBytes: 4_000_000 }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(RequestRefused)
    expect((error as Error).message).toBe('no')
  })

  test('enters neither routing table nor mesh, and its gossip is heard by nobody', async () => {
    const watcher = await real.via(1)
    const abort = new AbortController()
    const { body } = await watcher.client.download('/v1/watch', { signal: abort.signal })
    let seen = ''
    const reading = (async (): Promise<void> => { for await (const piece of body) seen += Buffer.from(piece).toString() })().catch(() => {})
    await until('the watcher listens', 5000, () => seen.includes('watching'))
    await dial()
    stranger.gossip.announce({ rowKey: new Uint8Array(32).fill(7), versionId: new Uint8Array(32).fill(7), root: undefined, blocks: [] })
    // something of a member's that comes after it shows that the stranger's would have been seen by now
    await (await real.via(0)).put('after', new Uint8Array(10))
    await until('the member\'s announcement is seen', 10_000, () => seen.includes(real.node(0).ready?.peerId ?? '?'))
    expect(seen).not.toContain('07070707')
    for (const i of [0, 1, 2]) {
      const { routingTable, gossip } = await (await real.via(i)).client.json<{ routingTable: string[], gossip: string[] }>('GET', '/v1/inspect')
      expect([...routingTable, ...gossip]).not.toContain(strangerId)
      expect(gossip.length).toBeGreaterThan(0)
    }
    abort.abort()
    await reading
  }, 30_000)

  test('holds a few connections at most, however many it opens', async () => {
    const opened = await Promise.allSettled(Array.from({ length: 12 }, async () => stranger.dial(real.node(2).ready?.addresses ?? [], { signal: AbortSignal.timeout(5000), force: true })))
    expect(opened.some(({ status }) => status === 'fulfilled')).toBe(true)
    await until('the others were closed', 10_000, () => stranger.connectionCount() <= 1 + networkLimits.maxConnectionsPerStranger)
  })

  test('is not among the peers, and costs the members nothing', async () => {
    await dial()
    const { peers } = await (await real.via(0)).client.json<{ peers: Array<{ peerId: string }> }>('GET', '/v1/peers')
    expect(peers.map(({ peerId }) => peerId)).not.toContain(strangerId)
    expect(await (await real.via(0)).keys()).toContain('after')
  })
})

describe('an invite', () => {
  test('that is mistyped, or of nobody\'s cluster, is refused with the reason', async () => {
    await using folder = await temporaryFolder()
    const node = new LocalNode(folder.path, ['--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0'])
    const { code, stderr } = await node.run(['join', 'dfs1-nonsense', '--no-passphrase'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('invite')])
  })

  test('is used once; a second node with it, and one that comes after it expired, are refused', async () => {
    await using folder = await temporaryFolder()
    const at = (name: string): LocalNode => new LocalNode(`${folder.path}/${name}`, ['--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0'])
    const founder = at('founder')
    await founder.run(['init', ...founder.options, '--no-passphrase'])
    await founder.start()
    try {
      const [invite] = await founder.json<{ token: string }>(['invite'])
      const [short] = await founder.json<{ token: string }>(['invite', '--expires', '1s'])
      const join = async (name: string, token = ''): Promise<{ code: number, stderr: string }> => at(name).run(['join', token, '--no-passphrase', ...at(name).options])
      expect((await join('first', invite?.token)).code).toBe(0)
      expect(await join('second', invite?.token)).toMatchObject({ code: 8, stderr: expect.stringContaining('used') as string })
      await until('the second is over', 5000, async () => (await join(`late-${performance.now()}`, short?.token)).stderr.includes('expired'))
      const [foreign] = await real.node(0).json<{ token: string }>(['invite']).catch(() => [undefined])
      expect(foreign).toBeUndefined()
    } finally {
      await founder.stop('SIGKILL')
    }
  }, 60_000)
})

