import type { Stream } from '@libp2p/interface'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { ByteReader, ByteWriter, concat } from '../../src/base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { systemRandom } from '../../src/base/random.ts'
import { objectPath } from '../../src/client/index.ts'
import { flowReader } from '../../src/network/flow.ts'
import { exchangeLimits } from '../../src/network/exchange.ts'
import { type Network, startNetwork } from '../../src/network/libp2p-network.ts'
import type { NodeStatus } from '../../src/node.ts'
import { fetchFrom, fetchLimits, fetchProtocol } from '../../src/protocols/fetch.ts'
import { helloProtocol } from '../../src/protocols/hello.ts'
import { storeLimits, storeProtocol } from '../../src/protocols/store.ts'
import { noiseBytes } from '../support/file-world.ts'
import { joinedMember, type Member } from '../support/member.ts'
import { frame, introductionOf, type RawPeer, rawPeer } from '../support/raw-peer.ts'
import { bucketName, digestOfBytes, filesIn, type NodeObjects, realCluster, type RealCluster } from '../support/real-cluster.ts'

/**
 * A member with a valid certificate and a third of the blocks' places, which lies. Two nodes hold everything, for the liar is away while it is stored; the
 * third, of no capacity, has to fetch every block, and asks the liar for about a third of them first.
 */
const mib = 1024 ** 2
const objectBytes = 3 * mib
const reader = 2

let real: RealCluster
let member: Member
let liar: RawPeer
const honest: PeerId[] = []

const status = async (index: number): Promise<NodeStatus> => (await real.via(index)).client.json<NodeStatus>('GET', '/v1/status')

beforeAll(async () => {
  real = await realCluster(3, {
    copies: 2,
    chunking: 'content-small',
    options: (index) => index === reader ? ['--capacity', '0'] : [],
    async beforeBucket (cluster, folder) { member = await joinedMember(cluster, join(folder, 'liar')) },
  })
}, 120_000)
afterAll(async () => { await liar?.[Symbol.asyncDispose](); await real?.[Symbol.asyncDispose]() })

/** What the founder's disk has: blocks of more than 32 KiB. */
async function blocksOnDisk (index: number): Promise<Map<Cid, Uint8Array>> {
  const folder = real.node(index).data
  const names = (await filesIn(folder)).filter((name) => name.startsWith('blocks/large/'))
  return new Map(await Promise.all(names.map(async (name) => [name.split('/').at(-1) as Cid, new Uint8Array(await readFile(join(folder, name)))] as const)))
}

describe('a member that does not lie', () => {
  test('finds over Kademlia which process stored an object, whoever held it and though nobody told it', async () => {
    const network = await honestNetwork(member)
    try {
      const content = noiseBytes(10_000, 1)
      const announced = Promise.withResolvers<Cid>()
      network.gossip.onAnnouncement(({ blocks }) => { if (blocks[0] !== undefined) announced.resolve(blocks[0] as Cid) })
      await until('it gossips with all', 20_000, () => network.introspect().gossip.length === 3)
      await (await real.via(1)).put('provided', content)
      const root = await announced.promise
      const found = new Set<string>()
      await until('the provider is found', 30_000, async () => {
        for await (const peer of network.providers.find(root, { signal: AbortSignal.timeout(10_000) })) found.add(peer)
        return found.has(real.node(1).ready?.peerId ?? '')
      })
    } finally {
      await network[Symbol.asyncDispose]()
    }
  }, 90_000)
})

async function honestNetwork ({ keyring, facts }: Member): Promise<Network> {
  const hello = helloProtocol({
    self: () => introductionOf(facts), verify: async () => ({ isValid: true }), greeted: ({ peer }) => { network.admit(peer) },
  })
  const network: Network = await startNetwork({
    seed: keyring.nodeSeed, listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [0, 1, 2].flatMap((i) => real.node(i).ready?.addresses ?? []), mdns: false, clock: systemClock, random: systemRandom,
    greet: async (peer, wait) => { await hello.greet(peer, wait) }, isMember: () => true, log: { debug: () => {}, info: () => {}, warn: () => {} },
  })
  await hello.register(network.requests)
  await network.listen()
  return network
}

async function bothHoldEverything (): Promise<void> {
  await until('both hold everything', 30_000, async () => (await blocksOnDisk(0)).size === (await blocksOnDisk(1)).size)
}

const [notHere, here] = [Uint8Array.of(0), Uint8Array.of(1)]
interface Asked { readonly id: number, readonly block: Uint8Array, readonly other: Uint8Array }
type Lie = (asked: Asked) => readonly Uint8Array[] | { readonly sent: Uint8Array, readonly next: 'reset' | 'silence' }

const answer = (id: number, ...body: Uint8Array[]): Uint8Array => frame(id, 'answer', concat(body))
const half = ({ id, block }: Asked): Uint8Array => frame(id, 'answer', concat([here, block.subarray(0, block.byteLength >> 1)]), block.byteLength + 6)

/** Silence comes last: who is late is asked last for five seconds. */
const lies: ReadonlyArray<readonly [name: string, lie: Lie]> = [
  ['a bit flipped', ({ id, block }) => [answer(id, here, block.with(block.byteLength >> 1, (block[block.byteLength >> 1] ?? 0) ^ 1))]],
  ['wrong bytes of the right length', ({ id, block }) => [answer(id, here, noiseBytes(block.byteLength, 99))]],
  ['another block', ({ id, other }) => [answer(id, here, other)]],
  ['a block cut short', ({ id, block }) => [answer(id, here, block.subarray(0, -1))]],
  ['a block with more behind it', ({ id, block }) => [answer(id, here, block, Uint8Array.of(0))]],
  ['nothing', ({ id }) => [answer(id)]],
  ['neither yes nor no', ({ id, block }) => [answer(id, Uint8Array.of(2), block)]],
  ['half a frame, and the end', (asked) => ({ sent: half(asked), next: 'reset' })],
  ['a length of four gigabytes', ({ id, block }) => [frame(id, 'answer', concat([here, block]), 0xffffffff)]],
  ['a length just above what is allowed', ({ id, block }) => [frame(id, 'answer', concat([here, block]), fetchLimits.maxAnswerBytes + 6)]],
  ['a length too short for a frame', ({ id }) => [frame(id, 'answer', here, 4)]],
  ['a refusal of a megabyte', ({ id }) => [frame(id, 'refusal', new Uint8Array(mib))]],
  ['blocks that nobody asked for, then what was', ({ id, block, other }) => [answer(id + 1_000_000, here, other), answer(id, here, block)]],
  ['what was asked for, and then the same again', ({ id, block }) => [answer(id, here, block), answer(id, here, block)]],
  ['a request of its own on the asker\'s stream', ({ id, block }) => [frame(id, 'request', block)]],
  ['half a frame, and silence', (asked) => ({ sent: half(asked), next: 'silence' })],
]

const beginsWithTheTruth = /^what was asked for/

/** What the liar is telling now, to whom and how often. */
const telling: { lie: Lie, told: number, blocks: ReadonlyMap<Cid, Uint8Array>, other: Uint8Array } = { lie: () => [], told: 0, blocks: new Map(), other: new Uint8Array(0) }

async function tellLies (stream: Stream): Promise<void> {
  const incoming = flowReader(stream, { highBytes: mib })
  try {
    for (;;) {
      const head = new ByteReader(await incoming.read(9))
      const [length, id, kind] = [head.u32(), head.u32(), head.u8()]
      const body = await incoming.read(length - 5)
      if (kind !== 1) continue
      const block = telling.blocks.get(cidOfDigest(body.subarray(0, 32)))
      if (block === undefined) { stream.send(answer(id, notHere)); continue }
      telling.told++
      const lie = telling.lie({ id, block, other: telling.other })
      if (!('next' in lie)) for (const part of lie) stream.send(part)
      else {
        stream.send(lie.sent)
        if (lie.next === 'reset') stream.abort(new Error('that was half of it'))
      }
    }
  } catch {
    // the other side ended the stream, as it should
  }
}

/** Every block in this folder is what its name says; what is being written has another name. */
async function expectRightBlocks (index: number): Promise<void> {
  const folder = real.node(index).data
  const names = (await filesIn(folder)).filter((name) => /^(blocks\/large|cache)\/.*\/[a-z2-7]+$/.test(name))
  for (const name of names) expect(cidOf(await readFile(join(folder, name))), name).toBe(name.split('/').at(-1))
  for (const debris of ['blocks/tmp', 'blocks/corrupt']) expect(await readdir(join(folder, debris)), debris).toEqual([])
}

async function expectAlive (): Promise<void> {
  for (const index of [0, 1, 2]) {
    expect(real.node(index).isRunning).toBe(true)
    // one of four voters answers nothing, so a ping that another misses on a busy machine is felt until the next
    await until(`node ${index + 1} serves`, 30_000, async () => (await status(index)).isReady)
    expect((await status(index)).blocks.corrupt).toBe(0)
  }
}

describe('a member that lies, over real sockets', () => {
  beforeAll(async () => {
    const first = await real.via(0)
    for (const [i] of lies.entries()) await first.put(`lie/${i}`, noiseBytes(objectBytes, i + 1))
    await bothHoldEverything()
    telling.blocks = await blocksOnDisk(0)
    await first.put('never-read', noiseBytes(objectBytes, 1000))
    await bothHoldEverything()
    telling.other = [...await blocksOnDisk(0)].find(([cid]) => !telling.blocks.has(cid))?.[1] as Uint8Array
    liar = await rawPeer(member.keyring.nodeSeed)
    await liar.handle(fetchProtocol, (stream) => { void tellLies(stream) })
    for (const index of [0, 1, 2]) {
      const peer = await liar.connect(real.node(index).ready?.addresses ?? [])
      await liar.greet(peer, member.facts)
      honest.push(peer)
    }
    await until('it is one of them', 20_000, async () => (await status(reader)).members.filter(({ isConnected }) => isConnected).length === 4)
  }, 120_000)

  test.each([...lies.entries()].map(([i, [name, lie]]) => [name, i, lie] as const))('and answers fetches with %s: the reader has the right bytes from the others', async (name, i, lie) => {
    const [node, transfer] = [await real.via(reader), `lie-${i}`]
    Object.assign(telling, { lie, told: 0 })
    // once, unless the liar was late before, and so is asked last for some seconds
    await until('the liar was asked', 60_000, async () => {
      await node.client.json('DELETE', '/v1/cache')
      const { body } = await node.client.download(objectPath(bucketName, `lie/${i}`), { headers: { 'x-dfs-transfer': transfer } })
      const pieces: Uint8Array[] = []
      for await (const piece of body) pieces.push(piece)
      expect(digestOfBytes(Buffer.concat(pieces))).toBe(digestOfBytes(noiseBytes(objectBytes, i + 1)))
      return telling.told > 0
    })
    const { peers } = await node.client.json<{ peers: Record<string, number> }>('GET', `/v1/transfers/${transfer}`)
    if (!beginsWithTheTruth.test(name)) expect(peers[liar.peerId]).toBeUndefined()
    await expectRightBlocks(reader)
    await expectAlive()
  }, 90_000)

  test('and nothing of it is on the reader\'s disk, which was offered gigabytes and holds none', async () => {
    await expectRightBlocks(reader)
    expect((await filesIn(real.node(reader).data)).filter((name) => name.endsWith(cidOf(telling.other)))).toEqual([])
    expect(await real.node(reader).memoryBytes('VmHWM')).toBeLessThan(350e6)
    expect(real.node(reader).log).toContain('a peer sent wrong bytes for a block')
  })

  /** A reference to what is not these bytes. */
  const reference = (of: Uint8Array, k = 1): Uint8Array => concat([digestOf(cidOf(of)), new Uint8Array(32).fill(7), Uint8Array.of(k, 1)])
  const [claimed, given] = [noiseBytes(100_000, 501), noiseBytes(100_000, 502)]
  const payload = (block: Uint8Array, of = claimed): Uint8Array => concat([Uint8Array.of(2), reference(of), block])
  const outcomes = { full: 3, refused: 4, corrupt: 5 }
  test.each([
    ['other bytes than it says', frame(1, 'request', payload(given)), outcomes.corrupt],
    ['a bit flipped', frame(1, 'request', payload(claimed.with(5, (claimed[5] ?? 0) ^ 128))), outcomes.corrupt],
    ['a block cut short', frame(1, 'request', payload(claimed.subarray(0, -1))), outcomes.corrupt],
    ['no block at all', frame(1, 'request', payload(new Uint8Array(0))), outcomes.corrupt],
    ['an offer of four gigabytes', frame(1, 'request', concat([Uint8Array.of(1), reference(claimed), new ByteWriter().u32(0xffffffff).finish()])), outcomes.refused],
    ['a block longer than any', frame(1, 'request', payload(new Uint8Array(storeLimits.maxBlockBytes + 1), new Uint8Array(storeLimits.maxBlockBytes + 1))), outcomes.refused],
    ['a redundancy from which nothing could be read', frame(1, 'request', concat([Uint8Array.of(2), reference(claimed, 0), claimed])), 'refusal'],
    ['a frame of four gigabytes', frame(1, 'request', payload(claimed), 0xffffffff), 'end'],
    ['a frame just above what is allowed', frame(1, 'request', payload(claimed), storeLimits.maxRequestBytes + 6), 'end'],
    ['an answer to nothing', frame(1, 'answer', concat([here, claimed])), 'end'],
    ['half a frame, and the end', frame(1, 'request', payload(claimed).subarray(0, 50_000), 100_000), 'cut off'],
  ] as const)('and pushes %s: it is not stored', async (_, bytes, expected) => {
    for (const index of [0, reader]) {
      const before = (await status(index)).blocks
      const peer = honest[index] as PeerId
      if (expected === 'cut off') {
        const stream = await liar.open(peer, storeProtocol)
        stream.send(bytes)
        stream.abort(new Error('that was half of it'))
      } else {
        const answered = await liar.firstAnswer(peer, storeProtocol, bytes)
        if (expected === 'end') expect(answered.byteLength).toBe(0)
        else if (expected === 'refusal') expect(answered[8]).toBe(3)
        else expect([...answered.subarray(8, 10)]).toEqual([2, expected])
      }
      for (const block of [claimed, given]) expect(await fetchFrom(liar.requests, peer, cidOf(block), {})).toBe('not here')
      expect((await status(index)).blocks).toMatchObject({ count: before.count, bytes: before.bytes })
      await expectRightBlocks(index)
    }
    await expectAlive()
  }, 60_000)

  const nonsense: ReadonlyArray<readonly [string, (id: number, kind: number) => Uint8Array]> = [
    ['an outcome that there is not', (id) => answer(id, Uint8Array.of(99))],
    ['"want" to what it was just given', (id) => answer(id, Uint8Array.of(0))],
    ['"corrupt" to right bytes', (id) => answer(id, Uint8Array.of(outcomes.corrupt))],
    ['"full"', (id) => answer(id, Uint8Array.of(outcomes.full))],
    ['nothing', (id) => answer(id)],
    ['a megabyte', (id) => answer(id, new Uint8Array(mib))],
    ['an answer to something else', (id) => answer(id + 1_000_000, Uint8Array.of(2))],
  ]
  test('and answers what it is given to store with nonsense: puts go on, with two copies on the others', async () => {
    let [which, told] = [nonsense[0]?.[1] as (id: number, kind: number) => Uint8Array, 0]
    await liar.handle(storeProtocol, (stream) => { void (async () => {
      const incoming = flowReader(stream, { highBytes: exchangeLimits.highBytes })
      for (;;) {
        const head = new ByteReader(await incoming.read(9))
        const [length, id, kind] = [head.u32(), head.u32(), head.u8()]
        const body = await incoming.read(length - 5)
        if (kind !== 1) continue
        told++
        stream.send(which(id, body[0] ?? 0))
      }
    })().catch(() => {}) })
    const [first, last]: NodeObjects[] = [await real.via(0), await real.via(reader)]
    for (const [i, [name, say]] of nonsense.entries()) {
      [which, told] = [say, 0]
      const content = noiseBytes(objectBytes, 2000 + i)
      await first?.put(`nonsense/${i}`, content)
      expect(told, name).toBeGreaterThan(0)
      expect(await last?.digest(`nonsense/${i}`), name).toBe(digestOfBytes(content))
    }
    await bothHoldEverything()
    await expectAlive()
  }, 120_000)
})
