import { expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { cidOf } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Paces } from '../../src/base/pace.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { listOf, type Shard } from '../../src/blockstore/shard.ts'
import { PeerUnreachable } from '../../src/network/index.ts'
import type { WantedShard } from '../../src/replication/index.ts'
import { readPatience } from '../../src/replication/reader.ts'
import { ShardSearch } from '../../src/replication/shard-search.ts'
import { Gathering, shardsOf } from '../../src/replication/shards.ts'
import { peerNamed } from '../support/cluster-identities.ts'

const redundancy = { k: 4, m: 2 }
const block = utf8('a block that is kept in shards')
const cid = cidOf(block)
const holders = ['ann', 'bob', 'carol', 'dave', 'erin', 'frank'].map(peerNamed)
const [dead, liar] = holders

test.each([['each for its own', redundancy, 2], ['all for any', undefined, 2], ['each for its own, and slower', redundancy, 2 * readPatience.firstMs]] as const)('one that makes up lists of hashes, a new one as often as one is found out, keeps no block from being read of which the others have enough shards (asked %s)', async (_, code, slowMs) => {
  const right = await shardsOf(cid, block, redundancy)
  let made = 0
  /** As many shards as there are of another block, and said to be of this one. */
  const madeUp = async (): Promise<readonly Shard[]> => (await shardsOf(cid, utf8(`made up ${made++}`.padEnd(block.byteLength)), redundancy)).map((shard) => ({ ...shard, list: listOf(shard) }))
  let lie = await madeUp()
  const fetchShard = async (peer: PeerId, { index, not }: WantedShard): Promise<{ shard: Shard, others: number[] } | 'not here'> => {
    const own = holders.indexOf(peer)
    if (peer === dead) throw new PeerUnreachable(peer, 'not connected')
    // it is the quickest, too
    if (peer !== liar) await systemClock.sleep(slowMs)
    if (peer !== liar) return not.includes((right[own] as Shard).list) ? 'not here' : { shard: right[own] as Shard, others: [own] }
    if (not.includes((lie[0] as Shard).list)) lie = await madeUp()
    return { shard: lie[index ?? own] as Shard, others: [0, 1, 2, 3, 4, 5] }
  }
  const search = new ShardSearch({
    cid, redundancy: code, gathering: new Gathering(cid), questions: holders.map((peer, index) => ({ peer, index: code === undefined ? undefined : index })),
    paces: new Paces(systemClock, readPatience), signal: new AbortController().signal, parts: { peers: { fetchShard }, clock: systemClock, warn: () => {} },
  })
  expect(await search.run()).toEqual(block)
})

test.each([['each for its own', redundancy], ['all for any', undefined]] as const)('one that gives shards under a made-up list, and one too few to be found out, keeps none of the others from being heard (the shards that it had given were asked of nobody else; asked %s)', async (_, code) => {
  const right = await shardsOf(cid, block, redundancy)
  const lie = (await shardsOf(cid, utf8('made up'.padEnd(block.byteLength)), redundancy)).map((shard) => ({ ...shard, list: listOf(shard) }))
  const given = new Set<number>()
  const fetchShard = async (peer: PeerId, { index }: WantedShard): Promise<{ shard: Shard, others: number[] } | 'not here'> => {
    const own = holders.indexOf(peer)
    if (peer === dead) throw new PeerUnreachable(peer, 'not connected')
    if (peer !== liar) await systemClock.sleep(5)
    if (peer !== liar) return { shard: right[own] as Shard, others: [own] }
    const some = [2, 3, 4].find((i) => !given.has(i))
    if (some === undefined || (index !== undefined && given.has(index))) return 'not here'
    given.add(some)
    return { shard: lie[some] as Shard, others: [2, 3, 4] }
  }
  const search = new ShardSearch({
    cid, redundancy: code, gathering: new Gathering(cid), questions: [liar, ...holders.filter((peer) => peer !== liar)].map((peer) => ({ peer: peer as PeerId, index: code === undefined ? undefined : holders.indexOf(peer as PeerId) })),
    paces: new Paces(systemClock, readPatience), signal: new AbortController().signal, parts: { peers: { fetchShard }, clock: systemClock, warn: () => {} },
  })
  expect(await search.run()).toEqual(block)
})

test('where the others have too few, it ends, whatever is made up', async () => {
  let [asked, made] = [0, 0]
  const fetchShard = async (peer: PeerId, { index }: WantedShard): Promise<{ shard: Shard, others: number[] } | 'not here'> => {
    if (peer !== liar) return 'not here'
    if (++asked > 1_000) throw new Error('asked without end')
    // some later than others, which are found out meanwhile
    await systemClock.sleep(asked % 3)
    const lie = (await shardsOf(cid, utf8(`made up ${Math.floor(made++ / redundancy.k)}`.padEnd(block.byteLength)), redundancy)).map((shard) => ({ ...shard, list: listOf(shard) }))
    return { shard: lie[index ?? 0] as Shard, others: [0, 1, 2, 3, 4, 5] }
  }
  const search = new ShardSearch({
    cid, redundancy, gathering: new Gathering(cid), questions: holders.map((peer, index) => ({ peer, index })),
    paces: new Paces(systemClock, readPatience), signal: new AbortController().signal, parts: { peers: { fetchShard }, clock: systemClock, warn: () => {} },
  })
  expect(await search.run()).toBeUndefined()
  expect(asked).toBeLessThan(100)
})
