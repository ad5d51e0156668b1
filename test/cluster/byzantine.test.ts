import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { LocalNode, until } from '../../scripts/local-cluster.ts'
import { ByteReader, ByteWriter, concat, equals, hexOf, partitionOf, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf, cidOfDigest } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { hash } from '../../src/base/hash.ts'
import { keyOf, type PeerId } from '../../src/base/peer-id.ts'
import { systemRandom } from '../../src/base/random.ts'
import { type SigningKey, signingKeyOf } from '../../src/base/signature.ts'
import { decodeShard, encodeShard, type Shard } from '../../src/blockstore/shard.ts'
import { clearRowKey, parseClearRow, signClearRow } from '../../src/cluster/clear-row.ts'
import { clusterRowKeys, declaredBy, encodeEra, encodeLayout, eraAfter, type Layout, recovering, replicasOf } from '../../src/cluster/index.ts'
import { flowReader } from '../../src/network/flow.ts'
import { type Network, startNetwork } from '../../src/network/libp2p-network.ts'
import type { NodeStatus } from '../../src/node.ts'
import { fetchProtocol } from '../../src/protocols/fetch.ts'
import { healthProtocol } from '../../src/protocols/health.ts'
import { helloProtocol } from '../../src/protocols/hello.ts'
import { encodeRingQuestion, ringId } from '../../src/protocols/ring.ts'
import { storeProtocol } from '../../src/protocols/store.ts'
import { tableProtocol } from '../../src/protocols/table.ts'
import type { ClusterFacts } from '../../src/node/state.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { type Ballot, type TableNumber, tables } from '../../src/tables/index.ts'
import { messageLimits, type RowBallot, type TableAnswer, type TableQuestion, type TableRequest } from '../../src/tables/messages.ts'
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest } from '../../src/tables/messages-codec.ts'
import { noiseBytes } from '../support/file-world.ts'
import { anyPorts, type Member, memberIn } from '../support/member.ts'
import { frame, introductionOf, type RawPeer, rawPeer } from '../support/raw-peer.ts'
import { digestOfBytes, type NodeObjects, objectsOf, realCluster, type RealCluster } from '../support/real-cluster.ts'
import { tried } from '../support/tried.ts'

/**
 * Two nodes without keys whose certificates are valid, and which lie: a witness, which is a replica of three rows in four, and a storage node, which is a
 * holder of every block. Three honest members go on: what they were told stands, what they read is what was put. (A member that lies: liar.test.ts.)
 */
let real: RealCluster
const liars: { witness: Member, storage: Member } = {} as never
const peers: { witness: RawPeer, storage: RawPeer } = {} as never
let facts: ClusterFacts
let membersBefore: Layout['members']
const honest: PeerId[] = []
const reader = 2
const rowCount = 24
let cases = 0
/** Tests that found something believed, lost or stopped. */
let broken = 0
afterEach(({ task }) => { if (task.result?.state === 'fail') broken++ })

const status = async (index: number): Promise<NodeStatus> => {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}

async function joined (role: 'witness' | 'storage', folder: string): Promise<Member> {
  const [invite] = await real0().json<{ token: string }>(['invite', '--role', role])
  const data = join(folder, role)
  const { code, stderr } = await new LocalNode(data, []).run(['join', invite?.token ?? '', '--no-passphrase', ...anyPorts])
  if (code !== 0) throw new Error(`dfs join ended with ${code}: ${stderr}`)
  return memberIn(data)
}
let real0: () => LocalNode

beforeAll(async () => {
  real = await realCluster(3, {
    copies: 2,
    options: (index) => index === reader ? ['--capacity', '0'] : [],
    async beforeBucket (cluster, folder) {
      real0 = () => cluster.node(0)
      liars.witness = await joined('witness', folder)
      liars.storage = await joined('storage', folder)
    },
  })
  facts = (await memberIn(real.node(0).data)).facts
  membersBefore = facts.layout.members
  const first = await real.via(0)
  await first.client.json('PUT', '/v1/buckets/shards', { body: { shards: '2+1' } })
  for (let i = 0; i < rowCount; i++) await first.put(`row/${i}`, utf8(`content ${i}`))
  for (const role of ['witness', 'storage'] as const) {
    peers[role] = await rawPeer(liars[role].keyring.nodeSeed)
    for (const index of [0, 1, 2]) honest[index] = await peers[role].connect(real.node(index).ready?.addresses ?? [])
  }
  await Promise.all((['witness', 'storage'] as const).flatMap((role) => honest.map(async (peer) => greeted(role, peer))))
  await answering(peers.storage, storeProtocol, keepingShards)
  await until('they are met', 20_000, async () => (await status(reader)).members.filter(({ isConnected }) => isConnected).length === 5)
  await objectsOf(first.client, 'shards').put('coded', noiseBytes(4 * 1024 ** 2, 1))
  expect(genuine.size).toBeGreaterThan(0)
}, 180_000)
afterAll(async () => {
  await Promise.all([peers.witness, peers.storage].map(async (peer) => (peer as RawPeer | undefined)?.[Symbol.asyncDispose]()))
  await real?.[Symbol.asyncDispose]()
})

const storeOf = (role: 'witness' | 'storage'): Uint8Array => facts.layout.members.find(({ peerId }) => peerId === peers[role].peerId)?.storeId ?? new Uint8Array(16)
const greeted = async (role: 'witness' | 'storage', peer: PeerId, more: object = {}): Promise<unknown> =>
  peers[role].greet(peer, { certificate: liars[role].facts.certificate, era: liars[role].facts.era, store: { id: storeOf(role), position: 1n }, ...more })
const keyOfLiar = (role: 'witness' | 'storage'): SigningKey => signingKeyOf(liars[role].keyring.nodeSeed)

/** Answers a protocol with whatever `say` gives; undefined: nothing, ever. */
async function answering (peer: RawPeer, protocol: string, say: (body: Uint8Array, id: number) => readonly Uint8Array[] | undefined): Promise<void> {
  await peer.handle(protocol, (stream) => { void (async () => {
    const incoming = flowReader(stream, { highBytes: 1024 ** 2 })
    for (;;) {
      const head = new ByteReader(await incoming.read(9))
      const [length, id, kind] = [head.u32(), head.u32(), head.u8()]
      const body = (await incoming.read(length - 5)).slice()
      if (kind === 1) for (const part of say(body, id) ?? []) stream.send(part)
    }
  })().catch(() => {}) }) // the other side ended the stream, as it may
}

/** What the storage node was given to keep, which it does: by their blocks. */
const genuine = new Map<string, Shard>()
const [want, stored] = [0, 2]

function keepingShards (body: Uint8Array, id: number): readonly Uint8Array[] {
  const kind = (body[0] ?? 0) & 0x7f
  const [isShard, isOffer] = [kind === 4 || kind === 5, kind === 1 || kind === 4]
  if (isShard && !isOffer) {
    const shard = decodeShard(body.slice(1 + 32 + 32 + 2))
    genuine.set(shard.cid, shard)
  }
  return [frame(id, 'answer', Uint8Array.of(isOffer ? want : stored))]
}

/** As a liar asks, of the first honest node. */
async function ask (role: 'witness' | 'storage', question: TableQuestion, { peer = honest[0] as PeerId, version = facts.layout.version }: { peer?: PeerId, version?: bigint } = {}): Promise<TableAnswer> {
  return decodeAnswer(await peers[role].requests.request(peer, tableProtocol, [encodeRequest({ version, ...question })], { timeoutMs: 10_000, maxAnswerBytes: messageLimits.maxAnswerBytes }))
}

async function everyRow (table: TableNumber, partitions: readonly number[] = Array.from({ length: 4096 }, (_, i) => i)): Promise<RowBallot[]> {
  const found: RowBallot[] = []
  for (let at = 0; at < partitions.length; at += messageLimits.maxDigests) {
    const some = partitions.slice(at, at + messageLimits.maxDigests)
    const answer = await ask('witness', { kind: 'digest', partitions: some })
    if (answer.kind !== 'digests') throw new Error(answer.kind)
    for (const [i, partition] of some.entries()) {
      if ((answer.digests[i]?.count ?? 0) === 0) continue
      const ballots = await ask('witness', { kind: 'ballots', partition, after: undefined })
      if (ballots.kind === 'ballots') found.push(...ballots.rows.filter((row) => row.table === table))
    }
  }
  return found
}

async function recordOf ({ table, rowKey }: Pick<RowBallot, 'table' | 'rowKey'>): Promise<Uint8Array | undefined> {
  const answer = await ask('witness', { kind: 'read', table, rowKey })
  return answer.kind === 'value' ? answer.accepted : undefined
}

/** Everybody lives and serves, nothing is said to be corrupt, and memory is what it is without liars. */
async function expectAlive (): Promise<void> {
  for (const index of [0, 1, 2]) {
    expect(real.node(index).isRunning).toBe(true)
    await until(`node ${index + 1} serves`, 30_000, async () => (await status(index)).isReady)
    expect(await real.node(index).memoryBytes('VmRSS')).toBeLessThan(450e6)
  }
  // that it has lost its memory a voter may say, once in half a minute: the layout then changes to itself, and if it goes on saying so once more, for half a minute each
  await until('the layout is what it was', 100_000, async () => (await status(0)).layout.state === 'settled')
  const { members, blocks } = await status(0)
  expect([members.length, blocks.corrupt]).toEqual([5, 0])
  facts = (await memberIn(real.node(0).data)).facts
  expect(facts.layout.members).toEqual(membersBefore)
}

const flipped = (bytes: Uint8Array, at = bytes.byteLength - 20): Uint8Array => bytes.with(at, (bytes[at] ?? 0) ^ 1)
const ballotOf = (counter: bigint, role: 'witness' | 'storage' = 'witness'): Ballot => ({ counter, proposer: keyOf(peers[role].peerId) })
const ballotBytes = ({ counter, proposer }: Ballot): Uint8Array => new ByteWriter().u64(counter).raw(proposer).finish()
/** A clear row that says this, signed by a liar. */
const forgedClear = (table: TableNumber, key: Uint8Array, of: Uint8Array, value: Uint8Array): Uint8Array =>
  signClearRow({ table, rowKey: clearRowKey(table, key), ballot: ballotBytes(ballotOf(new DataView(parseClearRow(of).ballot.slice().buffer).getBigUint64(0) + 1n)), value }, keyOfLiar('witness'), facts.clusterId)

describe('nodes without keys that ask for what they may not, over real sockets', () => {
  interface Known { readonly foreign: { rowKey: Uint8Array, record: Uint8Array }, readonly row: RowBallot, readonly record: Uint8Array, readonly older: Uint8Array, readonly other: { rowKey: Uint8Array, record: Uint8Array }, readonly eraRow: Uint8Array | undefined, readonly layoutRow: Uint8Array, readonly memberRow: { rowKey: Uint8Array, record: Uint8Array } }
  let known: Known
  beforeAll(async () => {
    // a row that the first honest node is a replica of, its record from before and after an overwrite
    const all = await everyRow(tables.objects)
    const foreign = all.find(({ rowKey }) => replicasOf(facts.layout, partitionOf(rowKey)).includes(honest[0] as PeerId) && !replicasOf(facts.layout, partitionOf(rowKey)).includes(peers.witness.peerId))
    if (foreign === undefined) throw new Error('the witness is a replica of everything')
    const rows = all.filter(({ rowKey }) => [honest[0] as PeerId, peers.witness.peerId].every((peer) => replicasOf(facts.layout, partitionOf(rowKey)).includes(peer)))
    const before = new Map(await Promise.all(rows.map(async (row) => [hexOf(row.rowKey), await recordOf(row)] as const)))
    const node = await real.via(1)
    for (let i = 0; i < rowCount; i++) await node.put(`row/${i}`, utf8(`content ${i}, again`))
    await until('it has all of them', 20_000, async () => (await Promise.all(rows.map(async (row) => ({ row, record: await recordOf(row) })))).filter(({ row, record }) => record !== undefined && !equals(record, before.get(hexOf(row.rowKey)) ?? record)).length >= 2)
    const changedRows = (await Promise.all(rows.map(async (row) => ({ row, record: await recordOf(row), older: before.get(hexOf(row.rowKey)) })))).filter(({ record, older }) => record !== undefined && older !== undefined && !equals(record, older))
    const [one, two] = changedRows as Array<{ row: RowBallot, record: Uint8Array, older: Uint8Array }>
    if (one === undefined || two === undefined) throw new Error('no row was found')
    const clear = await ask('witness', { kind: 'ballots', partition: clearPartition, after: undefined })
    const clearRows = clear.kind === 'ballots' ? clear.rows : []
    const clearRecord = async (table: TableNumber, { not }: { not?: Uint8Array } = {}): Promise<{ rowKey: Uint8Array, record: Uint8Array }> => {
      const row = clearRows.find((of) => of.table === table && (not === undefined || !equals(of.rowKey, not)))
      return row === undefined ? { rowKey: new Uint8Array(32), record: new Uint8Array(0) } : { rowKey: row.rowKey, record: await recordOf(row) as Uint8Array }
    }
    known = {
      foreign: { rowKey: foreign.rowKey, record: await recordOf(foreign) as Uint8Array },
      row: one.row, record: one.record, older: one.older, other: { rowKey: two.row.rowKey, record: two.record }, layoutRow: (await clearRecord(tables.layout)).record, memberRow: await clearRecord(tables.members, { not: clearRowKey(tables.members, keyOf(peers.witness.peerId)) }),
      eraRow: clearRows.some(({ table }) => table === tables.era) ? (await clearRecord(tables.era)).record : undefined,
    }
  }, 90_000)

  const objectRow = () => ({ table: tables.objects, rowKey: known.row.rowKey })
  const death = hash(utf8('a death that nobody died'))
  /** By what it is, and not by who brings it, who is a replica and may. */
  const judged = /^(?!late delivery comes|only members|not a replica)./
  type Act = () => Promise<unknown>
  const refusals: ReadonlyArray<readonly [name: string, act: Act, says: RegExp]> = [
    ['a promise for a ballot of its own', () => ask('witness', { kind: 'prepare', ...objectRow(), ballot: ballotOf(known.row.ballot.counter + 1n) }), /only members propose/],
    ['a promise for an absurd ballot', () => ask('witness', { kind: 'prepare', ...objectRow(), ballot: ballotOf(2n ** 64n - 1n) }), /only members propose/],
    ['a promise for a member\'s ballot', () => ask('storage', { kind: 'prepare', ...objectRow(), ballot: { counter: known.row.ballot.counter + 1n, proposer: keyOf(honest[1] as PeerId) } }), /only members propose/],
    ['a promise for a clear row', () => ask('witness', { kind: 'prepare', table: tables.era, rowKey: clearRowKey(tables.era, clusterRowKeys.era), ballot: ballotOf(9n) }), /only members propose/],
    ['that a chosen record be accepted again', () => ask('witness', { kind: 'accept', ...objectRow(), record: known.record }), /only members propose/],
    ['that noise be accepted', () => ask('storage', { kind: 'accept', ...objectRow(), record: noiseBytes(400, 1) }), /./],
    ['late delivery of a record with a bit flipped', () => ask('witness', { kind: 'handOver', ...objectRow(), record: flipped(known.record) }), judged],
    ['late delivery of a record under a higher ballot, which its tag does not fit', () => ask('witness', { kind: 'handOver', ...objectRow(), record: concat([ballotBytes({ ...known.row.ballot, counter: known.row.ballot.counter + 5n }), known.record.subarray(40)]) }), judged],
    ['late delivery of the content of before under the ballot of now', () => ask('witness', { kind: 'handOver', ...objectRow(), record: concat([known.record.subarray(0, 40), known.older.subarray(40)]) }), judged],
    ['late delivery of another row\'s record', () => ask('witness', { kind: 'handOver', ...objectRow(), record: known.other.record }), judged],
    ['late delivery of a record into another table', () => ask('witness', { kind: 'handOver', table: tables.buckets, rowKey: known.row.rowKey, record: known.record }), judged],
    ['late delivery of a record longer than any', () => ask('witness', { kind: 'handOver', ...objectRow(), record: noiseBytes(66 * 1024, 1) }), judged],
    ['late delivery from one that is no voter', () => ask('storage', { kind: 'handOver', ...objectRow(), record: known.older }), /late delivery comes from members and voters/],
    ['late delivery of a row, just as it was chosen, from a voter that is no replica of it', () => ask('witness', { kind: 'handOver', table: tables.objects, ...known.foreign }), /late delivery comes from members and voters/],
    ['deaths to be published', () => ask('witness', { kind: 'publish', proofs: [death, noiseBytes(32, 2)] }), /only members publish deaths/],
    ['late delivery of a death that its proof does not fit', () => ask('witness', { kind: 'handOver', table: tables.deaths, rowKey: known.row.rowKey, record: death }), judged],
    ['a death to be decided like a row', () => ask('witness', { kind: 'accept', table: tables.deaths, rowKey: known.row.rowKey, record: death }), /published, not decided/],
    ['names', () => ask('witness', { kind: 'list', table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), after: undefined, limit: 1000 }), /names are for members/],
    ['tombstones to be buried', () => ask('witness', { kind: 'bury', partition: partitionOf(known.row.rowKey), rows: [known.row] }), /only members bury/],
    ['late delivery of a layout that it signed itself', () => ask('witness', { kind: 'handOver', table: tables.layout, rowKey: clearRowKey(tables.layout, clusterRowKeys.layout), record: forgedClear(tables.layout, clusterRowKeys.layout, known.layoutRow, parseClearRow(known.layoutRow).value) }), judged],
    ['late delivery of a layout with a bit flipped', () => ask('witness', { kind: 'handOver', table: tables.layout, rowKey: clearRowKey(tables.layout, clusterRowKeys.layout), record: flipped(known.layoutRow) }), judged],
    ['late delivery of an era that lists it alone', () => ask('witness', { kind: 'handOver', table: tables.era, rowKey: clearRowKey(tables.era, clusterRowKeys.era), record: forgedClear(tables.era, clusterRowKeys.era, known.layoutRow, encodeEra(forgedEra())) }), judged],
    ['late delivery of a member\'s row under another key', () => ask('witness', { kind: 'handOver', table: tables.members, rowKey: clearRowKey(tables.members, keyOf(peers.witness.peerId)), record: known.memberRow.record }), judged],
    ['more digests than a question may ask', () => ask('witness', { kind: 'digest', partitions: Array.from({ length: messageLimits.maxDigests + 1 }, (_, i) => i) }), /./],
    ['a digest of a partition that there is not', () => ask('witness', { kind: 'digest', partitions: [60_000] }), /./],
    ['more deaths than a question may ask', () => ask('witness', { kind: 'deaths', versionIds: Array.from({ length: messageLimits.maxDeaths + 1 }, () => death) }), /./],
    ['anything under a layout that there is not', () => ask('witness', { kind: 'read', ...objectRow() }, { version: 2n ** 60n }), /could not be had/],
    ['the keys', () => peers.witness.requests.request(honest[0] as PeerId, ringId, [encodeRingQuestion({ kind: 'ask', era: 1 })], { timeoutMs: 10_000, maxAnswerBytes: 20_000 }), /keys are for members/],
    ['keys of its own to be kept', () => peers.storage.requests.request(honest[0] as PeerId, ringId, [encodeRingQuestion({ kind: 'offer', era: 2, box: noiseBytes(200, 3) })], { timeoutMs: 10_000, maxAnswerBytes: 20_000 }), /kept for members/],
    ['to be let in with another\'s certificate', () => peers.witness.greet(honest[0] as PeerId, { certificate: liars.storage.facts.certificate, era: liars.storage.facts.era }), /no/],
    ['to be believed an era that it signed itself', () => peers.witness.greet(honest[0] as PeerId, { certificate: liars.witness.facts.certificate, era: forgedEra() }), /no/],
  ]
  const forgedEra = () => eraAfter(facts.era, { signer: keyOfLiar('witness'), listed: [liars.witness.facts.certificate.member] })

  test.each(refusals)('are refused %s, and the row stays what it is', async (_, act, says) => {
    cases++
    await expect((async () => {
      const answer = await act()
      // that more was promised is a refusal too
      if ((answer as { kind?: string }).kind === 'refused') throw new Error('refused')
      return answer
    })()).rejects.toThrow(says)
    expect(await recordOf(known.row)).toEqual(known.record)
    expect(await recordOf({ table: tables.layout, rowKey: clearRowKey(tables.layout, clusterRowKeys.layout) })).toEqual(known.layoutRow)
    await greeted('witness', honest[0] as PeerId)
  }, 60_000)

  test('are not heard with a record from before an overwrite, be it delivered as often as they like', async () => {
    cases++
    for (let i = 0; i < 50; i++) {
      const answer = await ask('witness', { kind: 'handOver', ...objectRow(), record: known.older })
      expect(answer.kind, 'a higher ballot stands here').toBe('refused')
    }
    expect(await recordOf(known.row)).toEqual(known.record)
  }, 60_000)

  test('have no store forgotten, by saying that it had come further than it has', async () => {
    cases++
    const greeting = await peers.witness.greet(honest[0] as PeerId, { certificate: liars.witness.facts.certificate, era: liars.witness.facts.era, store: { id: storeOf('witness'), position: 2n } })
    await greeted('witness', honest[0] as PeerId, { yours: { id: greeting.store.id, position: 2n ** 60n } })
    await expectAlive()
    expect((await status(0)).rows.lostPartitions).toBe(0)
  }, 60_000)

  test('have no layout followed that they claim to go by', async () => {
    cases++
    await greeted('storage', honest[0] as PeerId, { layoutVersion: 2n ** 62n })
    await expectAlive()
  }, 60_000)

  test('bring down nobody with noise, of any length and to any protocol', async () => {
    const protocols = [tableProtocol, ringId, healthProtocol, fetchProtocol, '/dfs/store/1.0.0', '/dfs/join/1.0.0', '/dfs/hello/1.0.0']
    for (const [i, protocol] of protocols.entries()) {
      cases++
      for (const size of [0, 1, 33, 2_000]) {
        await peers.storage.requests.request(honest[0] as PeerId, protocol, [noiseBytes(size, i + size)], { timeoutMs: 10_000, maxAnswerBytes: 1024 ** 2 }).catch(() => {}) // refused, as a rule
      }
      await peers.storage.firstAnswer(honest[0] as PeerId, protocol, noiseBytes(5_000, i)).catch(() => {})
    }
    await expectAlive()
  }, 120_000)

  test('hold up nobody with a flood of questions: users are served meanwhile, and memory stays bounded', async () => {
    cases += 2
    let isOver = false
    let answers = 0
    const partitions = Array.from({ length: messageLimits.maxDigests }, (_, i) => i)
    const floods = (['witness', 'storage'] as const).flatMap((role) => Array.from({ length: 100 }, async () => {
      while (!isOver) await ask(role, { kind: 'digest', partitions }).then(() => { answers++ }, () => {})
    }))
    try {
      await until('the flood has risen', 20_000, async () => answers > 500)
      const node = await real.via(0)
      for (let i = 0; i < 5; i++) {
        await node.put(`flood/${i}`, utf8(`through it ${i}`))
        expect(Buffer.from(await node.get(`flood/${i}`)).toString()).toBe(`through it ${i}`)
      }
    } finally { isOver = true }
    await Promise.all(floods)
    await expectAlive()
  }, 120_000)
})

describe('a witness that lies about rows, over real sockets', () => {
  /** What it says to each question; undefined: nothing. Bytes: as they are, in the place of an answer. */
  type Lie = (request: TableRequest) => TableAnswer | Uint8Array | undefined
  const absurd: Ballot = { counter: 2n ** 63n, proposer: new Uint8Array(32).fill(9) }
  const replayed = new Map<string, Uint8Array>()
  const isOfRow = (request: TableRequest): request is TableRequest & { rowKey: Uint8Array } => 'rowKey' in request
  const honestly = (request: TableRequest): TableAnswer => {
    switch (request.kind) {
      case 'prepare': return { kind: 'promised', accepted: undefined }
      case 'accept': case 'handOver': return { kind: 'accepted' }
      case 'read': return { kind: 'value', promised: undefined, accepted: undefined }
      case 'list': return { kind: 'page', entries: [], truncated: false, lost: [] }
      case 'digest': return { kind: 'digests', digests: request.partitions.map(() => ({ count: 0, digest: new Uint8Array(32) })) }
      case 'ballots': return { kind: 'ballots', rows: [], truncated: false }
      case 'progress': return { kind: 'progress', remaining: 0, lost: 0, away: [] }
      case 'bury': return { kind: 'buried', buried: request.rows.map(() => false) }
      case 'publish': return { kind: 'published', published: request.proofs.map(() => true) }
      case 'deaths': return { kind: 'deaths', proofs: request.versionIds.map(() => undefined) }
      case 'clock': return { kind: 'clock', wallMs: 0 }
    }
  }
  /** That answer, but for the questions of these kinds. */
  const but = (of: Partial<Record<TableRequest['kind'], Lie>>): Lie => (request) => (of[request.kind] ?? honestly)(request)
  const firstRows = (): RowBallot[] => Array.from({ length: 512 }, (_, i) => ({ table: tables.objects, rowKey: hash(utf8(`made up ${i}`)), ballot: absurd }))
  const lies: ReadonlyArray<readonly [string, Lie]> = [
    ['to have accepted everything, and keeps nothing: promises broken', but({})],
    ['that it has noise in the place of a record', but({ prepare: () => ({ kind: 'promised', accepted: noiseBytes(300, 5) }), read: () => ({ kind: 'value', promised: undefined, accepted: noiseBytes(300, 6) }) })],
    ['what it was given first, for ever', (request) => {
      if (!isOfRow(request)) return honestly(request)
      const name = hexOf(request.rowKey)
      if ('record' in request && !replayed.has(name)) replayed.set(name, request.record)
      return request.kind === 'read' ? { kind: 'value', promised: undefined, accepted: replayed.get(name) } : request.kind === 'prepare' ? { kind: 'promised', accepted: replayed.get(name) } : { kind: 'accepted' }
    }],
    ['another row\'s record', (request) => {
      const other = [...replayed].find(([name]) => isOfRow(request) && name !== hexOf(request.rowKey))?.[1]
      return request.kind === 'read' ? { kind: 'value', promised: absurd, accepted: other } : request.kind === 'prepare' ? { kind: 'promised', accepted: other } : honestly(request)
    }],
    ['to have promised more than anybody will ever ask', but({ prepare: () => ({ kind: 'refused', promised: absurd }), accept: () => ({ kind: 'refused', promised: absurd }), handOver: () => ({ kind: 'refused', promised: absurd }) })],
    ['that an absurd floor stands', but({ prepare: () => ({ kind: 'promised', accepted: undefined, floor: absurd }), read: () => ({ kind: 'value', promised: undefined, accepted: undefined, floor: absurd }) })],
    ['that all is lost', () => ({ kind: 'lost' })],
    ['to go by a layout that there is not', () => ({ kind: 'staleLayout', layout: encodeLayout({ ...facts.layout, version: facts.layout.version + 7n }) })],
    ['to go by a layout that it declared itself', () => ({ kind: 'staleLayout', layout: encodeLayout(declaredLayout()) })],
    ['noise in the place of a layout', () => ({ kind: 'staleLayout', layout: noiseBytes(2000, 8) })],
    ['digests that nobody else has', but({ digest: (request) => ({ kind: 'digests', digests: 'partitions' in request ? request.partitions.map((partition) => ({ count: 1_000_000, digest: hash(Uint8Array.of(partition & 255)), floor: absurd })) : [] }) })],
    ['rows without end', but({ digest: (request) => ({ kind: 'digests', digests: 'partitions' in request ? request.partitions.map(() => ({ count: 3, digest: new Uint8Array(32).fill(3) })) : [] }), ballots: () => ({ kind: 'ballots', rows: firstRows(), truncated: true }) })],
    ['that there are more rows, and names none', but({ digest: (request) => ({ kind: 'digests', digests: 'partitions' in request ? request.partitions.map(() => ({ count: 3, digest: new Uint8Array(32).fill(3) })) : [] }), ballots: () => ({ kind: 'ballots', rows: [], truncated: true }) })],
    ['fewer digests than it was asked for', but({ digest: () => ({ kind: 'digests', digests: [] }) })],
    ['that every version is dead', but({ deaths: (request) => ({ kind: 'deaths', proofs: 'versionIds' in request ? request.versionIds.map((id) => hash(id)) : [] }) })],
    ['that a thousand years have passed', but({ clock: () => ({ kind: 'clock', wallMs: 4e13 }) })],
    ['to miss everybody, for ever', but({ progress: () => ({ kind: 'progress', remaining: 0xffff, lost: 4096, away: facts.layout.members.map(({ peerId }) => ({ peer: keyOf(peerId), seconds: 0xffffffff })) }) })],
    ['an answer to another question', but({ read: () => ({ kind: 'accepted' }), prepare: () => ({ kind: 'clock', wallMs: 1 }), accept: () => ({ kind: 'value', promised: undefined, accepted: undefined }) })],
    ['noise', () => noiseBytes(500, 11)],
    ['nothing at all in an answer', () => new Uint8Array(0)],
    ['more than an answer may be', () => new Uint8Array(messageLimits.maxAnswerBytes + 1)],
    ['nothing, and lets them wait', () => undefined],
  ]
  const declaredLayout = (): Layout => declaredBy(keyOfLiar('witness'), facts.clusterId, recovering(facts.layout, facts.layout.members.filter(({ peerId }) => peerId === peers.witness.peerId)))
  const telling: { lie: Lie, told: number } = { lie: honestly, told: 0 }

  beforeAll(async () => {
    await answering(peers.witness, tableProtocol, (body, id) => {
      const said = telling.lie(decodeRequest(body))
      telling.told++
      return said === undefined ? undefined : [frame(id, 'answer', said instanceof Uint8Array ? said : encodeAnswer(said))]
    })
    await Promise.all(honest.map(async (peer) => greeted('witness', peer)))
  })

  afterAll(() => { telling.lie = honestly })

  test.each([...lies.entries()].map(([i, [name, lie]]) => [name, i, lie] as const))('and says %s: what is put, read, listed and removed is right through every node', async (name, i, lie) => {
    cases++
    Object.assign(telling, { lie, told: 0 })
    const nodes: NodeObjects[] = await Promise.all([0, 1, 2].map(async (index) => real.via(index)))
    const [first, second, third] = nodes as [NodeObjects, NodeObjects, NodeObjects]
    const keys = Array.from({ length: 6 }, (_, j) => `lie-${i}/${j}`)
    for (const [j, key] of keys.entries()) {
      await first.put(key, utf8(`${name} ${j}`))
      await second.put(key, utf8(`${name} ${j}, again`))
      expect(Buffer.from(await third.get(key)).toString()).toBe(`${name} ${j}, again`)
    }
    expect(await second.remove(keys[0] as string)).toBe(true)
    await expect(third.get(keys[0] as string)).rejects.toMatchObject({ status: 404 })
    expect((await third.keys({ prefix: `lie-${i}/` })).toSorted()).toEqual(keys.slice(1).toSorted())
    expect(telling.told).toBeGreaterThan(0)
    for (const node of nodes) node.client.close()
    await expectAlive()
  }, 150_000)
})

describe('a storage node that lies about shards, over real sockets', () => {
  type Lie = (shard: Shard, all: readonly Shard[]) => Uint8Array | undefined
  const told = (shard: Omit<Shard, 'list'>, bits = 1 << shard.index): Uint8Array => concat([Uint8Array.of(1), new ByteWriter().u32(bits).finish(), ...encodeShard(shard)])
  const consistent = (shard: Shard, bytes: Uint8Array): Omit<Shard, 'list'> => ({ ...shard, bytes, hashes: shard.hashes.with(shard.index, hash(bytes)) })
  const lies: ReadonlyArray<readonly [string, Lie]> = [
    ['with a bit flipped', (shard) => flipped(told(shard))],
    ['cut short', (shard) => told(shard).subarray(0, -1)],
    ['with more behind it', (shard) => concat([told(shard), Uint8Array.of(0)])],
    ['of noise, under a list made up for it', (shard) => told(consistent(shard, noiseBytes(shard.bytes.byteLength, 21)))],
    ['of another block', (shard, all) => { const other = all.find(({ cid }) => cid !== shard.cid); return other === undefined ? undefined : told(other) }],
    ['of another block, that says it is of this', (shard, all) => { const other = all.find(({ cid }) => cid !== shard.cid); return other === undefined ? undefined : told({ ...other, cid: shard.cid }) }],
    ['that says to be another than it is', (shard) => told(consistent({ ...shard, index: (shard.index + 1) % 3 }, shard.bytes))],
    ['of a code that nobody asked for', (shard) => told({ ...shard, k: 1, m: 2, blockLength: shard.bytes.byteLength })],
    ['of a block of four gigabytes', (shard) => told({ ...shard, blockLength: 0xffffffff })],
    ['and that it has all others too, and has none', (shard) => told(consistent(shard, noiseBytes(shard.bytes.byteLength, 22)), 0xffffffff)],
    ['that is nothing', () => new Uint8Array(0)],
    ['that is a megabyte of noise', () => noiseBytes(1024 ** 2, 23)],
  ]
  const telling: { lie: Lie, count: number } = { lie: () => undefined, count: 0 }

  beforeAll(async () => {
    await answering(peers.storage, fetchProtocol, (body, id) => {
      const shard = body.byteLength < 35 ? undefined : genuine.get(cidOfDigest(body.subarray(0, 32)))
      const lie = shard === undefined ? undefined : telling.lie(shard, [...genuine.values()])
      if (lie !== undefined) telling.count++
      return [frame(id, 'answer', lie ?? Uint8Array.of(0))]
    })
  })

  test.each(lies)('and gives one %s: the reader has what was put', async (_, lie) => {
    cases++
    Object.assign(telling, { lie, count: 0 })
    const { client } = await real.via(reader)
    const node = objectsOf(client, 'shards')
    await until('the liar was asked', 60_000, async () => {
      await client.json('DELETE', '/v1/cache')
      expect(await node.digest('coded')).toBe(digestOfBytes(noiseBytes(4 * 1024 ** 2, 1)))
      return telling.count > 0
    })
    client.close()
    for (const index of [0, 1, 2]) expect(await readdir(join(real.node(index).data, 'blocks/corrupt'))).toEqual([])
    await expectAlive()
  }, 90_000)
})

describe('a node without keys that floods what all hear, over real sockets', () => {
  const members = (): Promise<Network> => networkOf(liars.storage)
  const made = (i: number): Cid => cidOf(utf8(`no block ${i}`))

  test('with announcements of what there is not, and in the name of what there is: reads go on, and memory stays bounded', async () => {
    cases += 2
    await peers.storage[Symbol.asyncDispose]()
    await using network = await members()
    await until('it gossips', 20_000, () => network.introspect().gossip.length > 0)
    const [row] = await everyRow(tables.objects)
    for (let i = 0; i < 20_000; i++) {
      network.gossip.announce({ rowKey: i % 2 === 0 ? row?.rowKey ?? hash(utf8('none')) : hash(utf8(String(i))), versionId: hash(utf8(`version ${i}`)), root: made(i), blocks: Array.from({ length: 8 }, (_, j) => made(i + j)) })
      if (i % 64 === 0) await new Promise((resolve) => { setImmediate(resolve) })
    }
    await readsGoOn()
  }, 120_000)

  test('with records in Kademlia of being a provider of everything', async ({ task }) => {
    cases++
    await using network = await members()
    await until('it is known', 20_000, () => network.reachable().length === 3)
    for (let i = 0; i < 500; i++) network.providers.provide(made(i))
    await readsGoOn()
    tried(task, { what: 'lies of nodes without keys, and floods', times: cases, lost: broken })
    expect(cases).toBeGreaterThanOrEqual(60)
  }, 120_000)

  async function readsGoOn (): Promise<void> {
    const node = await real.via(reader)
    await node.client.json('DELETE', '/v1/cache')
    for (let i = 0; i < rowCount; i++) expect(Buffer.from(await node.get(`row/${i}`)).toString()).toBe(`content ${i}, again`)
    expect(await objectsOf(node.client, 'shards').digest('coded')).toBe(digestOfBytes(noiseBytes(4 * 1024 ** 2, 1)))
    node.client.close()
    await expectAlive()
  }
})

async function networkOf ({ keyring, facts: { certificate, era } }: Member): Promise<Network> {
  const hello = helloProtocol({ self: () => introductionOf({ certificate, era }), verify: async () => ({ isValid: true }), greeted: ({ peer }) => { network.admit(peer) } })
  const network: Network = await startNetwork({
    seed: keyring.nodeSeed, listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [0, 1, 2].flatMap((i) => real.node(i).ready?.addresses ?? []), mdns: false, clock: systemClock, random: systemRandom,
    greet: async (peer, wait) => { await hello.greet(peer, wait) }, isMember: () => true, log: { debug: () => {}, info: () => {}, warn: () => {} },
  })
  await hello.register(network.requests)
  await network.listen()
  return network
}
