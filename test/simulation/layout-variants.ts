import { AsyncLocalStorage } from 'node:async_hooks'
import { Unavailable } from '../../src/base/errors.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { Burial } from '../../src/tables/burial.ts'
import { Generations } from '../../src/tables/generations.ts'
import { replicasOf, allVotersOf, type Assignment, isSuccessor, type Layout, parseLayout } from '../../src/cluster/index.ts'
import { votersIn } from '../../src/node/membership/membership.ts'
import type { LayoutKeeper } from '../../src/node/layout/layout-keeper.ts'
import type { ClusterState } from '../../src/node/state.ts'
import type { Takeovers } from '../../src/node/layout/takeover.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { decodeEnvelope } from '../../src/tables/envelope.ts'
import { HandOver, type Takeover } from '../../src/tables/hand-over.ts'
import { type Ballot, tables } from '../../src/tables/index.ts'
import { LateDelivery } from '../../src/tables/late-delivery.ts'
import { decodeRequest, encodeRequest } from '../../src/tables/messages-codec.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { WorldVariant } from './world.ts'

/** An instance with some methods in other words. */
export const objectWith = <T extends object>(object: T, other: Partial<Record<keyof T, unknown>>): T => new Proxy(object, {
  get: (target, name) => {
    const value: unknown = Reflect.get(name in other ? other : target, name)
    return typeof value === 'function' ? value.bind(target) as unknown : value
  },
})
/** For all instances; what it gives puts the old one back. */
export function replaced<T extends object, K extends keyof T> (prototype: T, name: K, method: T[K]): () => void {
  const before = prototype[name]
  prototype[name] = method
  return () => { prototype[name] = before }
}
const takingOver = (change: (takeover: Takeover, parts: Parameters<NonNullable<WorldVariant['takeovers']>>[1]) => Takeover): WorldVariant['takeovers'] =>
  (takeovers, parts) => objectWith<Takeovers>(takeovers, { of: (layout: Parameters<Takeovers['of']>[0]) => change(takeovers.of(layout), parts) })
const burying = new AsyncLocalStorage<boolean>()
const handingOver = new AsyncLocalStorage<boolean>()
const handOver = Reflect.get(HandOver.prototype, 'step') as (...wait: Parameters<HandOver['step']>) => ReturnType<HandOver['step']>
const comparing = new AsyncLocalStorage<boolean>()
const compare = Reflect.get(AntiEntropy.prototype, 'step') as (...wait: Parameters<AntiEntropy['step']>) => ReturnType<AntiEntropy['step']>
const isTombstone = Reflect.get(plainCodec, 'isTombstone') as typeof plainCodec.isTombstone
const step = Reflect.get(Burial.prototype, 'step') as (...wait: Parameters<Burial['step']>) => ReturnType<Burial['step']>
const at = (assignment: Assignment, partition: number): ReturnType<typeof replicasOf> => (partition === clearPartition ? allVotersOf(assignment) : replicasOf(assignment, partition))

/** What a node enters it takes over, and nothing else. */
const enteringAlone = (): WorldVariant => ({
  takeovers: (takeovers, { self }) => objectWith<Takeovers>(takeovers, { of: (layout: Layout) => {
    const takeover = takeovers.of(layout)
    return { ...takeover, partitions: takeover.partitions.filter((partition) => takeover.restoring.has(partition) || !takeover.from(partition).includes(self)) }
  } }),
})

const promisesLeft = (): WorldVariant => ({
  store: (store) => objectWith(store, {
    promised: async () => undefined,
    raiseFloor: async (...floors: ReadonlyArray<readonly [partition: number, floor: Ballot]>) => store.raiseFloor(...floors.filter(([partition]) => partition !== clearPartition)),
  }),
})

/** Each rule of a layout change, taken out. What it prevents is a history that the simulation must then find. */
export const layoutVariants: Readonly<Record<string, () => WorldVariant>> = {
  'nothing is taken over before the change is finished': () => ({ takeovers: takingOver((takeover) => ({ ...takeover, partitions: [], restoring: new Set() })) }),
  'what is to be forgotten is still answered for': () => ({ answersWhileItForgets: true }),
  'who stays among fewer takes nothing over': enteringAlone,
  'who stays alone of two takes nothing over': enteringAlone,
  'what was promised is not taken over with the rows': promisesLeft,
  'what was promised of the cluster itself is not taken over': promisesLeft,
  'who has lost rows forgets what it had promised': promisesLeft,
  'who stays among fewer forgets, and nobody waits for it': () => ({
    keeperAsk: (ask) => async (peer, question, wait) => {
      const answer = await ask(peer, question, wait)
      return answer.kind === 'progress' && answer.remaining === 0 ? { ...answer, lost: 0 } : answer
    },
  }),
  'a change is finished before all have said that they took over': () => ({
    keeperAsk: (ask) => async (peer, question, wait) => {
      const answer = await ask(peer, question, wait)
      return answer.kind === 'progress' ? { ...answer, remaining: 0 } : answer
    },
  }),
  'what is lost while it is taken over is waited for': () => ({
    keeperAsk: (ask) => async (peer, question, wait) => {
      const answer = await ask(peer, question, wait)
      return answer.kind === 'progress' && answer.remaining > 0 ? { ...answer, lost: 0 } : answer
    },
  }),
  'it is taken over from one of the old ones, not from a majority': () => ({ takeovers: takingOver((takeover) => ({ ...takeover, from: (partition) => takeover.from(partition).slice(0, 1) })) }),
  'old and new decide as one group while the layout changes': () => ({
    voters: (state) => votersBy({
      version: () => state.layout.version,
      groupsOf: (partition) => (state.layout.next === undefined ? votersIn(state).electorate(partition).groups : [[...new Set([...at(state.layout, partition), ...at(state.layout.next, partition)])]]),
    }),
  }),
  'the new ones alone decide while the layout changes': () => ({
    voters: (state) => votersBy({ version: () => state.layout.version, groupsOf: (partition) => [at(state.layout.next ?? state.layout, partition)] }),
  }),
  'the old ones alone decide while the layout changes': () => ({
    voters: (state) => votersBy({ version: () => state.layout.version, groupsOf: (partition) => [at(state.layout, partition)] }),
  }),
  'whoever comes first is waited for, whomever it reaches': () => ({
    keeperAsk: (ask) => async (peer, question, wait) => {
      const answer = await ask(peer, question, wait)
      return answer.kind === 'progress' ? { ...answer, away: [] } : answer
    },
  }),
  'whoever misses somebody says that all do': () => ({
    keeperAsk: (ask) => {
      let own: readonly { readonly peer: Uint8Array, readonly seconds: number }[] = []
      return async (peer, question, wait) => {
        const answer = await ask(peer, question, wait)
        if (answer.kind !== 'progress') return answer
        if (answer.away.length > 0) own = answer.away
        return { ...answer, away: answer.away.length > 0 ? answer.away : own }
      }
    },
  }),
  'whoever enters keeps what it had from an earlier time': () => ({ store: (store) => objectWith(store, { clear: async () => {} }) }),
  'the floor is not taken over with the rows': () => ({ store: (store) => objectWith(store, { raiseFloor: async () => {} }) }),
  'what is late outlasts a change of the layout': () => ({ undo: replaced(LateDelivery.prototype, 'isOfNow', () => true) }),
  'voters take any layout': () => ({ clearRule: (rule) => (row) => { if (row.table !== tables.layout) rule(row) } }),
  'while a layout changes voters take another in the place of the present one': () => ({
    // what is to follow has to follow from what it calls the present one
    clearRule: (rule) => (row) => {
      const layout = row.table === tables.layout && !row.content.isTombstone ? parseLayout(decodeEnvelope(row.content.body).value) : undefined
      const { next } = layout ?? {}
      if (layout === undefined || next === undefined || !isSuccessor({ ...layout, state: 'settled', version: layout.version - 1n, next: undefined }, layout)) rule(row)
    },
  }),
  'a change is left to the member that began it': () => ({
    keeper: (keeper, { self, state }) => objectWith(keeper, {
      step: async (wait: Parameters<LayoutKeeper['step']>[0]) => state.layout.members.map(({ peerId }) => peerId).toSorted()[0] === self ? keeper.step(wait) : 'idle' as const,
    }),
  }),
  'an older version is answered': () => ({
    served: (replica, state) => ({ answer: async (from, request) => replica.answer(from, request.version < state.layout.version ? { ...request, version: state.layout.version } : request) }),
  }),
  'a question names the version of the moment, not of its round': () => ({
    sent: (body, state) => {
      const request = decodeRequest(body)
      return encodeRequest({ ...request, version: state.layout.version > request.version ? state.layout.version : request.version })
    },
  }),
  'the layout is not on disk before it is gone by': () => ({ forgetsLayout: true }),
  'what was lost comes back under the version of now': () => ({ takeovers: takingOver((takeover, { store }) => ({ ...takeover, partitions: [...new Set([...takeover.partitions, ...store.lostPartitions()])], restoring: store.lostPartitions() })) }),
  'rows are buried while the layout changes': () => ({
    // as it would be if only what they were to decide about before counted
    tablesState: (state) => objectWith<ClusterState>(state, new SettledLayouts(state)),
    voters: (state) => {
      const voters = votersIn(state)
      return { get version () { return voters.version }, of: (table, rowKey) => voters.of(table, rowKey), ofPartition: (partition) => voters.ofPartition(partition), electorate: (partition) => burying.getStore() === true ? { version: voters.version, groups: [at(state.layout, partition)] } : voters.electorate(partition) }
    },
    served: (replica) => ({ answer: async (from, request) => burying.run(request.kind === 'bury', async () => replica.answer(from, request)) }),
    undo: replaced(Burial.prototype, 'step', async function (this: Burial, ...wait) { return burying.run(true, async () => Reflect.apply(step, this, wait)) }),
  }),
  'a row that is refused in a hand-over is left to others': () => ({
    store: (store) => objectWith(store, { nextCounter: async (above: bigint) => { if (handingOver.getStore() === true) throw new Unavailable('nobody proposes'); return store.nextCounter(above) } }),
    undo: replaced(HandOver.prototype, 'step', async function (this: HandOver, ...wait) { return handingOver.run(true, async () => Reflect.apply(handOver, this, wait)) }),
  }),
  'anti-entropy digs up what was buried': () => {
    const restore = [
      replaced(AntiEntropy.prototype, 'step', async function (this: AntiEntropy, ...wait) { return comparing.run(true, async () => Reflect.apply(compare, this, wait)) }),
      replaced(plainCodec, 'isTombstone', (row) => comparing.getStore() !== true && isTombstone(row)),
    ]
    return { undo: () => { for (const one of restore) one() } }
  },
  'what was begun under a version goes on under the next': () => ({ undo: replaced(Generations.prototype, 'run', async (_, act) => act()) }),
}

/** Says of each layout that it is settled. */
class SettledLayouts {
  readonly #state: ClusterState
  readonly #settled = new WeakMap<Layout, Layout>()
  constructor (state: ClusterState) { this.#state = state }
  get layout (): Layout {
    const { layout } = this.#state
    const known = this.#settled.get(layout) ?? { ...layout, state: 'settled' as const }
    this.#settled.set(layout, known)
    return known
  }
}
