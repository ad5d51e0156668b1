import { hexOf, partitionOf, textOf, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { UnknownOutcome } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import { type Change, type Registers, type RowAddress, tables } from '../../src/tables/index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { type LogOperation, logViolations } from './append-log.ts'
import { World, type WorldVariant, type WorldWeather } from './world.ts'

type State = string | undefined
export interface Recorded extends LogOperation { readonly key: string }

export interface LayoutRunOptions {
  readonly seed: number
  /** Virtual, of trouble; then it is good weather until all is settled. */
  readonly minutes?: number
  readonly variant?: WorldVariant | undefined
  /** In good weather three nodes are all followed by four others, and nothing else happens: what a rule is for shows in every run. */
  readonly isReplacement?: boolean
}

export interface LayoutRun {
  /** What a promise was broken by; empty: kept. */
  readonly violations: readonly string[]
  readonly operations: number
  readonly told: number
  /** Acknowledged, of those. */
  readonly appended: number
  readonly layouts: number
  readonly messages: number
  readonly virtualMs: number
  /** Node-milliseconds: virtual time for which each node ran. */
  readonly nodeMs: number
  readonly events: readonly string[]
  /** Of everything that happened and was told, in hexadecimal. */
  readonly digest: string
}

const names = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'] as const
const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] as const
/** The others are written early and left alone until the end: reads and writes under both layouts would hand over what a change forgets. */
const busyKeys = keys.slice(0, 4)
export const addressOf = (key: string): RowAddress => ({ table: tables.accessKeys, scope: new Uint8Array(16), key: utf8(key) })

function weatherOf (seed: number): { weather: WorldWeather, founders: number } {
  const random = seededRandom(seed ^ 0x2c1b3c6d)
  return {
    founders: 3 + Math.floor(random.fraction() * 3),
    weather: {
      loss: random.fraction() < 0.3 ? 0 : random.fraction() * 0.3,
      duplicates: random.fraction() * 0.2,
      maxLatencyMs: 2 + random.fraction() * 60,
      stragglers: random.fraction() < 0.5 ? 0.01 : random.fraction() * 0.2,
      maxSyncMs: 1 + random.fraction() * 20,
    },
  }
}

/**
 * A small cluster whose layout changes all the time while clients write and read: nodes join, drain, die (also while they propose), are away longer than the
 * grace, lose partitions, are cut off. What clients were told must be what a register could have said; afterwards, in good weather, the layout must settle
 * and every key be read again, also with any one replica dead.
 */
export async function simulateLayout ({ seed, minutes = 3, variant, isReplacement = false }: LayoutRunOptions): Promise<LayoutRun> {
  const { weather, founders } = isReplacement ? { weather: { loss: 0, duplicates: 0, maxLatencyMs: 20, stragglers: 0, maxSyncMs: 5 }, founders: 3 } : weatherOf(seed)
  const cluster = new World({ seed, names, founders, weather, variant })
  const history: Recorded[] = []
  const { violations } = cluster
  let isOver = false
  const story = (async () => {
    await cluster.begin(founders)
    for (const name of names.slice(0, founders)) await untilJoined(cluster, name, names[0])
    const endMs = cluster.time.nowMs + minutes * 60_000
    const clients = Array.from({ length: 3 }, (_, i) => client(cluster, { name: `c${i}`, endMs, record: (operation) => { history.push(operation) } }))
    if (isReplacement) await cluster.time.sleep(5_000).then(async () => replaceAll(cluster, { joined: new Set(names.slice(0, founders)), draining: new Set() }))
    else await trouble(cluster, { endMs, founders })
    await Promise.all(clients)
    violations.push(...await aftermath(cluster, (operation) => { history.push(operation) }))
    isOver = true
  })()
  await Promise.race([cluster.time.run(() => isOver || cluster.time.nowMs > minutes * 60_000 + 1_200_000), story])
  variant?.undo?.()
  if (!isOver) violations.push('it did not come to an end')
  for (const key of keys) violations.push(...logViolations(history.filter((operation) => operation.key === key)).slice(0, 3).map((violation) => `row ${key}: ${violation}`))
  const lines = [...cluster.events, ...history.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(3)} ${endMs.toFixed(3)} ${key} ${what}`)]
  const layouts = cluster.events.filter((line) => line.includes(': layout ')).length
  return {
    violations, operations: history.length, told: history.filter((operation) => operation.told !== undefined).length, appended: history.filter(({ told, token }) => told !== undefined && token !== undefined).length, layouts, messages: cluster.messages,
    virtualMs: cluster.time.nowMs, nodeMs: cluster.nodeMs, events: lines, digest: hexOf(hash(utf8(lines.join('\n')))).slice(0, 32),
  }
}

const ignored = (): void => {}

/** A join that fails is repeated. */
export async function untilJoined (cluster: World, name: string, through: string): Promise<void> {
  for (let attempt = 0, isDone = false; attempt < 40 && !isDone; attempt++) {
    await cluster.time.sleep(500)
    isDone = cluster.isAlive(through) && await cluster.join(name, through).then(() => true, () => false)
  }
}
const isUp = (cluster: World): readonly string[] => names.filter((name) => cluster.isAlive(name))

async function trouble (cluster: World, { endMs, founders }: { endMs: number, founders: number }): Promise<void> {
  const joined = new Set<string>(names.slice(0, founders))
  const draining = new Set<string>()
  const used = keys.map((key) => partitionOf(plainCodec.rowKeyOf(addressOf(key))))
  let hasRotted = false
  // everybody who held anything hands over to others, half of the time
  let replacedAtMs = cluster.chance(0.5) ? cluster.time.nowMs + cluster.between(0.2, 0.6) * (endMs - cluster.time.nowMs) : Infinity
  while (cluster.time.nowMs < endMs) {
    await cluster.time.sleep(cluster.between(500, 12_000))
    if (cluster.time.nowMs > replacedAtMs) {
      replacedAtMs = Infinity
      await replaceAll(cluster, { joined, draining })
    }
    // two things at once, now and then
    for (let i = cluster.chance(0.3) ? 2 : 1; i > 0; i--) {
      const up = isUp(cluster)
      const through = cluster.pick(up.length > 0 ? up : names)
      const target = cluster.pick([...joined])
      const kind = cluster.random.fraction()
      if (kind < 0.25) {
        const fresh = names.find((name) => !joined.has(name))
        if (fresh === undefined) continue
        joined.add(fresh)
        cluster.say(`${fresh} joins`)
        await cluster.start(fresh)
        void untilJoined(cluster, fresh, through)
      } else if (kind < 0.45) {
        const isDraining = !draining.has(target)
        if (isDraining && joined.size - draining.size <= 3) continue
        if (isDraining) draining.add(target)
        else draining.delete(target)
        cluster.say(`${target} ${isDraining ? 'drains' : 'drains no more'}`)
        void cluster.drain(target, isDraining, through).catch(ignored)
      } else if (kind < 0.8) {
        // now and then longer than the grace
        void crash(cluster, target, cluster.chance(0.25) ? cluster.between(25_000, 60_000) : cluster.between(200, 8_000))
      } else if (kind < 0.95) {
        cluster.split(names.filter(() => cluster.chance(0.35)))
        cluster.say('split')
        void cluster.time.sleep(cluster.between(1_000, 15_000)).then(() => { cluster.split([]); cluster.say('whole') })
      } else if (!hasRotted) {
        // one loss in a run: two could be a majority's
        hasRotted = true
        cluster.rot(target, cluster.pick(used))
      }
    }
  }
}

async function replaceAll (cluster: World, { joined, draining }: { joined: Set<string>, draining: Set<string> }): Promise<void> {
  const old = [...joined]
  cluster.say(`all follow ${old.join()}`)
  for (const name of names.filter((one) => !joined.has(one))) {
    joined.add(name)
    await cluster.start(name)
    void untilJoined(cluster, name, cluster.pick(old))
  }
  if (joined.size - old.length < 3) return
  for (const name of old) {
    draining.add(name)
    void cluster.time.sleep(6_000).then(async () => cluster.drain(name, true, cluster.pick(old))).catch(ignored)
  }
}

async function crash (cluster: World, name: string, downMs: number): Promise<void> {
  if (!cluster.isAlive(name)) return
  cluster.kill(name)
  await cluster.time.sleep(downMs)
  if (!cluster.isAlive(name)) await cluster.start(name)
}

interface ClientOptions { readonly name: string, readonly endMs: number, readonly record: (operation: Recorded) => void }

async function client (cluster: World, { name, endMs, record }: ClientOptions): Promise<void> {
  const quietMs = cluster.time.nowMs + Math.min(5_000, (endMs - cluster.time.nowMs) / 5)
  for (let i = 0; cluster.time.nowMs < endMs; i++) {
    await cluster.time.sleep(cluster.between(0, 700))
    const up = isUp(cluster)
    if (up.length === 0) continue
    const key = cluster.pick(cluster.time.nowMs < quietMs ? keys : busyKeys)
    await carryOut(cluster, { by: name, through: cluster.pick(up), key, token: cluster.chance(0.4) ? undefined : `${name}${i}`, record })
  }
}

/** Appends a token that no other has, or reads. What is recorded is what the client may count on. Whether it was told anything. */
export async function carryOut (cluster: World, { by, through, key, token, record }: { by: string, through: string, key: string, token: string | undefined, record: (operation: Recorded) => void }): Promise<boolean> {
  const registers = cluster.registersOf(through)
  if (registers === undefined) return false
  const startMs = cluster.time.nowMs
  const outcome = await Promise.race([run(registers, key, token), cluster.time.sleep(8_000).then((): Outcome => ({ kind: 'unknown' }))])
  const what = `${by} ${token === undefined ? 'reads' : `appends ${token}`} through ${through}`
  const base = { key, token, startMs, told: undefined, isNothing: false }
  if (outcome.kind === 'told') {
    record({ ...base, what: `${what}: ${outcome.seen}`, endMs: cluster.time.nowMs, told: outcome.seen?.split('.').slice(1) ?? [] })
    return true
  }
  if (token !== undefined) record({ ...base, what: `${what}: ${outcome.kind}`, endMs: Infinity, isNothing: outcome.kind === 'nothing' })
  return false
}

type Outcome = { readonly kind: 'told', readonly seen: State } | { readonly kind: 'unknown' } | { readonly kind: 'nothing' }

async function run (registers: Registers, key: string, token: string | undefined): Promise<Outcome> {
  try {
    if (token === undefined) return { kind: 'told', seen: textAt(await registers.read(addressOf(key))) }
    return { kind: 'told', seen: await registers.change<State>(addressOf(key), (current): Change<State> => {
      const next = `${textAt(current) ?? ''}.${token}`
      return { kind: 'write', value: utf8(next), result: next }
    }) }
  } catch (error) {
    // whatever else it says: a write may have happened
    return error instanceof UnknownOutcome || !(error instanceof Error) || error.name !== 'Unavailable' ? { kind: 'unknown' } : { kind: 'nothing' }
  }
}

const textAt = (value: Uint8Array | undefined): State => (value === undefined ? undefined : textOf(value))

/** In good weather: everybody comes back, the layout settles, and what was acknowledged is there, with any one of the nodes dead too. */
async function aftermath (cluster: World, record: (operation: Recorded) => void): Promise<string[]> {
  cluster.split([])
  Object.assign(cluster.weather, { loss: 0, duplicates: 0, stragglers: 0 })
  await cluster.time.sleep(70_000)
  for (const name of names) if (cluster.process(name) !== undefined && !cluster.isAlive(name)) await cluster.start(name)
  const untilMs = cluster.time.nowMs + 600_000
  let calmMs = 0
  while (cluster.time.nowMs < untilMs && calmMs < 12_000) {
    await cluster.time.sleep(1_000)
    const layouts = isUp(cluster).map((name) => cluster.process(name)?.state.layout)
    const isCalm = layouts.every((layout) => layout?.state === 'settled' && layout.version === layouts[0]?.version)
    calmMs = isCalm ? calmMs + 1_000 : 0
  }
  if (calmMs < 12_000) return [`the layout does not settle: ${isUp(cluster).map((name) => { const of = cluster.process(name); return `${name} ${of?.state.layout.version} ${of?.state.layout.state} ${of?.keeper.trouble ?? ''}` }).join('; ')}`]
  const violations: string[] = []
  for (const dead of [undefined, cluster.pick(isUp(cluster))]) {
    if (dead !== undefined) { cluster.kill(dead); await cluster.time.sleep(1_000) }
    for (const key of keys) {
      let isTold = false
      for (let attempt = 0; attempt < 20 && !isTold; attempt++) {
        isTold = await carryOut(cluster, { by: 'last', through: cluster.pick(isUp(cluster)), key, token: undefined, record })
        if (!isTold) await cluster.time.sleep(1_000)
      }
      if (!isTold) violations.push(`row ${key} cannot be read${dead === undefined ? '' : ` with ${dead} dead`}`)
    }
  }
  return violations
}
