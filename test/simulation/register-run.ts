import { textOf, utf8 } from '../../src/base/bytes.ts'
import { Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import { type Change, type RowAddress, tables } from '../../src/tables/index.ts'
import { SimulatedCluster, type Variant, type Weather } from './cluster.ts'
import { type Invocation, isLinearizable } from './linearizable.ts'

type State = string | undefined
interface Recorded extends Invocation<State> { readonly key: string }

const addressOf = (key: string): RowAddress => ({ table: tables.objects, scope: new Uint8Array(16), key: utf8(key) })
const describe = (_: number, value: Uint8Array): { name: Uint8Array, scope: Uint8Array, summary: Uint8Array } => {
  // values are "key=state", so that the listing can name them
  const [name = ''] = textOf(value).split('=')
  return { name: utf8(name), scope: new Uint8Array(16), summary: value }
}

export function weatherOf (seed: number): Weather {
  const random = seededRandom(seed ^ 0x5bd1e995)
  const chance = (share: number): boolean => random.fraction() < share
  return {
    replicas: chance(0.7) ? 3 : 5,
    loss: chance(0.3) ? 0 : random.fraction() * 0.3,
    duplicates: random.fraction() * 0.3,
    maxLatencyMs: 2 + random.fraction() * 20,
    stragglers: chance(0.5) ? 0.03 : random.fraction() * 0.5,
    maxPauseMs: 3 + random.fraction() * 40,
    maxRestMs: chance(0.5) ? 60 : 1_000,
    keys: chance(0.5) ? 1 : 2,
    isMonotonous: chance(0.3),
    crashes: chance(0.6),
    splits: chance(0.5),
  }
}

/** One small cluster, a few clients, bad weather: what every client was told, by key; and whether a register could have said so. */
export async function simulateRegisters ({ seed, variant, weather = weatherOf(seed), withLists = false }: { seed: number, variant?: Variant, weather?: Weather, withLists?: boolean }): Promise<{ violated: readonly string[], history: readonly Recorded[], told: number }> {
  const keys = ['a', 'b', 'c', 'd'].slice(0, withLists ? 4 : weather.keys)
  const cluster = new SimulatedCluster({ seed, weather, variant, addresses: keys.map(addressOf), describe })
  const history: Recorded[] = []
  const clients = Array.from({ length: 4 }, (_, i) => client(cluster, { name: `c${i}`, keys, withLists, record: (operation) => { history.push(operation) } }))
  let isOver = false
  const done = Promise.all(clients).then(() => { isOver = true })
  trouble(cluster, () => isOver)
  await cluster.time.run(() => isOver || cluster.time.nowMs > 60_000)
  if (!isOver) throw new Error('the clients did not come to an end')
  await done
  const violated = keys.filter((key) => !isLinearizable(history.filter((operation) => operation.key === key), undefined))
  return { violated, history, told: history.filter(({ endMs }) => endMs !== Infinity).length }
}

function trouble (cluster: SimulatedCluster, isOver: () => boolean): void {
  const { crashes, splits } = cluster.weather
  const busy = new Set<string>()
  const next = (): void => {
    if (isOver()) return
    const peer = cluster.pick(cluster.peers)
    if (crashes && cluster.chance(0.5) && !busy.has(peer)) {
      busy.add(peer)
      void cluster.restart(peer, cluster.between(1, 60)).then(() => busy.delete(peer))
    }
    if (splits && cluster.chance(0.4)) void cluster.splitFor(cluster.between(10, 120))
    cluster.time.after(cluster.between(10, 120), next)
  }
  cluster.time.after(cluster.between(5, 60), next)
}

interface ClientOptions { readonly name: string, readonly keys: readonly string[], readonly withLists: boolean, readonly record: (operation: Recorded) => void }

async function client (cluster: SimulatedCluster, { name, keys, withLists, record }: ClientOptions): Promise<void> {
  const lastSeen = new Map<string, State>()
  for (let i = 0; i < 7; i++) {
    await cluster.time.sleep(cluster.between(0, cluster.weather.maxPauseMs))
    const key = cluster.pick(keys)
    const peer = cluster.pick(cluster.peers)
    const startMs = cluster.time.nowMs
    if (withLists && cluster.chance(0.5)) { await list(cluster, { peer, keys, record }); continue }
    const action = actionOf(cluster, { key, fresh: `${key}=${name}${i}`, lastSeen: lastSeen.get(key) })
    const outcome = await outcomeOf(cluster, { peer, run: (registers) => action.run(registers) })
    const endMs = cluster.time.nowMs
    if (outcome.kind === 'told') {
      lastSeen.set(key, outcome.seen.state)
      record({ key, what: `${name} ${action.what} -> ${outcome.seen.told}`, startMs, endMs, apply: (state) => action.apply(state, outcome.seen.told) })
    } else if (outcome.kind === 'unknown' && action.mayWrite) {
      record({ key, what: `${name} ${action.what} -> ?`, startMs, endMs: Infinity, apply: (state) => action.apply(state, undefined) })
    }
  }
}

interface Seen { readonly told: string, readonly state: State }
type Engine = ReturnType<SimulatedCluster['processOf']>['registers']
interface Action {
  readonly what: string
  readonly mayWrite: boolean
  readonly run: (registers: Engine) => Promise<Seen>
  /** `told` undefined: nobody knows what it answered. */
  readonly apply: (state: State, told: string | undefined) => { readonly state: State } | 'impossible'
}

function actionOf (cluster: SimulatedCluster, { key, fresh, lastSeen }: { key: string, fresh: string, lastSeen: State }): Action {
  const textAt = (value: Uint8Array | undefined): State => (value === undefined ? undefined : textOf(value))
  const change = (what: string, decide: (state: State) => { state: State, told: string }): Action => ({
    what,
    mayWrite: true,
    run: async (registers) => await registers.change<Seen>(addressOf(key), (current): Change<Seen> => {
      const before = textAt(current)
      const { state, told } = decide(before)
      if (state === before) return { kind: 'keep', result: { told, state } }
      return state === undefined ? { kind: 'erase', result: { told, state } } : { kind: 'write', value: utf8(state), result: { told, state } }
    }),
    apply: (before, told) => {
      const decided = decide(before)
      return told === undefined || told === decided.told ? { state: decided.state } : 'impossible'
    },
  })
  const kind = cluster.weather.isMonotonous ? cluster.pick([3, 3, 5, 5, 5]) : Math.floor(cluster.between(0, 6))
  switch (kind) {
    case 0: return change(`cas ${lastSeen} to ${fresh}`, (state) => (state === lastSeen ? { state: fresh, told: 'done' } : { state, told: `mismatch ${state}` }))
    case 1: return change(`create ${fresh}`, (state) => (state === undefined ? { state: fresh, told: 'created' } : { state, told: 'exists' }))
    case 2: return change('erase', (state) => ({ state: undefined, told: state === undefined ? 'absent' : 'erased' }))
    case 3: return change('toggle', (state) => { const next = state === `${key}=0` ? `${key}=1` : `${key}=0`; return { state: next, told: next } })
    case 4: return change(`append ${fresh}`, (state) => { const next = `${state ?? `${key}=`}+${fresh.slice(-2)}`; return { state: next, told: next } })
    default: return {
      what: 'read',
      mayWrite: false,
      run: async (registers) => { const state = textAt(await registers.read(addressOf(key))); return { told: String(state), state } },
      apply: (state, told) => (told === String(state) ? { state } : 'impossible'),
    }
  }
}

/** A listing is a read of every key, at some moment of its own. */
async function list (cluster: SimulatedCluster, { peer, keys, record }: { peer: SimulatedCluster['peers'][number], keys: readonly string[], record: (operation: Recorded) => void }): Promise<void> {
  const startMs = cluster.time.nowMs
  const limit = cluster.pick([1, 2, 1000])
  const outcome = await outcomeOf(cluster, { peer, run: (registers) => registers.list({ table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), limit }) })
  if (outcome.kind !== 'told') return
  const endMs = cluster.time.nowMs
  const { entries, next } = outcome.seen
  const listed = new Map(entries.map(({ name, summary }) => [textOf(name), textOf(summary)]))
  for (const key of keys) {
    if (next !== undefined && key > textOf(next)) continue
    record({ key, what: `list ${listed.get(key)}`, startMs, endMs, apply: (state) => (state === listed.get(key) ? { state } : 'impossible') })
  }
}

type Outcome<T> = { readonly kind: 'told', readonly seen: T } | { readonly kind: 'unknown' } | { readonly kind: 'nothing' }

/** What a client is told; a node that dies under it, or does not answer, leaves it not knowing. */
async function outcomeOf<T> (cluster: SimulatedCluster, { peer, run }: { peer: SimulatedCluster['peers'][number], run: (registers: Engine) => Promise<T> }): Promise<Outcome<T>> {
  const process = cluster.processOf(peer)
  if (!process.isAlive) return { kind: 'nothing' }
  const told = run(process.registers).then(
    (seen): Outcome<T> => ({ kind: 'told', seen }),
    (error: unknown): Outcome<T> => {
      if (error instanceof UnknownOutcome) return { kind: 'unknown' }
      if (error instanceof Unavailable) return { kind: 'nothing' }
      throw error
    })
  return await Promise.race([told, died(cluster, process)])
}

async function died (cluster: SimulatedCluster, process: { readonly isAlive: boolean }): Promise<{ readonly kind: 'unknown' }> {
  const endMs = cluster.time.nowMs + 700
  while (process.isAlive && cluster.time.nowMs < endMs) await cluster.time.sleep(5)
  return { kind: 'unknown' }
}
