import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { cidOf } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { backoffLimits, afterFailure, isDue, untried } from '../../src/network/backoff.ts'
import { decodeAnnouncements, encodeAnnouncements } from '../../src/network/announcements.ts'
import { flowLimits, flowReader, write } from '../../src/network/flow.ts'
import { PeerUnreachable, RequestRefused } from '../../src/network/index.ts'
import { transportLimits, transportOptions } from '../../src/network/transport.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { seededRandom, systemRandom } from '../../src/base/random.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { type Network, networkLimits, startNetwork } from '../../src/network/libp2p-network.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { networks } from '../support/networks.ts'
import { noiseBytes } from '../support/file-world.ts'

const wait = { timeoutMs: 10_000, maxAnswerBytes: 3_000_000 }
const mib = 1024 ** 2

describe('requests over libp2p', () => {
  test('are answered, many at once on few streams, large and empty', async () => {
    await using pair = await networks(2)
    await pair.at(0).requests.handle('/test/echo', async (_peer, body) => [body.subarray(0, 1), body.subarray(1)], { maxRequestBytes: 3_000_000, maxConcurrent: 8 })
    const ask = async (bytes: Uint8Array): Promise<Uint8Array> => pair.at(1).requests.request(pair.at(0).peerId, '/test/echo', [bytes.subarray(0, 10), bytes.subarray(10)], wait)
    const bodies = Array.from({ length: 60 }, (_, i) => noiseBytes(i % 5 === 0 ? 2 * mib : i * 100, i))
    const answers = await Promise.all(bodies.map(ask))
    for (const [i, answer] of answers.entries()) expect(Buffer.compare(answer, bodies[i] as Uint8Array)).toBe(0)
  }, 30_000)

  test('that are refused say why, and the stream goes on', async () => {
    await using pair = await networks(2)
    await pair.at(0).requests.handle('/test/no', async () => { throw new Error('not today') }, { maxRequestBytes: 100, maxConcurrent: 8 })
    for (let i = 0; i < 3; i++) {
      const error = await pair.at(1).requests.request(pair.at(0).peerId, '/test/no', [], wait).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(RequestRefused)
      expect((error as Error).message).toBe('not today')
    }
  })

  test('longer than allowed are not buffered, nor are answers: the stream ends, the next one works', async () => {
    await using pair = await networks(2)
    let handled = 0
    await pair.at(0).requests.handle('/test/sink', async (_peer, body) => { handled++; return [new Uint8Array(body.byteLength)] }, { maxRequestBytes: 1000, maxConcurrent: 8 })
    const ask = async (bytes: number, maxAnswerBytes: number): Promise<unknown> => pair.at(1).requests.request(pair.at(0).peerId, '/test/sink', [new Uint8Array(bytes)], { ...wait, maxAnswerBytes }).catch((reason: unknown) => reason)
    expect(await ask(1001, 5000)).toBeInstanceOf(PeerUnreachable)
    expect(handled).toBe(0)
    expect(await ask(900, 899)).toBeInstanceOf(PeerUnreachable)
    expect(await ask(900, 900)).toBeInstanceOf(Uint8Array)
  })

  test('that are given up stop the work at the other end', async () => {
    await using pair = await networks(2)
    let [begun, aborted] = [false, false]
    await pair.at(0).requests.handle('/test/slow', async (_peer, _body, { signal }) => {
      begun = true
      await new Promise((resolve) => { signal.addEventListener('abort', () => { aborted = true; resolve(undefined) }) })
      return []
    }, { maxRequestBytes: 10, maxConcurrent: 2 })
    const abort = new AbortController()
    const asked = pair.at(1).requests.request(pair.at(0).peerId, '/test/slow', [], { ...wait, signal: abort.signal })
    await until('the handler has begun', 5000, () => begun)
    abort.abort(new Error('never mind'))
    await expect(asked).rejects.toThrow('never mind')
    await until('the handler was told', 5000, () => aborted)
  })

  test('beyond what a peer may have in work wait their turn', async () => {
    await using pair = await networks(2)
    const gate = Promise.withResolvers<void>()
    let [inWork, most] = [0, 0]
    await pair.at(0).requests.handle('/test/few', async () => { most = Math.max(most, ++inWork); await gate.promise; inWork--; return [] }, { maxRequestBytes: 10, maxConcurrent: 3 })
    const asked = Promise.all(Array.from({ length: 20 }, async () => pair.at(1).requests.request(pair.at(0).peerId, '/test/few', [], wait)))
    await until('three are in work', 5000, () => inWork === 3)
    gate.resolve()
    await asked
    expect(most).toBe(3)
  })

  test('to a peer that is not connected fail at once', async () => {
    await using pair = await networks(2)
    const gone = pair.at(0).peerId
    await pair.at(0)[Symbol.asyncDispose]()
    await until('the end is noticed', 5000, () => !pair.at(1).isConnected(gone))
    const start = performance.now()
    await expect(pair.at(1).requests.request(gone, '/test/echo', [], wait)).rejects.toThrow(PeerUnreachable)
    expect(performance.now() - start).toBeLessThan(500)
  })
})

describe('a stream', () => {
  test('whose reader does not read stops its writer: memory is bounded at both ends', async () => {
    const [server, client] = await Promise.all([createLibp2p({ addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }, ...transportOptions() } as never), createLibp2p(transportOptions() as never)])
    try {
      let sent = 0
      await server.handle('/test/flood', async (stream) => {
        const piece = new Uint8Array(mib)
        for (; sent < 200 * mib; sent += mib) await write(stream, [piece], new AbortController().signal)
      })
      const connection = await client.dial(multiaddr(server.getMultiaddrs()[0]?.toString() ?? ''))
      const reader = flowReader(await connection.newStream('/test/flood'), { highBytes: mib })
      await reader.read(1000)
      let [before, same] = [-1, 0]
      // the writer has stopped when its count stands still for many looks in a row
      await until('the writer stops', 20_000, () => { same = sent === before ? same + 1 : 0; before = sent; return same > 20 })
      expect(sent).toBeLessThan(2 * transportLimits.streamBufferBytes + 2 * transportLimits.windowBytes)
      expect(reader.bufferedBytes).toBeLessThan(transportLimits.windowBytes + 2 * mib)
      for (let got = 1000; got < 50 * mib; got += mib) await reader.read(mib)
      expect(sent).toBeGreaterThan(45 * mib)
    } finally {
      await Promise.all([server.stop(), client.stop()])
    }
  }, 60_000)

  test('whose window is full keeps a frame, however often its connection drains', async () => {
    const [server, client] = [await createLibp2p({ addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }, ...transportOptions() } as never), await createLibp2p(transportOptions() as never)]
    try {
      let written: (Stream & { onMuxerDrain (): void }) | undefined
      await server.handle('/test/stalled', async (stream) => {
        written = stream as typeof written
        await write(stream, [new Uint8Array(4 * mib)], new AbortController().signal)
      })
      const connection = await client.dial(multiaddr(server.getMultiaddrs()[0]?.toString() ?? ''))
      const reader = flowReader(await connection.newStream('/test/stalled'), { highBytes: 64 * 1024 })
      await until('its window is full', 10_000, () => reader.bufferedBytes >= 64 * 1024 && (written?.writeBufferLength ?? 0) > 0)
      for (let i = 0; i < 50; i++) {
        written?.onMuxerDrain()
        await nextTurn()
      }
      expect(written?.writeBufferLength).toBeLessThanOrEqual(2 * flowLimits.frameBytes)
      expect((await reader.read(4 * mib)).byteLength).toBe(4 * mib)
    } finally {
      await Promise.all([server.stop(), client.stop()])
    }
  }, 60_000)
})

describe('the network', () => {
  test('carries announcements among nodes that share one address', async () => {
    await using many = await networks(7)
    const heard = many.all.map(() => new Set<string>())
    for (const [i, network] of many.all.entries()) network.gossip.onAnnouncement(({ versionId, from }) => { heard[i]?.add(`${versionId[0]} ${from}`) })
    await until('everybody knows the topic', 20_000, () => many.all.every((network) => network.introspect().gossip.length >= 6))
    await until('all hear all', 30_000, () => {
      for (const [i, network] of many.all.entries()) network.gossip.announce({ rowKey: new Uint8Array(32), versionId: new Uint8Array(32).fill(i), root: undefined, blocks: [] })
      return heard.every((set) => set.size === 7)
    })
  }, 60_000)

  test('hears apart what is announced for the first time and what is announced again', async () => {
    await using pair = await networks(2)
    const heard: string[] = []
    pair.at(1).gossip.onAnnouncement(({ versionId, isAgain }) => { heard.push(`${versionId[0]} ${isAgain}`) })
    const of = (i: number): { rowKey: Uint8Array, versionId: Uint8Array, root: undefined, blocks: [] } => ({ rowKey: new Uint8Array(32), versionId: new Uint8Array(32).fill(i), root: undefined, blocks: [] })
    await until('both are heard', 20_000, () => {
      pair.at(0).gossip.announce(of(1))
      pair.at(0).gossip.announce(of(2), { isAgain: true })
      return heard.includes('1 false') && heard.includes('2 true')
    })
    expect(new Set(heard)).toEqual(new Set(['1 false', '2 true']))
  })

  test('does not hear any more of who passes on what no member could have made', async () => {
    await using three = await networks(3)
    const [evil, honest, listener] = three.all as [Network, Network, Network]
    const heard: PeerId[] = []
    listener.gossip.onAnnouncement(({ from }) => { heard.push(from) })
    const one = { rowKey: new Uint8Array(32), versionId: new Uint8Array(32), root: undefined, blocks: [] }
    await until('both are heard', 20_000, () => { for (const network of [evil, honest]) network.gossip.announce(one); return heard.includes(evil.peerId) && heard.includes(honest.peerId) })
    await until('the liar is not heard while the other is', 20_000, async () => {
      evil.gossip.announce({ ...one, blocks: Array.from({ length: 9 }, () => cidOf(noiseBytes(1))) })
      await until('the lie is out', 5000, () => evil.gossip.queued === 0)
      heard.length = 0
      for (let i = 0; i < 5; i++) {
        evil.gossip.announce({ ...one, versionId: noiseBytes(32, i) })
        await until('the liar has spoken', 5000, () => evil.gossip.queued === 0)
        honest.gossip.announce({ ...one, versionId: noiseBytes(32, i) })
        await until('the other is heard', 5000, () => heard.filter((from) => from === honest.peerId).length > i)
      }
      return !heard.includes(evil.peerId)
    })
  }, 60_000)

  test('admits nobody who has left while it was being proven', async () => {
    await using pair = await networks(2)
    const gone = pair.at(1).peerId
    await pair.at(1)[Symbol.asyncDispose]()
    await until('the end is noticed', 5000, () => !pair.at(0).isConnected(gone))
    expect(pair.at(0).admit(gone)).toBe(false)
    expect(pair.at(0).isConnected(gone)).toBe(false)
  })

  test('takes from a peer no addresses of another: those of the other would be pushed out by them', async () => {
    await using pair = await networks(2)
    const [a, b] = [pair.at(0), pair.at(1)]
    a.know(peerNamed('stranger'), ['/ip4/127.0.0.1/tcp/1', ...Array.from({ length: 15 }, (_, i) => `/ip4/127.0.0.1/tcp/${i + 2}/p2p/${b.peerId}`)])
    expect(a.known.get(peerNamed('stranger'))).toEqual([`/ip4/127.0.0.1/tcp/1/p2p/${peerNamed('stranger')}`])
  })

  test('tells of a root, and tells it again after a start, when nobody knows of it any more', async () => {
    const root = cidOf(noiseBytes(10))
    const found = async (by: Network): Promise<PeerId[]> => {
      const peers: PeerId[] = []
      for await (const peer of by.providers.find(root, { signal: AbortSignal.timeout(4000) })) peers.push(peer)
      return peers
    }
    const wait = { signal: AbortSignal.timeout(20_000) }
    for (let start = 0; start < 2; start++) {
      // the same two peers, with nothing in their memory
      await using pair = await networks(2)
      await until('the routing tables have filled', 20_000, () => pair.all.every((network) => network.introspect().routingTable.length === 1))
      expect(await found(pair.at(0))).toEqual([])
      await pair.at(1).providers.provideNow(root, wait)
      await until('it is found', 10_000, async () => (await found(pair.at(0))).includes(pair.at(1).peerId))
    }
  }, 60_000)

  test('finds who provides a root, over Kademlia', async () => {
    await using many = await networks(4)
    const root = cidOf(noiseBytes(100))
    await until('the routing tables have filled', 20_000, () => many.all.every((network) => network.introspect().routingTable.length === 3))
    many.at(2).providers.provide(root)
    const found = new Set<string>()
    await until('the provider is found', 20_000, async () => {
      for await (const peer of many.at(0).providers.find(root, { signal: AbortSignal.timeout(4000) })) found.add(peer)
      return found.has(many.at(2).peerId)
    })
  }, 60_000)

  test('finds where a peer listens that it never met', async () => {
    await using world = await networks(2)
    const third = await world.start(9)
    await third.listen()
    world.all.push(third)
    await until('the third is admitted by both', 20_000, () => third.reachable().length === 2)
    const fourth = await world.start(10, { bootstrap: [world.at(0)] })
    await fourth.listen()
    world.all.push(fourth)
    await until('the fourth is admitted by the first', 20_000, () => fourth.isConnected(world.at(0).peerId))
    let found: readonly string[] = []
    await until('the first has the third in its table', 20_000, async () => (found = await fourth.find(third.peerId, { signal: new AbortController().signal })).length > 0)
    expect(third.addresses().map((address) => address.replace(/\/p2p\/.*/, ''))).toEqual(expect.arrayContaining(found.map((address) => address.replace(/\/p2p\/.*/, ''))))
  })

  test('is whole again after a node went and came back at its address', async () => {
    await using pair = await networks(3)
    const address = pair.at(1).addresses()[0]?.replace(/\/p2p\/.*/, '') ?? ''
    await pair.at(1)[Symbol.asyncDispose]()
    await until('it is missed', 10_000, () => pair.at(0).reachable().length === 1)
    pair.all[1] = await pair.start(2, { listen: address })
    await pair.at(1).listen()
    await until('all see all', 20_000, () => pair.all.every((network) => network.reachable().length === 2))
  }, 60_000)
})

describe('going on trying', () => {
  test('waits twice as long each time, with jitter, to a bound, for ever', () => {
    let attempts = untried
    const waits = []
    for (let i = 0; i < 20; i++) {
      attempts = afterFailure(attempts, 1000, 0.5)
      waits.push(attempts.notBeforeMs - 1000)
    }
    expect(waits.slice(0, 4)).toEqual([250, 500, 1000, 2000])
    expect(waits.at(-1)).toBe(backoffLimits.mostMs)
    expect(afterFailure(untried, 0, 0).notBeforeMs).toBeLessThan(afterFailure(untried, 0, 0.99).notBeforeMs)
    expect([isDue(attempts, 1000), isDue(attempts, 1000 + backoffLimits.mostMs)]).toEqual([false, true])
  })
})

describe('announcements', () => {
  const one = { rowKey: new Uint8Array(32).fill(1), versionId: new Uint8Array(32).fill(2), root: cidOf(new Uint8Array(1)), blocks: [cidOf(new Uint8Array(2))] }
  test('come through as they were sent', () => {
    const expected = [one, { ...one, root: undefined, blocks: [] }]
    expect(decodeAnnouncements(encodeAnnouncements(expected))).toEqual(expected)
  })
  test('cut short, too many or with more behind are refused', () => {
    const bytes = encodeAnnouncements([one])
    for (let length = 0; length < bytes.byteLength; length++) expect(() => decodeAnnouncements(bytes.subarray(0, length))).toThrow()
    expect(() => decodeAnnouncements(encodeAnnouncements(Array.from({ length: 65 }, () => one)))).toThrow('too many')
  })
})

test('a member is let in to say hello also while strangers have all the connections that there are for them', async () => {
  await using stack = new AsyncDisposableStack()
  // strangers that are not cut off while this test takes its time
  const clock = { ...systemClock, after: (ms: number, act: () => void) => ms === networkLimits.strangerTimeoutMs ? () => {} : systemClock.after(ms, act) }
  const member = seededRandom(1000).bytes(32)
  const peerOf = (seed: Uint8Array): PeerId => peerIdOf(signingKeyOf(seed).publicKey)
  const started = async (seed: Uint8Array, options: Partial<Parameters<typeof startNetwork>[0]> = {}): Promise<Network> => {
    const network = stack.use(await startNetwork({ seed, listen: [], announce: [], bootstrap: [], mdns: false, clock, random: systemRandom, greet: undefined, isMember: () => false, log: { debug: () => {}, info: () => {}, warn: () => {} }, ...options }))
    await network.listen()
    return network
  }
  const node = await started(seededRandom(999).bytes(32), { listen: ['/ip4/127.0.0.1/tcp/0'], greet: async () => {}, isMember: (peer) => peer === peerOf(member) })
  await node.requests.handle('/test/hello', async () => [], { maxRequestBytes: 10, maxConcurrent: 4, strangers: true })
  const hello = async (network: Network): Promise<unknown> => {
    const peer = await network.dial(node.addresses(), { signal: AbortSignal.timeout(20_000) })
    return network.requests.request(peer, '/test/hello', [], { timeoutMs: 20_000, maxAnswerBytes: 10 })
  }
  for (let i = 0; i < networkLimits.maxStrangers; i++) await hello(await started(seededRandom(2000 + i).bytes(32)))
  await expect(hello(await started(seededRandom(3000).bytes(32)))).rejects.toThrow()
  await hello(await started(member))
}, 60_000)
