import { textOf, utf8 } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { tables } from '../../src/tables/index.ts'
import { SimulatedCluster, type Variant, type Weather } from './cluster.ts'
import { isLinearizable } from './linearizable.ts'
import { type Action, addressOf, append, carryOut, compareAndSet, create, erase, outcomeOf, read, type Recorded, type State, toggle } from './register-actions.ts'

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
export async function simulateRegisters ({ seed, variant, weather = weatherOf(seed), withLists = false, untilEqual = false }: { seed: number, variant?: Variant, weather?: Weather, withLists?: boolean, untilEqual?: boolean }): Promise<{ violated: readonly string[], history: readonly Recorded[], told: number, nodeMs: number }> {
  const keys = ['a', 'b', 'c', 'd'].slice(0, withLists ? 4 : weather.keys)
  const cluster = new SimulatedCluster({ seed, weather, variant, addresses: keys.map(addressOf), describe })
  const history: Recorded[] = []
  const clients = Array.from({ length: 4 }, (_, i) => client(cluster, { name: `c${i}`, keys, withLists, record: (operation) => { history.push(operation) } }))
  let isOver = false
  let isEqual = true
  let isQuiet = false
  const done = Promise.all(clients).then(async () => {
    isQuiet = true
    if (untilEqual) isEqual = await cluster.becomesEqual()
    isOver = true
  })
  trouble(cluster, () => isQuiet)
  await cluster.time.run(() => isOver || cluster.time.nowMs > 60_000)
  if (!isOver) throw new Error('the clients did not come to an end')
  await done
  const violated = isEqual ? [] : ['that replicas become equal']
  violated.push(...keys.filter((key) => !isLinearizable(history.filter((operation) => operation.key === key), undefined)))
  return { violated, history, told: history.filter(({ endMs }) => endMs !== Infinity).length, nodeMs: cluster.nodeMs }
}

/** Every node changes the same row, again and again, in good weather: how many are told that it is done, and how many are not. */
export async function simulateContest ({ seed, variant }: { seed: number, variant?: Variant }): Promise<{ told: number, untold: number }> {
  const weather: Weather = { replicas: 5, keys: 1, isMonotonous: false, crashes: false, splits: false, loss: 0, duplicates: 0, maxLatencyMs: 5, stragglers: 0, maxPauseMs: 0, maxRestMs: 1e9 }
  const key = 'contested'
  const cluster = new SimulatedCluster({ seed, weather, variant, addresses: [addressOf(key)], describe })
  let [told, untold, isOver] = [0, 0, false]
  const done = Promise.all(cluster.peers.map(async (peer, i) => {
    for (let n = 0; n < 4; n++) {
      const outcome = await outcomeOf(cluster, peer, (registers) => append(`${i}${n}`).run(registers, key))
      if (outcome.kind === 'told') told++
      else untold++
    }
  })).then(() => { isOver = true })
  await cluster.time.run(() => isOver || cluster.time.nowMs > 60_000)
  await done
  return { told, untold }
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
    if (withLists && cluster.chance(0.5)) { await list(cluster, { peer, keys, record }); continue }
    const action = actionOf(cluster, { key, fresh: `${key}=${name}${i}`, lastSeen: lastSeen.get(key) })
    const seen = await carryOut(cluster, { name, peer, key, action, record })
    if (seen !== undefined) lastSeen.set(key, seen.state)
  }
}

function actionOf (cluster: SimulatedCluster, { key, fresh, lastSeen }: { key: string, fresh: string, lastSeen: State }): Action {
  const toggling = toggle(`${key}=0`, `${key}=1`)
  if (cluster.weather.isMonotonous) return cluster.pick([toggling, toggling, read, read, read])
  return cluster.pick([compareAndSet(lastSeen, fresh), create(fresh), erase, toggling, append(`+${fresh.slice(-2)}`, `${key}=`), read])
}

/** A listing is a read of every key, at some moment of its own. */
async function list (cluster: SimulatedCluster, { peer, keys, record }: { peer: SimulatedCluster['peers'][number], keys: readonly string[], record: (operation: Recorded) => void }): Promise<void> {
  const startMs = cluster.time.nowMs
  const limit = cluster.pick([1, 2, 1000])
  const outcome = await outcomeOf(cluster, peer, (registers) => registers.list({ table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), limit }))
  if (outcome.kind !== 'told') return
  const endMs = cluster.time.nowMs
  const { entries, next } = outcome.seen
  const listed = new Map(entries.map(({ name, summary }) => [textOf(name), textOf(summary)]))
  for (const key of keys) {
    if (next !== undefined && key > textOf(next)) continue
    record({ key, what: `list ${listed.get(key)}`, startMs, endMs, isRead: true, apply: (state) => (state === listed.get(key) ? { state } : 'impossible') })
  }
}
