import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { InvalidInput, Refused, Unavailable } from '../../../src/base/errors.ts'
import { keyOf, type PeerId } from '../../../src/base/peer-id.ts'
import { changing, closing, declaredBy, type Layout, openLayout, recovering, settled } from '../../../src/cluster/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { forgetLost, type ForgetParts } from '../../../src/node/layout/forget-lost.ts'
import { GivenUp } from '../../../src/node/work/given-up.ts'
import { votersIn } from '../../../src/node/membership/membership.ts'
import { ClusterState } from '../../../src/node/state.ts'
import type { LossReport } from '../../../src/node.ts'
import { defaultBucketOptions, encodeBucketRow } from '../../../src/objects/buckets/bucket-row.ts'
import { clusterScope } from '../../../src/objects/describe.ts'
import { clearPartition } from '../../../src/tables/clear-rows.ts'
import { tables } from '../../../src/tables/index.ts'
import { memoryListingIndex } from '../../../src/tables/memory-listing-index.ts'
import type { TableQuestion, VoterProgress } from '../../../src/tables/messages.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'

const cluster = paperCluster()
const five = ['founder', 'bob', 'carol', 'dave', 'eve']
const layoutOf = (names: readonly string[]): Layout => settled(closing(openLayout(layoutMember('founder'))), names.map((name) => layoutMember(name)))

/** The founder of a cluster, of whom these answer, and what they say whom they miss (default: whoever does not answer). */
function founder ({ up = ['bob'], layout = layoutOf(five), misses, answers = [], belonging = five, seed = 'authority', buckets = [], forgotten = {} }: { /** Partitions that one has lost. */ forgotten?: Readonly<Record<string, readonly number[]>>, up?: readonly string[], layout?: Layout, misses?: readonly string[], answers?: readonly string[], belonging?: readonly string[], seed?: 'authority' | 'none', buckets?: ReadonlyArray<{ copies: number, shards?: string }> } = {}): { forget: (lost: readonly string[]) => Promise<LossReport>, state: ClusterState } {
  const members = five.map((name) => cluster.member(name))
  const era = cluster.era(belonging === five ? 1 : 2, members.filter((_, i) => belonging.includes(five[i] ?? '')))
  const state = new ClusterState(memoryFiles(), {
    clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(cluster.member('founder')), era, layout,
    members: members.map((member, i) => ({ certificate: certificateOf(member), capacityBytes: 1000, addresses: [], storeId: layoutMember(five[i] ?? '').storeId })),
  })
  const away = (misses ?? five.filter((name) => name !== 'founder' && !up.includes(name))).map((name) => ({ peer: keyOf(peerNamed(name)), seconds: 100 }))
  const progress: VoterProgress = { remaining: 0, lost: 0, away }
  const index = memoryListingIndex()
  const known = index.update(buckets.map((bucket, i) => {
    const summary = encodeBucketRow({ ...defaultBucketOptions, ...bucket, name: `bucket-${i}`, id: hexOf(new Uint8Array(16).fill(i)), state: 'active', created: '2026-01-01T00:00:00.000Z' })
    return { table: tables.buckets, rowKey: new Uint8Array(32).fill(i), ballot: { counter: 1n, proposer: keyOf(peerNamed('founder')) }, listed: { name: utf8(`bucket-${i}`), scope: clusterScope, summary } }
  }))
  const parts = {
    self: peerNamed('founder'), state, keyring: { authoritySeed: seed === 'none' ? undefined : seedNamed('cluster authority'), nodeSeed: seedNamed('founder') }, voters: votersIn(state), reachable: () => new Set(up.map(peerNamed)), clock: systemClock, index,
    ask: async (peer: PeerId, question: TableQuestion) => {
      const lost = Object.entries(forgotten).find(([name]) => peerNamed(name) === peer)?.[1] ?? []
      return question.kind === 'digest' ? { kind: 'digests', digests: question.partitions.map((partition) => lost.includes(partition) || (partition === clearPartition && lost.length > 0) ? undefined : { count: 0, digest: new Uint8Array(32) }) } : { kind: 'progress', ...progress, lost: lost.length }
    }, storeOf: () => undefined, answers: async (peer: PeerId) => answers.map(peerNamed).includes(peer), loud: () => {},
  } as unknown as ForgetParts
  return { forget: async (lost) => { await known; return forgetLost(parts, { lost: lost.map(peerNamed), isDryRun: true }) }, state }
}

describe('to give up a lost majority', () => {
  test('is said beforehand what it means, and changes nothing', async () => {
    const { forget, state } = founder()
    expect(await forget(['carol', 'dave', 'eve'])).toMatchObject({ isDone: false, rows: { whole: 0, stale: 4096, gone: 0 }, objects: { known: 0, possiblyStale: 0 }, survivors: ['founder', 'bob'].map(peerNamed).toSorted() })
    expect(state.layout).toEqual(layoutOf(five))
  })

  test('tells rows and blocks of which nobody is left from those that may be stale', async () => {
    // nine voters, five of whom decide about a row: of some partitions all five are lost
    const nine = [...five, 'frank', 'grace', 'henry', 'ivan']
    const { rows, blocks } = await founder({ layout: layoutOf(nine), misses: nine.slice(2) }).forget(nine.slice(2))
    expect(rows.gone).toBeGreaterThan(0)
    expect(rows.stale).toBeGreaterThan(0)
    expect(rows.whole + rows.stale + rows.gone).toBe(4096)
    expect([blocks.gone > 0, blocks.fewer > 0, blocks.whole + blocks.fewer + blocks.gone]).toEqual([true, true, 4096])
  })

  test('says for each redundancy of the buckets known here of how much enough is left to read it (blocks were judged by their first three holders alone)', async () => {
    const six = [...five, 'frank']
    const lost = ['carol', 'dave', 'eve', 'frank']
    const report = async (...of: Array<{ copies: number, shards?: string }>): Promise<LossReport> => founder({ layout: layoutOf(six), misses: lost, buckets: of }).forget(lost)
    expect((await report()).forms).toEqual([])
    const { blocks, forms } = await report({ copies: 3 }, { copies: 3, shards: '4+2' }, { copies: 1 }, { copies: 3, shards: '2+2' }, { copies: 3 })
    expect(forms.map(({ redundancy }) => redundancy).toSorted()).toEqual(['rf:1', 'rf:3', 'rs:2+2', 'rs:4+2'])
    const readable = Object.fromEntries(forms.map(({ redundancy, readable }) => [redundancy, readable]))
    expect(readable['rf:3']).toBe(blocks.whole + blocks.fewer)
    // two of six are left
    expect(readable['rs:4+2']).toBe(0)
    expect(readable['rf:1']).toBeLessThan(readable['rf:3'] ?? 0)
    expect(readable['rs:2+2']).toBeGreaterThan(0)
    expect(readable['rs:2+2']).toBeLessThan(4096)
  })

  test('is refused while a majority answers, and for one that answers: here, to a dial, or another survivor', async () => {
    await expect(founder({ up: ['bob', 'carol', 'dave'] }).forget(['eve'])).rejects.toThrow(/a majority of everything answers.*dfs node remove/)
    await expect(founder({ up: ['bob', 'carol'] }).forget(['carol', 'dave', 'eve'])).rejects.toThrow(Refused)
    await expect(founder({ answers: ['eve'] }).forget(['carol', 'dave', 'eve'])).rejects.toThrow(new RegExp(`${peerNamed('eve')} answers: it is not lost`))
    await expect(founder({ misses: ['carol', 'dave'] }).forget(['carol', 'dave', 'eve'])).rejects.toThrow(/answers .*: it is not lost/)
  })

  test('is allowed where one of those that answer has lost what makes a majority: it may have it back from nobody', async () => {
    const three = { layout: layoutOf(five.slice(0, 3)), up: ['carol'], misses: ['bob'] }
    await expect(founder(three).forget(['bob'])).rejects.toThrow(/a majority of everything answers/)
    for (const name of ['founder', 'carol']) expect((await founder({ ...three, forgotten: { [name]: [3, 77] } }).forget(['bob'])).rows).toEqual({ whole: 4094, stale: 2, gone: 0 })
    expect((await founder({ ...three, forgotten: { carol: [3], founder: [3] } }).forget(['bob'])).rows).toEqual({ whole: 4095, stale: 0, gone: 1 })
  })

  test('takes the names of all that are gone, of no others, and of nobody who is none', async () => {
    await expect(founder().forget(['carol', 'dave'])).rejects.toThrow(Unavailable)
    await expect(founder().forget(['carol', 'dave'])).rejects.toThrow(new RegExp(`${peerNamed('eve')} does not answer and is not named`))
    for (const lost of [[], ['founder', 'carol'], ['stranger']]) await expect(founder().forget(lost)).rejects.toThrow(InvalidInput)
    await expect(founder().forget([])).rejects.toThrow(new RegExp(`these do not answer now: .*${peerNamed('eve')}`))
  })

  test('goes on, repeated, when it was cut off after the era that put them out: one never had a place in the layout', async () => {
    const belonging = ['founder', 'bob']
    for (const layout of [layoutOf(belonging), declaredBy(keyNamed('cluster authority'), cluster.clusterId, recovering(layoutOf(five.slice(0, 4)), belonging.map((name) => layoutMember(name))))]) {
      expect((await founder({ layout, belonging }).forget(['carol', 'dave', 'eve'])).survivors).toEqual(belonging.map(peerNamed).toSorted())
    }
  })

  test('takes the authority\'s key or an admin\'s, and a layout in which something is held', async () => {
    await expect(founder({ seed: 'none' }).forget(['carol', 'dave', 'eve'])).rejects.toThrow(/may neither invite nor remove/)
    await expect(founder({ layout: openLayout(layoutMember('founder')) }).forget(['carol'])).rejects.toThrow(/nothing is held/)
  })

  test('also counts who was to follow, while the layout changes', async () => {
    const layout = changing(layoutOf(five.slice(0, 3)), five.map((name) => layoutMember(name)))
    await expect(founder({ layout }).forget(['carol', 'eve'])).rejects.toThrow(/does not answer and is not named/)
    expect((await founder({ layout }).forget(['carol', 'dave', 'eve'])).rows.stale).toBe(4096)
  })
})

test('whom a node has given up it knows over a restart; a damaged file costs a second look', async () => {
  const files = memoryFiles()
  const layout = layoutOf(five)
  const given = await GivenUp.open(files)
  await given.note(layout)
  expect([given.peers, given.isUnverified]).toEqual([[], false])
  await given.note(declaredBy(keyNamed('cluster authority'), cluster.clusterId, recovering(layout, [layoutMember('founder')])))
  const again = await GivenUp.open(files)
  expect([again.has(peerNamed('eve')), again.has(peerNamed('founder')), again.isUnverified]).toEqual([true, false, true])
  await again.verified()
  expect((await GivenUp.open(files)).isUnverified).toBe(false)
  expect((await GivenUp.open(files)).has(peerNamed('eve'))).toBe(true)
  const bytes = await files.read('given-up')
  await files.writeDurable('given-up', [bytes.with(4, (bytes[4] ?? 0) ^ 1)])
  const damaged = await GivenUp.open(files)
  expect([damaged.peers, damaged.isUnverified]).toEqual([[], true])
})
