import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalNode, until } from '../../scripts/local-cluster.ts'
import { concat, equals, utf8 } from '../../src/base/bytes.ts'
import { cidOf, digestOf, parseCid } from '../../src/base/cid.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { keyOf, type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { seededRandom, systemRandom } from '../../src/base/random.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { type Certificate, type Era, type InviteToken, type MemberStatement, parseToken, roles, signStatement } from '../../src/cluster/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { announcementTopic } from '../../src/network/gossip.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { type Network, networkLimits, startNetwork } from '../../src/network/libp2p-network.ts'
import { fetchProtocol } from '../../src/protocols/fetch.ts'
import { helloId } from '../../src/protocols/hello.ts'
import { joinCluster as joinBy } from '../../src/protocols/join.ts'
import { storeProtocol } from '../../src/protocols/store.ts'
import { tableProtocol } from '../../src/protocols/table.ts'
import { encodeRequest } from '../../src/tables/messages-codec.ts'
import { tables } from '../../src/tables/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { anyPorts, joinedMember, type Member, memberIn } from '../support/member.ts'
import { networks } from '../support/networks.ts'
import { frame, type RawPeer, rawPeer } from '../support/raw-peer.ts'
import { filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

/**
 * Strangers of every kind at the sockets of a real cluster. What they ask is what a member is answered (the last test of the first part shows it with the
 * same bytes), so that silence means refusal and not a question put wrongly.
 */
const objectName = 'a-name-that-no-stranger-may-learn'
const meshProtocols = ['/meshsub/1.3.0', '/meshsub/1.2.0', '/meshsub/1.1.0', '/meshsub/1.0.0']
const kademliaProtocol = '/dfs/kad/1.0.0'

let real: RealCluster
let member: Member
let foreigner: Member
let [used, expired]: [InviteToken | undefined, InviteToken | undefined] = [undefined, undefined]
/** A block that the first node holds, and one that it does not. */
let held: Uint8Array
const offered = noiseBytes(20_000, 66)

const addressesOf = (index: number): readonly string[] => real.node(index).ready?.addresses ?? []
const statusesOf = async (): Promise<NodeStatus[]> => Promise.all([0, 1, 2].map(async (i) => (await real.via(i)).client.json<NodeStatus>('GET', '/v1/status')))
/** Not the version of the layout: on a slow machine a change of the members' own may still go on. */
const belonging = (statuses: readonly NodeStatus[]): unknown => statuses.map(({ members, layout }) => ({ members: members.map(({ peerId }) => peerId), inLayout: layout.members }))
const inspected = async (index: number): Promise<{ routingTable: string[], gossip: string[] }> => (await real.via(index)).client.json('GET', '/v1/inspect')

beforeAll(async () => {
  real = await realCluster(3, {
    async beforeBucket (cluster, folder) {
      const [invite, late] = [await cluster.node(0).json<{ token: string }>(['invite']), await cluster.node(0).json<{ token: string }>(['invite', '--expires', '1s'])]
      used = parseToken(invite[0]?.token ?? '')
      expired = parseToken(late[0]?.token ?? '')
      member = await joinedMember(cluster, `${folder}/member`, invite[0]?.token)
    },
  })
  const other = new LocalNode(`${real.folder}/other`, [])
  await other.run(['init', '--no-passphrase', ...anyPorts])
  foreigner = await memberIn(other.data)
  await (await real.via(0)).put(objectName, noiseBytes(50_000, 5))
  const [path] = (await filesIn(real.node(0).data)).filter((name) => name.startsWith('blocks/large/'))
  held = digestOf(parseCid(path?.split('/').at(-1) ?? ''))
  await until('all nodes have heard of the fourth member', 60_000, async () => (await statusesOf()).every(({ members }) => members.length === 4))
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

interface Question { readonly protocol: string, readonly bytes: Uint8Array }

/** One right question for every protocol that answers members. */
function questions (): Question[] {
  const version = concat([digestOf(cidOf(offered)), new Uint8Array(32).fill(9), Uint8Array.of(1, 0)])
  const key = concat([Uint8Array.of(0x12, 32), createHash('sha256').update('anything').digest()])
  const subscription = concat([Uint8Array.of(0x0a, announcementTopic.length + 4, 0x08, 1, 0x12, announcementTopic.length), utf8(announcementTopic)])
  return [
    { protocol: fetchProtocol, bytes: frame(1, 'request', held) },
    { protocol: storeProtocol, bytes: frame(1, 'request', concat([Uint8Array.of(2), version, offered])) },
    { protocol: tableProtocol, bytes: frame(1, 'request', encodeRequest({ version: 0n, kind: 'digest', partitions: [0] })) },
    { protocol: tableProtocol, bytes: frame(1, 'request', encodeRequest({ version: 0n, kind: 'list', table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), after: undefined, limit: 10 })) },
    // FIND_NODE, and GET_PROVIDERS, in the library's protocol buffers
    ...[4, 3].map((type) => ({ protocol: kademliaProtocol, bytes: concat([Uint8Array.of(4 + key.byteLength, 0x08, type, 0x12, key.byteLength), key]) })),
    ...meshProtocols.map((protocol) => ({ protocol, bytes: concat([Uint8Array.of(subscription.byteLength), subscription]) })),
  ]
}

interface Stranger extends AsyncDisposable {
  readonly raw: RawPeer
  /** What is shown in hello. */
  readonly certificate: Certificate
  readonly era: Era
  /** Streams on which the cluster began to gossip. */
  readonly mesh: string[]
}

async function strangerWith (seed: Uint8Array, { certificate, era }: { certificate: Certificate, era: Era }): Promise<Stranger> {
  const raw = await rawPeer(seed)
  const mesh: string[] = []
  for (const protocol of meshProtocols) await raw.handle(protocol, (stream) => { mesh.push(protocol); stream.abort(new Error('heard enough')) })
  return { raw, certificate, era, mesh, [Symbol.asyncDispose]: async () => raw[Symbol.asyncDispose]() }
}

/** As joining signs it, by whoever has the token. */
function selfMade (seed: Uint8Array, { clusterId, seed: invitation, admin, invite }: InviteToken): Certificate {
  const statement = { clusterId, era: invite.era, subject: signingKeyOf(seed).publicKey, kind: 'member', role: roles.member, kx: new Uint8Array(32).fill(3), serial: 0, zone: 'default' } as const
  return { admin, invite, member: signStatement(signingKeyOf(invitation), statement) as MemberStatement }
}

async function tryToJoin (raw: RawPeer, sponsor: PeerId, token: InviteToken): Promise<unknown> {
  return joinBy(raw.requests, sponsor, {
    peer: raw.peerId, token, role: roles.member, kx: new Uint8Array(32).fill(3), zone: 'default', capacityBytes: 0, addresses: [], storeId: new Uint8Array(16), openRing: () => { throw new Error('the keys came') },
  }).then(() => 'joined', (error: unknown) => error)
}

const seedOf = (name: string): Uint8Array => seededRandom(name.length).bytes(32)

describe('a stranger with', () => {
  const kinds: ReadonlyArray<readonly [name: string, make: () => { seed: Uint8Array, certificate: Certificate, era: Era, token?: InviteToken }]> = [
    ['a certificate that it made itself', () => ({ seed: seedOf('own'), certificate: selfMade(seedOf('own'), { ...used as InviteToken, seed: seedOf('no invite') }), era: member.facts.era })],
    ['the certificate of somebody else', () => ({ seed: seedOf('thief'), certificate: member.facts.certificate, era: member.facts.era })],
    ['an invite that was used', () => ({ seed: seedOf('latecomer'), certificate: selfMade(seedOf('latecomer'), used as InviteToken), era: member.facts.era, token: used as InviteToken })],
    ['an invite that expired', () => ({ seed: seedOf('straggler one'), certificate: selfMade(seedOf('straggler one'), expired as InviteToken), era: member.facts.era, token: expired as InviteToken })],
    ['the valid certificate of another cluster', () => ({ seed: foreigner.keyring.nodeSeed, certificate: foreigner.facts.certificate, era: foreigner.facts.era })],
  ]

  test.each(kinds)('%s is refused by hello, is answered by no protocol, leaves nothing and learns nothing', async (_, make) => {
    const { seed, token, ...shown } = make()
    await using stranger = await strangerWith(seed, shown)
    const { raw } = stranger
    const before = belonging(await statusesOf())
    const answers: Uint8Array[] = []
    for (const index of [0, 1, 2]) {
      const peer = await raw.connect(addressesOf(index))
      const refusal: unknown = await raw.greet(peer, stranger).catch((error: unknown) => error)
      expect(refusal).toBeInstanceOf(RequestRefused)
      expect((refusal as Error).message).toBe('no')
      if (token !== undefined) expect(await tryToJoin(raw, peer, token)).toBeInstanceOf(RequestRefused)
      for (const { protocol, bytes } of questions()) {
        const answer = await raw.firstAnswer(peer, protocol, bytes)
        expect(answer.byteLength, protocol).toBe(0)
        answers.push(answer)
      }
    }
    // a member's object that comes after it is stored, announced and provided, so what the stranger could have stirred is stirred by now
    await (await real.via(0)).put(`after/${raw.peerId}`, noiseBytes(10_000, 1))
    for (const index of [0, 1, 2]) {
      const { routingTable, gossip } = await inspected(index)
      expect([...routingTable, ...gossip]).not.toContain(raw.peerId)
      expect(gossip.length).toBeGreaterThan(0)
      const { peers } = await (await real.via(index)).client.json<{ peers: Array<{ peerId: string }> }>('GET', '/v1/peers')
      expect(peers.map(({ peerId }) => peerId)).not.toContain(raw.peerId)
    }
    expect(stranger.mesh).toEqual([])
    expect(belonging(await statusesOf())).toEqual(before)
    for (const index of [0, 1, 2]) expect(await holds(index, offered)).toBe(false)
  }, 120_000)

  test('a valid certificate is no stranger: the same questions are answered, and gossip comes', async () => {
    await using friend = await strangerWith(member.keyring.nodeSeed, member.facts)
    const peer = await friend.raw.connect(addressesOf(0))
    await friend.raw.greet(peer, friend)
    for (const { protocol, bytes } of questions().filter((question) => !meshProtocols.includes(question.protocol))) {
      expect((await friend.raw.firstAnswer(peer, protocol, bytes)).byteLength, protocol).toBeGreaterThan(0)
    }
    await until('gossip begins', 20_000, () => friend.mesh.length > 0)
    await until('it is in the mesh', 20_000, async () => (await inspected(0)).gossip.includes(friend.raw.peerId))
    expect(await holds(0, offered)).toBe(true)
    expect(equals(keyOf(friend.raw.peerId), member.facts.certificate.member.subject)).toBe(true)
  }, 60_000)
})

/** Whether a node has the block: as it answers a member. */
async function holds (index: number, block: Uint8Array): Promise<boolean> {
  await using friend = await rawPeer(member.keyring.nodeSeed)
  const peer = await friend.connect(addressesOf(index))
  await friend.greet(peer, member.facts)
  const answer = await friend.requests.request(peer, fetchProtocol, [digestOf(cidOf(block))], { timeoutMs: 20_000, maxAnswerBytes: 100_000 })
  return answer[0] === 1
}

describe('a stranger with no certificate', () => {
  let stranger: Network
  const quiet = { debug: () => {}, info: () => {}, warn: () => {} }
  const seed = seededRandom(5).bytes(32)
  const strangerId = peerIdOf(signingKeyOf(seed).publicKey)
  beforeAll(async () => {
    stranger = await startNetwork({ seed, listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom, greet: undefined, isMember: () => false, log: quiet })
    await stranger.listen()
  })
  afterAll(async () => { await stranger?.[Symbol.asyncDispose]() })
  const dial = async (): Promise<PeerId> => stranger.dial(addressesOf(0), { signal: AbortSignal.timeout(20_000) })

  test('is answered by no protocol', async () => {
    await using silent = await rawPeer(seedOf('nobody at all'))
    const peer = await silent.connect(addressesOf(0))
    for (const { protocol, bytes } of questions()) expect((await silent.firstAnswer(peer, protocol, bytes)).byteLength, protocol).toBe(0)
  }, 60_000)

  test('learns nothing from hello but that it is refused', async () => {
    const peer = await dial()
    const error = await stranger.requests.request(peer, helloId, [new Uint8Array(300)], { timeoutMs: 20_000, maxAnswerBytes: 4_000_000 }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(RequestRefused)
    expect((error as Error).message).toBe('no')
  })

  test('enters neither routing table nor mesh, and its gossip is heard by nobody', async () => {
    const watcher = await real.via(1)
    const abort = new AbortController()
    const { body } = await watcher.client.download('/v1/watch', { signal: abort.signal })
    let seen = ''
    const reading = (async (): Promise<void> => { for await (const piece of body) seen += Buffer.from(piece).toString() })().catch(() => {})
    await until('the watcher listens', 20_000, () => seen.includes('watching'))
    await dial()
    stranger.gossip.announce({ rowKey: new Uint8Array(32).fill(7), versionId: new Uint8Array(32).fill(7), root: undefined, blocks: [] })
    // something of a member's that comes after it shows that the stranger's would have been seen by now
    await (await real.via(0)).put('after', new Uint8Array(10))
    await until('the member\'s announcement is seen', 20_000, () => seen.includes(real.node(0).ready?.peerId ?? '?'))
    expect(seen).not.toContain('07070707')
    for (const i of [0, 1, 2]) {
      const { routingTable, gossip } = await inspected(i)
      expect([...routingTable, ...gossip]).not.toContain(strangerId)
      expect(gossip.length).toBeGreaterThan(0)
    }
    abort.abort()
    await reading
  }, 60_000)

  test('holds a few connections at most, however many it opens', async () => {
    const opened = await Promise.allSettled(Array.from({ length: 12 }, async () => stranger.dial(addressesOf(2), { signal: AbortSignal.timeout(20_000), force: true })))
    expect(opened.some(({ status }) => status === 'fulfilled')).toBe(true)
    await until('the others were closed', 20_000, () => stranger.connectionCount() <= 1 + networkLimits.maxConnectionsPerStranger)
  }, 60_000)

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
    const { code, stderr } = await new LocalNode(folder.path, []).run(['join', 'dfs1-nonsense', '--no-passphrase', ...anyPorts])
    expect([code, stderr]).toEqual([2, expect.stringContaining('invite')])
  })

  test('is used once while joining is open; a second node with it, and one that comes after it expired, are refused with the reason and stay strangers', async () => {
    await using folder = await temporaryFolder()
    const at = (name: string): LocalNode => new LocalNode(`${folder.path}/${name}`, [])
    const founder = at('founder')
    await founder.run(['init', '--no-passphrase', ...anyPorts])
    const { addresses } = await founder.start()
    try {
      const [invite] = await founder.json<{ token: string }>(['invite'])
      const [short] = await founder.json<{ token: string }>(['invite', '--expires', '1s'])
      const join = async (name: string, token = ''): Promise<{ code: number, stderr: string }> => at(name).run(['join', token, '--no-passphrase', ...anyPorts])
      expect((await join('first', invite?.token)).code).toBe(0)
      expect(await join('second', invite?.token)).toMatchObject({ code: 8, stderr: expect.stringContaining('used') as string })
      await until('the second is over', 30_000, async () => (await join(`late-${performance.now()}`, short?.token)).stderr.includes('expired'))

      const { facts } = await memberIn(at('first').data)
      for (const [token, reason] of [[invite?.token, /used/], [short?.token, /expired/]] as const) {
        const seed = systemRandom.bytes(32)
        const parsed = parseToken(token ?? '')
        await using stranger = await strangerWith(seed, { certificate: selfMade(seed, parsed), era: facts.era })
        const peer = await stranger.raw.connect(addresses)
        expect(String(await tryToJoin(stranger.raw, peer, parsed))).toMatch(reason)
        await expect(stranger.raw.greet(peer, stranger)).rejects.toThrow(/^no$/)
        for (const { protocol, bytes } of questions()) expect((await stranger.raw.firstAnswer(peer, protocol, bytes)).byteLength, protocol).toBe(0)
        const [status] = await founder.json<NodeStatus>(['status'])
        expect(status?.members).toHaveLength(2)
      }
    } finally {
      await founder.stop('SIGKILL')
    }
  }, 120_000)
})

describe('a stranger that has something to be asked', () => {
  test.each([['is cut off', false], ['is given the time that was allowed', true]])('and whose time is over %s', async (_what, isAllowed) => {
    await using few = await networks(0)
    // the time of strangers, and no other, passes at once
    const clock: Clock = { ...systemClock, after: (ms, act) => systemClock.after(ms === networkLimits.strangerTimeoutMs ? 50 : ms, act) }
    const [sponsor, stranger] = [await few.start(1, { clock }), await few.start(2, { greets: false })]
    few.all.push(sponsor, stranger)
    const over = Promise.withResolvers<void>()
    await sponsor.requests.handle('/test/slow', async (peer) => {
      if (isAllowed) sponsor.allowTime(peer, 20_000)
      // as long as it takes until somebody else, who came later and was allowed nothing, is cut off
      await over.promise
      return []
    }, { maxRequestBytes: 10, maxConcurrent: 4, strangers: true })
    await Promise.all([sponsor.listen(), stranger.listen()])
    await stranger.dial(sponsor.addresses(), { signal: new AbortController().signal })
    const asked = stranger.requests.request(sponsor.peerId, '/test/slow', [], { timeoutMs: 20_000, maxAnswerBytes: 10 }).then(() => 'answered', () => 'cut off')
    const late = await few.start(3, { greets: false })
    few.all.push(late)
    await late.listen()
    await late.dial(sponsor.addresses(), { signal: new AbortController().signal })
    await until('the later one is cut off', 10_000, () => !late.isConnected(sponsor.peerId))
    over.resolve()
    expect(await asked).toBe(isAllowed ? 'answered' : 'cut off')
  })
})
