import { empty, fromHex, partitionOf, utf8 } from '../../src/base/bytes.ts'
import { digestOf } from '../../src/base/cid.ts'
import { Conflict, NotFound, Refused, StoreFull, Unavailable } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { referencesTo } from '../../src/blockstore/references.ts'
import { blockHoldersOf, type Layout } from '../../src/cluster/index.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import type { Bucket, BucketOptions, Objects } from '../../src/objects/index.ts'
import { tables } from '../../src/tables/index.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { untilJoined } from './layout-run.ts'
import type { PutUnderWay } from './ledger.ts'
import { blockOfLetter } from './letters.ts'
import { type ObjectOperation, objectViolations, shortOf } from './object-history.ts'
import { layoutSimulation, type TableMessage, World, type WorldVariant, type WorldWeather } from './world.ts'

/**
 * What goes wrong without a rule that tables, objects, blocks and layouts keep for each other, told step by step: it takes more to come together than bad weather brings. What is held
 * back never arrives unless it is released. In the end whoever is not gone is there, and every key must be read, as what a register could say of it.
 */
export const wholeHistories = {
  'a block is given up before others have promised it': {
    names: ['ann', 'bob', 'carol', 'dave'],
    bucket: { copies: 2 },
    async told ({ world, placesOf, put, pause, ends, before, together }) {
      const [full = '', away = '', one = '', other = ''] = placesOf('A')
      // two that are no holders have it beside one that is: one of the two may go, as long as the other stays
      world.disk(full).files.fail('write', { times: Infinity, error: 'ENOSPC' })
      await put(one, 'k', 'A')
      world.kill(away)
      await pause(1_000)
      await put(other, 'l', 'A')
      await world.start(away)
      // both have found out that there are enough others, before either gives up
      before.release = together(2)
      await pause(90_000)
      before.release = undefined
      await ends([away])
    },
  },

  'a block is given up by a plan that is older than a reference': {
    names: ['ann', 'bob', 'carol', 'dave'],
    bucket: { copies: 2 },
    async told ({ world, placesOf, put, pause, keep, until, before }) {
      const [away = '', , third = ''] = placesOf('A')
      // the third has a copy until the first is back, and then may give it up
      world.kill(away)
      await pause(1_000)
      await put(third, 'k', 'A')
      let isPlanned = false
      let isOlder = false
      before.release = async () => { isPlanned = true; await until('a reference has come', () => isOlder) }
      await world.start(away)
      await until('the first has it', async () => await world.process(away)?.blocks?.stores.blocks.has(blockOfLetter('A').cid) === true)
      world.process(third)?.blocks?.repairing.suspect('it may have more than it should')
      await until('it is to be given up', () => isPlanned)
      // meanwhile one comes that wants all three
      await keep({ copies: 3 })
      await put(third, 'l', 'A')
      isOlder = true
      await pause(1_000)
      before.release = undefined
      await pause(30_000)
    },
  },

  'a block is not verified': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, put, pause }) {
      await put('bob', 'k', 'A')
      await pause(1_000)
      const { files } = world.disk('ann')
      for (const path of files.paths) if (path.startsWith('blocks/large/')) files.flip(path, 100)
    },
  },

  'two with the same shard count as two': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    bucket: { shards: '2+2' },
    async told ({ placesOf, put, ends, before, until }) {
      const [late = '', right = ''] = placesOf('A')
      const holders = placesOf('A').slice(0, 4)
      // the first shard is stored by its substitute, and then by its holder too; the second by its holder; for the others nobody has room
      let isThere = false
      before.storeShard = async (name, index) => {
        if (index !== 1 && holders.includes(name)) await until('a substitute has the first', () => isThere)
        else if (index === 0) isThere = true
        if (index > 1) throw new StoreFull('the disk is full')
      }
      await put(late, 'k', 'A')
      await ends([right])
      before.storeShard = undefined
    },
  },

  'a condemned block is had, keeps its mark, and goes by the mark alone': {
    names: ['ann', 'bob', 'carol'],
    async told ({ put, remove, pause, before, until }) {
      await put('ann', 'k', 'A')
      await remove('ann', 'k')
      let [waiting, isNeeded] = [0, false]
      // nobody needs it, all have found out; then somebody does
      before.collect = async () => { waiting++; await until('it is needed again', () => isNeeded) }
      await until('all are about to take it away', () => waiting >= 3)
      await put('bob', 'l', 'A')
      isNeeded = true
      await pause(2_000)
      before.collect = undefined
    },
  },

  'an eviction leaves a partition without a majority': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    async told ({ world, names, pause, until }) {
      const dead = names.slice(-3)
      world.onLayout = ({ state }, by) => { if (state === 'changing') world.violations.push(`${by} begins a change that cannot be finished`) }
      for (const name of dead) world.kill(name)
      await until('somebody says why nobody is left out', () => world.violations.length > 0 || names.some((name) => world.isAlive(name) && world.process(name)?.keeper.trouble?.includes('would have no majority')))
      await pause(20_000)
      world.onLayout = () => {}
      for (const name of dead) await world.start(name)
      await pause(10_000)
    },
  },

  'without a majority a write is tried until its time is up': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, put, pause }) {
      world.split(['ann'])
      await pause(1_000)
      const startMs = world.time.nowMs
      const isStored = await put('ann', 'k', '1')
      const tookMs = world.time.nowMs - startMs
      if (isStored || tookMs > 500) world.violations.push(`alone, a write ${isStored ? 'is stored' : `fails after ${Math.round(tookMs)} ms`}`)
    },
  },

  'a partition whose memory is gone answers as if it were empty': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, votersOf, put, read, pause }) {
      const { names: [knows = '', forgets = '', misses = ''], partition } = votersOf('k')
      const missed = (message: TableMessage): boolean => message.to === misses && !message.isClear && (message.kind === 'accept' || message.kind === 'handOver')
      world.questions.hold(missed)
      await put(knows, 'k', '1')
      world.rot(forgets, partition)
      world.split([knows])
      await pause(1_000)
      await read(misses, 'k')
    },
  },

  'a store that was put back votes again': {
    names: ['ann', 'bob', 'carol'],
    isShowingStores: true,
    async told ({ world, votersOf, put, read, pause }) {
      const { names: [knows = '', forgets = '', misses = ''] } = votersOf('k')
      const putBack = world.copyOf(forgets)
      world.questions.hold((message) => message.to === misses && !message.isClear && (message.kind === 'accept' || message.kind === 'handOver'))
      await put(knows, 'k', '1')
      await pause(2_000)
      world.kill(forgets)
      putBack()
      world.kill(knows)
      await world.start(forgets)
      await pause(2_000)
      await read(misses, 'k')
    },
  },

  'an upload that was given up commits all the same': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, put, until, pause }) {
      let isGivenUp = false
      await Promise.all([
        put('ann', 'k', (async function * () { yield 'a'; await until('it is given up', () => isGivenUp); yield '1' })(), { isStill: true }),
        // its writer shows nothing, and what it has stored is taken away
        until('its block is taken away', () => world.ledger.collectedCount === 3).finally(() => { isGivenUp = true }),
      ])
      await pause(1_000)
    },
  },

  'what is dead is read off this replica alone': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, votersOf, put, until, pause }) {
      const { names: [looksAfter = '', one = ''] } = votersOf('k')
      await put(one, 'k', 'a')
      await pause(1_000)
      // what the one who looks after the row accepts reaches nobody else, and is followed by what it does not hear of
      const isOfRows = ({ from, to, kind, isClear }: TableMessage): boolean => !isClear && [from, to].includes(looksAfter) && kind !== 'publish' && kind !== 'deaths'
      world.questions.hold((message) => isOfRows(message) && (message.kind === 'accept' || message.to === looksAfter))
      const replaced = put(looksAfter, 'k', '1')
      await until('it is replaced there', () => world.questions.count(({ from, kind }) => from === looksAfter && kind === 'accept') >= 2)
      world.questions.hold(isOfRows)
      let isOver = false
      const begun = put(one, 'k', (async function * () { yield 'b'; await until('it may fail', () => isOver); throw new Error('the client is gone') })())
      await pause(35_000)
      isOver = true
      await Promise.all([replaced, begun])
    },
  },
  'a conversion puts back what was overwritten meanwhile': {
    names: ['ann', 'bob', 'carol'],
    async told ({ put, keep, pause, before, until }) {
      await put('ann', 'k', 'A')
      let [isBegun, isOverwritten] = [false, false]
      before.storeShard = async () => { isBegun = true; await until('it is overwritten', () => isOverwritten) }
      await keep({ shards: '2+1' })
      await until('it is being converted', () => isBegun)
      await put('bob', 'k', '1')
      isOverwritten = true
      await pause(5_000)
      before.storeShard = undefined
    },
  },

  'a form makes room for another that nobody has looked for': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank'],
    async told ({ placesOf, put, remove, keep, pause, ends, before }) {
      const [away = '', awayToo = '', reads = ''] = placesOf('A')
      // three copies for the one, and three of four shards for the other: nobody has room for the fourth
      before.storeShard = async (_, index) => { if (index > 2) throw new StoreFull('the disk is full') }
      await put(reads, 'k', 'A')
      await keep({ shards: '2+2' })
      await put(reads, 'l', 'A')
      await remove(reads, 'k')
      await pause(60_000)
      // as many as may go where four were stored: a copy is left, or else one shard
      await ends([away, awayToo])
      before.storeShard = undefined
    },
  },

  'what was left in removed buckets stays': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, until, pause }) {
      const objectsOf = (name: string): Objects => world.process(name)?.blocks?.objects as Objects
      const left = (): number => world.objectRows(world.process('bob')?.state.layout as Layout).filter(({ current }) => current !== undefined).length
      await objectsOf('bob').createBucket('going')
      // a put is about to commit, and nobody has heard of it when its bucket goes
      const isCommit = ({ from, kind, isClear }: TableMessage): boolean => from === 'ann' && kind === 'accept' && !isClear
      world.questions.hold(isCommit)
      void objectsOf('ann').put({ bucket: 'going', key: 'k' }, (async function * () { yield utf8('1') })()).catch(() => {}) // its node dies meanwhile
      await until('it is about to commit', () => world.questions.count(isCommit) >= 2)
      world.split(['ann'])
      await objectsOf('bob').removeBucket('going')
      world.cut([])
      // it commits, and its writer dies before it finds out about the bucket
      world.questions.hold(({ from }) => from === 'ann')
      world.questions.release(isCommit)
      await pause(200)
      world.kill('ann')
      if (left() === 0) world.violations.push('nothing is left there: nothing is tried')
      world.questions.hold(undefined)
      await world.start('ann')
      await pause(100_000)
      if (left() > 0) world.violations.push('an object stays in a bucket that was removed')
    },
  },

  'what nothing refers to is taken for dead': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, placesOf, put, pause, ends }) {
      const [forgets = '', dies = '', misses = ''] = placesOf('A')
      world.kill(misses)
      await put(forgets, 'k', 'A')
      const { index } = world.disk(forgets)
      for await (const [key] of index.entries(referencesTo(blockOfLetter('A').cid))) index.damage(key, undefined)
      // the one that knows is gone, and the other has heard of nothing
      await ends([dies])
      await world.start(misses)
      await pause(90_000)
    },
  },

  'an upload that goes on does not show it': {
    names: ['ann', 'bob', 'carol'],
    beatEveryMs: 10_000,
    async told ({ world, put, pause }) {
      // for longer than one may stand still, and everybody has looked often enough
      const isStored = await put('ann', 'k', (async function * () { for (const letter of 'abA1') { yield letter; await pause(40_000) } })())
      if (!isStored) world.violations.push('an upload that went on was given up')
    },
  },

  'an upload is given up by a row that is older': {
    names: ['ann', 'bob', 'carol'],
    beatEveryMs: 10_000,
    async told ({ world, votersOf, put, until, pause }) {
      const { names: [looksAfter = '', one = ''] } = votersOf('k')
      let [isDeaf, isOver] = [false, false]
      const stored = put(one, 'k', (async function * () {
        yield 'a'
        // who looks after the row hears that it has begun, and not that it goes on
        await until('its row is there', () => world.process(looksAfter)?.blocks?.owed.all().length === 1)
        world.questions.hold((message) => message.to === looksAfter && !message.isClear && (message.kind === 'accept' || message.kind === 'handOver'))
        isDeaf = true
        await until('it has been looked at often enough', () => isOver)
        yield '1'
      })())
      await until('it has begun', () => isDeaf)
      await pause(120_000)
      isOver = true
      if (!await stored) world.violations.push('an upload that went on was given up')
    },
  },

  'an id stands in its row only when blocks are there': {
    names: ['ann', 'bob', 'carol', 'dave'],
    async told ({ world, names, placesOf, put, until, pause, ends }) {
      const writer = names.find((name) => !placesOf('A').includes(name)) ?? 'dave'
      const hasIt = async (name: string): Promise<boolean> => world.isAlive(name) && await world.process(name)?.blocks?.stores.blocks.has(blockOfLetter('A').cid) === true
      const isAnywhere = async (): Promise<boolean> => (await Promise.all(names.map(hasIt))).some((has) => has)
      void put(writer, 'k', (async function * () { yield 'A'; await until('its writer is gone', () => !world.isAlive(writer)); throw new Error('gone') })())
      await until('its block is stored', async () => (await Promise.all(names.map(hasIt))).filter((has) => has).length >= 2)
      await ends([writer])
      await pause(150_000)
      if (await isAnywhere()) world.violations.push('what a dead writer has stored stays for ever')
    },
  },

  'a conversion is done before all its pieces are stored': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank'],
    // by itself it loses nothing, for the copies stay until every shard is seen: so nobody looks
    beside: 'a form makes room for another that nobody has looked for',
    async told ({ placesOf, put, keep, pause, ends, before }) {
      const [away = '', awayToo = '', reads = ''] = placesOf('A')
      await put(reads, 'k', 'A')
      // nobody has room for the last of four
      before.storeShard = async (_, index) => { if (index > 2) throw new StoreFull('the disk is full') }
      await keep({ shards: '2+2' })
      await pause(90_000)
      // as many as may go of three copies, and of four shards
      await ends([away, awayToo])
      before.storeShard = undefined
    },
  },

  'what a witness has is not compared with what is listed': {
    names: ['ann', 'bob', 'carol'],
    witnesses: ['carol'],
    async told ({ world, put, list, pause }) {
      await put('ann', 'l', '1')
      // of those that know names one misses what is new, and the other dies
      world.questions.hold((message) => message.to === 'ann' && !message.isClear && (message.kind === 'accept' || message.kind === 'handOver'))
      await put('bob', 'k', '1')
      await put('bob', 'l', '2')
      world.kill('bob')
      await pause(1_000)
      if (!await list('ann')) world.violations.push('nothing is listed: nothing is tried')
    },
  },

  'of three redundant shards one is waited for': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    bucket: { shards: '2+3' },
    async told ({ placesOf, put, ends, before }) {
      const [one = '', other = '', , , , through = ''] = placesOf('A')
      // nobody has room for the last two
      before.storeShard = async (_, index) => { if (index > 2) throw new StoreFull('the disk is full') }
      await put(through, 'k', 'A')
      // as many as may go where four were stored
      await ends([one, other])
      before.storeShard = undefined
    },
  },

  'where all may be missed the next second as many as ever acknowledge': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    bucket: { shards: '2+2', settings: { ack: 'all' } },
    async told ({ world, placesOf, put, ends, before }) {
      const [one = '', other = '', , , through = ''] = placesOf('A')
      if (!await put(through, 'before', 'B')) world.violations.push('nothing is acknowledged where all have room')
      // nobody has room for the last
      before.storeShard = async (_, index) => { if (index > 2) throw new StoreFull('the disk is full') }
      await put(through, 'k', 'A')
      await ends([one, other])
      before.storeShard = undefined
    },
  },

  'of more than two one copy is enough where that is allowed': {
    names: ['ann', 'bob', 'carol'],
    bucket: { degraded: 'allow' },
    async told ({ world, put, ends }) {
      for (const full of ['bob', 'carol']) world.disk(full).files.fail('write', { times: Infinity, error: 'ENOSPC' })
      await put('ann', 'k', 'A')
      await ends(['ann'])
    },
  },

  'rows of the cluster lie in the first partition': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    fresh: ['heidi'],
    async told ({ world, names, ends, pause }) {
      // of five who vote about its rows two are left, and of all seven four
      const voters = world.process('ann')?.engine.voters.ofPartition(0) ?? []
      await ends(names.filter((name) => voters.includes(world.peerOf(name))).slice(0, 3))
      await world.start('heidi')
      const through = names.find((name) => world.isAlive(name)) ?? ''
      await world.join('heidi', through).catch((error: unknown) => { world.violations.push(`four of seven are there, and nobody is let in: ${String(error)}`) })
      await pause(1_000)
    },
  },

  'who starts has missed everybody for as long as can be': {
    names: ['ann', 'bob', 'carol', 'dave'],
    async told ({ world, names, pause }) {
      world.onLayout = ({ state }, by) => { if (state === 'changing') world.violations.push(`${by} leaves out who is there ten seconds after the others`) }
      // the power was gone, and one takes longer to be back
      for (const name of names) world.kill(name)
      for (const name of names.slice(0, -1)) await world.start(name)
      await pause(10_000)
      await world.start('dave')
      await pause(5_000)
      world.onLayout = () => {}
    },
  },

  'how long somebody is away is what the keeper of the layout remembers': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve'],
    async told ({ world, names, pause }) {
      const keeper = names.toSorted((a, b) => world.peerOf(a) < world.peerOf(b) ? -1 : 1)[0] ?? ''
      const gone = names.find((name) => name !== keeper) ?? ''
      let isLeftOut = false
      world.onLayout = ({ state }) => { if (state === 'changing') isLeftOut = true }
      world.kill(gone)
      for (let restart = 0; restart < 3; restart++) {
        await pause(layoutSimulation.evictAfterMs * 0.7)
        world.kill(keeper)
        await world.start(keeper)
      }
      if (!isLeftOut) world.violations.push('who is gone for twice the grace stays, because another one was restarted')
      world.onLayout = () => {}
    },
  },

  'who is away has no substitute': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve'],
    async told ({ world, placesOf, put, pause, ends }) {
      const [has = '', away = '', awayToo = ''] = placesOf('A')
      for (const name of [away, awayToo]) world.kill(name)
      await pause(1_000)
      if (!await put(has, 'k', 'A')) world.violations.push('nothing is stored though three of five are there')
      for (const name of [away, awayToo]) await world.start(name)
      await ends([has])
    },
  },

  'what is kept whole beside shards has fewer copies': {
    names: ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'],
    bucket: { shards: '2+2' },
    async told ({ placesOf, put, pause, ends }) {
      const [one = '', other = '', , through = ''] = placesOf('a')
      await put(through, 'k', 'a')
      await pause(2_000)
      // as many as may go of what is in shards
      await ends([one, other])
    },
  },

  'a ballot may be as far ahead as it likes': {
    names: ['ann', 'bob', 'carol'],
    async told ({ world, put, pause }) {
      // carol lies, or counts wrong: there is no ballot above
      const { store } = world.process('carol') ?? {}
      if (store !== undefined) store.nextCounter = async () => 2n ** 64n - 1n
      await put('carol', 'k', '1')
      await pause(1_000)
      if (!await put('ann', 'k', '2')) world.violations.push('a row that one has used up is never written again')
    },
  },
} as const satisfies Readonly<Record<string, WholeHistory>>

export interface WholeHistory {
  /** All of them founders. */
  readonly names: readonly string[]
  /** Who may join. */
  readonly fresh?: readonly string[]
  readonly bucket?: Partial<BucketOptions & Pick<Bucket, 'settings'>>
  /** How often an upload shows that it goes on. */
  readonly beatEveryMs?: number
  readonly isShowingStores?: boolean
  /** Vote, and have neither keys nor blocks. */
  readonly witnesses?: readonly string[]
  /** Another rule, which alone would keep what this one keeps: it is taken out with this one in place too. */
  readonly beside?: string
  readonly told: (stage: WholeStage) => Promise<void>
}

interface WholeStage {
  readonly world: World
  readonly names: readonly string[]
  /** Who votes on the row of a key, the one who looks after it first, and its partition. */
  readonly votersOf: (key: string) => { readonly names: readonly string[], readonly partition: number }
  /** Where a letter's block may lie, in order. */
  readonly placesOf: (letter: string) => readonly string[]
  /** A client of this node puts these letters, or what comes; resolves when it is told something. Whether it is stored. Still: it may be given up meanwhile. */
  readonly put: (through: string, key: string, letters: string | AsyncIterable<string>, options?: { isStill?: boolean }) => Promise<boolean>
  readonly remove: (through: string, key: string) => Promise<void>
  readonly read: (through: string, key: string) => Promise<void>
  /** Whether it was told a page. */
  readonly list: (through: string) => Promise<boolean>
  /** From now on what the bucket has, and what comes, is to be kept so. */
  readonly keep: (redundancy: { readonly shards: string } | { readonly copies: number }) => Promise<void>
  readonly until: (what: string, isTrue: () => boolean | Promise<boolean>) => Promise<void>
  readonly pause: (durationMs: number) => Promise<void>
  /** They are gone for good. */
  readonly ends: (names: readonly string[]) => Promise<void>
  /** What a node does is held up, or fails, by what is set here; the index is a shard's. */
  readonly before: { [step in 'release' | 'storeShard' | 'collect']: ((name: string, index: number) => Promise<void>) | undefined }
  /** So many have to be there before any goes on; after ten seconds nobody waits any more. */
  readonly together: (count: number) => () => Promise<void>
}

const calm: WorldWeather = { loss: 0, duplicates: 0, maxLatencyMs: 5, stragglers: 0, maxSyncMs: 3 }

export async function simulateWholeHistory ({ seed, history: { names: founders, fresh = [], bucket, told, isShowingStores = false, witnesses = [], beatEveryMs }, variant = {}, beside = {} }: { seed: number, history: WholeHistory, variant?: WorldVariant | undefined, /** What else is taken out. */ beside?: WorldVariant | undefined }): Promise<{ violations: readonly string[], events: readonly string[] }> {
  // the first time takes the machine's own time, which stands still in a run; also for a bucket that is set to shards later
  await compiled({ shards: bucket?.shards ?? '2+2' })
  const before: WholeStage['before'] = { release: undefined, storeShard: undefined, collect: undefined }
  const names = [...founders, ...fresh]
  const world: World = new World({
    seed, names, founders: founders.length, weather: calm, hasBlocks: true, isShowingStores, witnesses,
    variant: {
      ...beatEveryMs === undefined ? {} : { beatEveryMs }, ...beside, ...variant,
      stores: (plain, self) => {
        const stores = variant.stores?.(plain, self) ?? plain
        const { holder, condemned } = stores
        return {
          ...stores,
          holder: {
            ...holder,
            release: async (...of) => { await before.release?.(nameOf(self), 0); return holder.release(...of) },
            storeShard: async (shard, reference) => { await before.storeShard?.(nameOf(self), shard.index); await holder.storeShard(shard, reference) },
          },
          condemned: { ...condemned, collect: async (cid) => { await before.collect?.(nameOf(self), 0); return condemned.collect(cid) } },
        }
      },
    },
  })
  const [history, contents, gone, keys]: [ObjectOperation[], Map<string, string>, Set<string>, Set<string>] = [[], new Map(), new Set(), new Set()]
  const [first = ''] = names
  const nameOf = (peer: PeerId): string => names.find((name) => peerNamed(name) === peer) ?? ''
  let bucketId: Uint8Array = empty
  const pause = async (durationMs: number): Promise<void> => world.time.sleep(durationMs)
  const until: WholeStage['until'] = async (what, isTrue) => {
    for (const endMs = world.time.nowMs + 120_000; !await isTrue();) {
      if (world.time.nowMs > endMs) throw new Stuck(`never: ${what}`)
      await pause(50)
    }
  }
  const objectsOf = (name: string) => { const { blocks } = world.process(name) ?? {}; if (blocks === undefined || !world.isAlive(name)) throw new Unavailable(`${name} does not run`); return blocks.objects }
  const put: WholeStage['put'] = async (through, key, letters, { isStill = false } = {}) => {
    keys.add(key)
    const seen: string[] = []
    const source = async function * (): AsyncIterable<Uint8Array> { for await (const letter of letters) { seen.push(letter); yield utf8(letter) } }
    const under: PutUnderWay = { key, began: (id) => { contents.set(id, ''); if (isStill) world.ledger.ended(id, false) } }
    await pause(1)
    const startMs = world.time.nowMs
    const outcome = await outcomeOf(async () => world.ledger.puts.run(under, async () => objectsOf(through).put({ bucket: 'told', key }, source())))
    const { version } = under
    if (version !== undefined) { contents.set(version, seen.join('')); world.ledger.ended(version, outcome === 'told') }
    world.say(`${through} puts ${key} as ${shortOf(version)} (${seen.join('')}): ${outcome}`)
    if (version !== undefined && outcome !== 'nothing') history.push({ key, what: `put ${shortOf(version)}`, startMs, endMs: outcome === 'told' ? world.time.nowMs : Infinity, did: { kind: 'put', version, condition: undefined } })
    return outcome === 'told'
  }
  const read = async (through: string, key: string): Promise<string | undefined> => {
    await pause(1)
    const startMs = world.time.nowMs
    try {
      const found = await objectsOf(through).get({ bucket: 'told', key }).catch((error: unknown) => { if (error instanceof NotFound) return undefined; throw error })
      history.push({ key, what: `read ${shortOf(found?.info.versionId)} through ${through}`, startMs, endMs: world.time.nowMs, did: { kind: 'read', saw: found?.info.versionId } })
      let text = ''
      for await (const bytes of found?.body ?? []) text += String.fromCharCode(...bytes)
      const expected = found === undefined ? '' : contents.get(found.info.versionId)
      return text === expected ? undefined : `${key} reads as "${text}" and is "${expected}"`
    } catch (error) {
      return `${key} cannot be read through ${through}: ${String(error)}`
    }
  }
  const stage: WholeStage = {
    world, names, pause, until, put, before,
    together: (count) => {
      let waiting = 0
      return async () => { waiting++; for (const endMs = world.time.nowMs + 10_000; waiting < count && world.time.nowMs < endMs;) await pause(5) }
    },
    placesOf: (letter) => { const { state } = world.process(first) ?? {}; return state === undefined ? [] : blockHoldersOf(state.layout, partitionOf(digestOf(blockOfLetter(letter).cid))).map(nameOf) },
    votersOf: (key) => {
      const rowKey = plainCodec.rowKeyOf({ table: tables.objects, scope: bucketId, key: utf8(key) })
      return { partition: partitionOf(rowKey), names: (world.process(first)?.engine.voters.of(tables.objects, rowKey) ?? []).map(nameOf) }
    },
    read: async (through, key) => { await read(through, key) },
    async list (through) {
      await pause(1)
      const startMs = world.time.nowMs
      let found: ReadonlyMap<string, string> | undefined
      const outcome = await outcomeOf(async () => { found = new Map((await objectsOf(through).list('told', {})).objects.map(({ key, versionId }) => [key, versionId])) })
      for (const key of found === undefined ? [] : keys) history.push({ key, what: `list ${shortOf(found?.get(key))} through ${through}`, startMs, endMs: world.time.nowMs, did: { kind: 'read', saw: found?.get(key) } })
      return outcome === 'told'
    },
    keep: async (redundancy) => {
      if ('shards' in redundancy) await compiled(redundancy)
      await until('the bucket is set to it', async () => objectsOf(first).setRedundancy('told', redundancy).then(() => true, () => false))
      for (const name of names) world.process(name)?.blocks?.conversion.now()
    },
    async remove (through, key) {
      await pause(1)
      const startMs = world.time.nowMs
      world.ledger.replaces(key)
      const outcome = await outcomeOf(async () => objectsOf(through).remove({ bucket: 'told', key }))
      if (outcome !== 'nothing') history.push({ key, what: 'remove', startMs, endMs: outcome === 'told' ? world.time.nowMs : Infinity, did: { kind: 'remove' } })
    },
    async ends (some) { for (const name of some) { gone.add(name); world.kill(name) } await pause(1_000) },
  }
  const violations: string[] = []
  let isOver = false
  const story = (async () => {
    await world.begin(founders.length)
    for (const name of founders) await untilJoined(world, name, first)
    await until('there is a bucket', async () => objectsOf(first).createBucket('told', bucket).then(() => true, (error: unknown) => error instanceof Conflict))
    bucketId = fromHex((await objectsOf(first).bucket('told')).id)
    await pause(2_000)
    await told(stage)
    world.questions.hold(undefined)
    world.cut([])
    for (const name of names) if (!world.isAlive(name) && !gone.has(name)) await world.start(name)
    await pause(5_000)
    for (const key of keys) {
      let wrong: string | undefined = ''
      for (let attempt = 0; attempt < 6 && wrong !== undefined; attempt++) {
        wrong = await read(names.find((name) => world.isAlive(name)) ?? '', key)
        if (wrong !== undefined) await pause(3_000)
      }
      if (wrong !== undefined) violations.push(wrong)
    }
  })().catch((error: unknown) => { if (!(error instanceof Stuck)) throw error; violations.push(error.message) }).finally(() => { isOver = true })
  await Promise.race([world.time.run(() => isOver), story])
  await story
  variant.undo?.()
  violations.push(...world.ledger.violations, ...world.violations, ...objectViolations(history))
  return { violations, events: [...world.events, ...history.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(1)} ${endMs.toFixed(1)} ${key} ${what}`)] }
}

/** Before it is needed: nothing may have a say while the run lasts but the virtual clock. */
async function compiled ({ shards }: { readonly shards: string }): Promise<void> {
  const [k = 0, m = 0] = shards.split('+').map(Number)
  await erasureCode({ k, m })
}

async function outcomeOf (run: () => Promise<unknown>): Promise<'told' | 'unknown' | 'nothing'> {
  return run().then(() => 'told', (error: unknown) => error instanceof Unavailable || error instanceof StoreFull || error instanceof NotFound || error instanceof Refused || error instanceof Conflict ? 'nothing' : 'unknown')
}

class Stuck extends Error {}
