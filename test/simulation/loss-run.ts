import { equals, fromHex, hexOf, partitionOf, utf8 } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { Conflict, NotFound, Refused, StoreFull, Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import { replicasOf } from '../../src/cluster/index.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import type { Objects } from '../../src/objects/index.ts'
import { clusterScope } from '../../src/objects/describe.ts'
import { decodeObjectRow } from '../../src/objects/object-row.ts'
import { type RowAddress, type StoredRow, tables } from '../../src/tables/index.ts'
import { compareBallots } from '../../src/tables/ballot.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import type { BlockStores } from '../../src/node/stores.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { PutUnderWay } from './ledger.ts'
import { blockOfLetter, isLarge } from './letters.ts'
import { type ObjectOperation, type ObjectState, objectViolations, shortOf } from './object-history.ts'
import { World, type WorldVariant, type WorldWeather } from './world.ts'

export interface LossRun {
  /** What a promise was broken by; empty: kept. */
  readonly violations: readonly string[]
  readonly operations: number
  readonly acknowledged: number
  readonly messages: number
  readonly virtualMs: number
  readonly nodeMs: number
  readonly events: readonly string[]
  readonly digest: string
}

const names = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'] as const
const letters = 'abcdefWXYZ12'.split('')
const keys = Array.from({ length: 10 }, (_, i) => `k${i}`)
/** Written early, and left alone until the majority is gone. */
const quietKeys = keys.slice(5)
const shards = { k: 2, m: 1 } as const

interface Climate { readonly weather: WorldWeather, readonly count: number, readonly lostCount: number, readonly isChanging: boolean }

function climateOf (seed: number): Climate {
  const random = seededRandom(seed ^ 0x1057)
  const count = 4 + Math.floor(random.fraction() * 4)
  return {
    count, lostCount: Math.ceil(count / 2), isChanging: random.fraction() < 0.5,
    weather: { loss: random.fraction() < 0.4 ? 0 : random.fraction() * 0.15, duplicates: random.fraction() * 0.2, maxLatencyMs: 2 + random.fraction() * 40, stragglers: random.fraction() * 0.1, maxSyncMs: 1 + random.fraction() * 15 },
  }
}

/**
 * A majority dies for good, in the middle of everything, now and then while a layout changes; a person gives it up at a survivor, again and again until that is
 * done. What a survivor had accepted is what there is, or what was written since; what is readable is read, of blocks that a survivor had. Survivors die and come
 * back while it goes on. Then the lost come back: nobody lets them in, nothing is done through them, and nothing of theirs is read.
 */
export async function simulateLoss ({ seed, variant }: { readonly seed: number, readonly variant?: WorldVariant | undefined }): Promise<LossRun> {
  await erasureCode(shards)
  const run = new Run(seed, climateOf(seed), variant)
  const { world } = run
  let isOver = false
  const story = run.all().then(() => { isOver = true })
  await Promise.race([world.time.run(() => isOver || world.time.nowMs > 1_200_000), story])
  variant?.undo?.()
  const violations = [...run.violations, ...isOver ? objectViolations(observed(run.history)) : ['it did not come to an end']]
  const lines = [...world.events, ...run.history.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(3)} ${endMs.toFixed(3)} ${key} ${what}`)]
  return {
    violations, operations: run.history.length, acknowledged: run.acknowledged, messages: world.messages, virtualMs: world.time.nowMs, nodeMs: world.nodeMs,
    events: lines, digest: hexOf(hash(utf8(lines.join('\n')))).slice(0, 32),
  }
}

class Run {
  readonly world: World
  readonly names: readonly string[]
  #historyBeganMs = 0
  history: ObjectOperation[] = []
  readonly violations: string[] = []
  acknowledged = 0
  readonly #climate: Climate
  readonly #contents = new Map<string, string>()
  #through: readonly string[]
  #isWriting = true
  /** Ids of buckets. */
  readonly #scopes = new Map<string, Uint8Array>()
  /** Keys whose blocks no survivor may have any more. */
  readonly #excused = new Set<string>()

  constructor (seed: number, climate: Climate, variant: WorldVariant | undefined) {
    this.#climate = climate
    this.names = names.slice(0, climate.count)
    this.#through = this.names
    this.world = new World({ seed, names: this.names, founders: climate.isChanging ? climate.count - 1 : climate.count, weather: climate.weather, variant, hasBlocks: true })
  }

  async all (): Promise<void> {
    const { world } = this
    const { count, lostCount, isChanging } = this.#climate
    const founders = isChanging ? count - 1 : count
    await world.begin(founders)
    for (const name of this.names.slice(0, founders)) await this.#insist(async () => world.join(name, 'ann'))
    await this.#insist(async () => this.#objects('ann').createBucket('copies'))
    await this.#insist(async () => this.#objects('ann').createBucket('shards', { shards: `${shards.k}+${shards.m}` }))
    for (const bucket of ['copies', 'shards']) await this.#insist(async () => { this.#scopes.set(bucket, fromHex((await this.#objects('ann').bucket(bucket)).id)) })
    for (const key of quietKeys) await this.#put(key)
    const clients = [0, 1, 2].map(async () => this.#client())
    await world.time.sleep(world.between(3_000, 15_000))
    const last = this.names.at(-1) as string
    if (isChanging) {
      await world.start(last)
      await this.#insist(async () => world.join(last, 'ann'))
      await world.time.sleep(world.between(200, 4_000))
    }
    const [lost, left] = this.#parted(lostCount, this.names.slice(0, founders))
    const knowing = world.pick(left)
    // what is chosen then, one survivor alone knows, whichever
    const deaf = left.filter((name) => name !== knowing)
    world.split(deaf)
    await world.time.sleep(world.between(1_000, 4_000))
    for (const name of lost) world.kill(name)
    world.cut([])
    const lossMs = world.time.nowMs
    this.#through = left
    this.#isWriting = false
    world.say(`${lost.join()} are gone for good; left are ${left.join()}`)
    await this.#lookAtWhatIsLeft(left, lossMs)
    await Promise.all(clients)
    this.#isWriting = true
    const more = [0, 1].map(async () => this.#client())
    await this.#giveUp(left, lost)
    await world.time.sleep(world.between(2_000, 20_000))
    const back = lost.filter(() => world.chance(0.7))
    for (const name of back) await world.start(name)
    world.say(`${back.join()} are back`)
    await world.time.sleep(15_000)
    for (const name of back) if (left.some((other) => world.isConnected(name, other))) this.violations.push(`${name} was given up, and is let in`)
    this.#isWriting = false
    await Promise.all(more)
    await this.#calm(left)
    for (const name of back) await this.#mustFail(name)
    await this.#settles(left)
    for (const key of keys) for (const through of left) await this.#mustRead(key, through)
  }

  #objects (name: string): Objects { const { blocks } = this.world.process(name) ?? {}; if (blocks === undefined) throw new Unavailable(`${name} does not run`); return blocks.objects }
  #nameOf (key: string): { bucket: string, key: string } { return { bucket: Number(key.slice(1)) % 2 === 0 ? 'copies' : 'shards', key } }

  /** Who dies and who is left, at random: of the founders half at the least, or else those that are left have a majority where the last one has not been taken in. */
  #parted (lostCount: number, founders: readonly string[]): readonly [readonly string[], readonly string[]] {
    for (;;) {
      const lost = new Set<string>()
      while (lost.size < lostCount) lost.add(this.world.pick(this.names))
      if (2 * founders.filter((name) => lost.has(name)).length >= founders.length) return [this.names.filter((name) => lost.has(name)), this.names.filter((name) => !lost.has(name))]
    }
  }

  async #insist (act: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0, isDone = false; attempt < 60 && !isDone; attempt++) {
      isDone = await act().then(() => true, (error: unknown) => error instanceof Conflict)
      if (!isDone) await this.world.time.sleep(500)
    }
  }

  async #client (): Promise<void> {
    const { world } = this
    while (this.#isWriting) {
      await world.time.sleep(world.between(0, 500))
      const busy = this.#through === this.names ? keys.slice(0, 5) : keys
      const [key, kind] = [world.pick(busy), world.random.fraction()]
      if (kind < 0.5) await this.#put(key)
      else if (kind < 0.62) await this.#remove(key)
      else await this.#read(key, world.pick(this.#through))
    }
  }

  async #put (key: string): Promise<void> {
    const { world } = this
    const through = world.pick(this.#through)
    const text = Array.from({ length: 1 + Math.floor(world.between(0, 3)) }, () => world.pick(letters)).join('')
    const put: PutUnderWay = { key, began: (id) => { this.#contents.set(id, text) } }
    const startMs = world.time.nowMs
    const kind = await this.#outcome(through, async () => world.ledger.puts.run(put, async () => { await this.#objects(through).put(this.#nameOf(key), oneOf(text)) }))
    if (put.version === undefined || kind === 'nothing') return
    world.ledger.ended(put.version, kind === 'told')
    if (kind === 'told') this.acknowledged++
    this.history.push({ key, startMs, endMs: kind === 'told' ? world.time.nowMs : Infinity, what: `puts ${shortOf(put.version)} (${text}) through ${through}: ${kind}`, did: { kind: 'put', version: put.version, condition: undefined } })
  }

  async #remove (key: string): Promise<void> {
    const { world } = this
    const through = world.pick(this.#through)
    const startMs = world.time.nowMs
    const kind = await this.#outcome(through, async () => { await this.#objects(through).remove(this.#nameOf(key)) })
    if (kind === 'told') this.acknowledged++
    if (kind !== 'nothing') this.history.push({ key, startMs, endMs: kind === 'told' ? world.time.nowMs : Infinity, what: `removes it through ${through}: ${kind}`, did: { kind: 'remove' } })
  }

  async #read (key: string, through: string): Promise<string | undefined> {
    const { world } = this
    const startMs = world.time.nowMs
    let seen: { readonly version: ObjectState, readonly atMs: number } | undefined
    let failure = 'no answer'
    const kind = await this.#outcome(through, async () => {
      try {
        const { info, body } = await this.#objects(through).get(this.#nameOf(key))
        seen = { version: info.versionId, atMs: world.time.nowMs }
        let text = ''
        for await (const bytes of body) text += String.fromCharCode(...bytes)
        if (this.#contents.get(info.versionId) !== text) this.violations.push(`${key} reads as ${text}: version ${shortOf(info.versionId)} is ${this.#contents.get(info.versionId)}`)
      } catch (error) {
        failure = String(error)
        if (!(error instanceof NotFound)) throw error
        seen = { version: undefined, atMs: world.time.nowMs }
      }
    })
    // one that saw its row before the loss, and died over its blocks, is of the history before
    if (seen !== undefined && startMs >= this.#historyBeganMs) this.history.push({ key, startMs, endMs: seen.atMs, what: `reads ${shortOf(seen.version)} through ${through}`, did: { kind: 'read', saw: seen.version } })
    return kind === 'told' ? undefined : seen === undefined ? failure : `${shortOf(seen.version)}: ${failure}`
  }

  async #outcome (through: string, act: () => Promise<void>): Promise<'told' | 'nothing' | 'unknown'> {
    const { world } = this
    const process = world.process(through)
    if (process?.isAlive !== true) return 'nothing'
    let isDone = false
    const told = act().then(() => 'told' as const, (error: unknown) => error instanceof Unavailable || error instanceof Refused || error instanceof StoreFull ? 'nothing' as const : 'unknown' as const).finally(() => { isDone = true })
    const died = async (): Promise<'unknown'> => {
      const endMs = world.time.nowMs + 15_000
      while (process.isAlive && world.time.nowMs < endMs && !isDone) await world.time.sleep(100)
      return isDone ? new Promise<never>(() => {}) : 'unknown'
    }
    return Promise.race([told, died()])
  }

  /**
   * The history begins anew with what survivors have accepted: of each row the highest. What a client was told that no survivor knows may be there or not; what
   * ended before that began is not.
   */
  async #lookAtWhatIsLeft (left: readonly string[], lossMs: number): Promise<void> {
    const { world } = this
    const before = this.history
    this.history = []
    this.#historyBeganMs = world.time.nowMs
    for (const key of keys) {
      // where nobody is left who knows of its bucket, nothing of it is found any more
      const row = this.#isBucketLeft(left, this.#nameOf(key).bucket) ? this.#newestAt(left, { table: tables.objects, scope: this.#scopes.get(this.#nameOf(key).bucket) as Uint8Array, key: utf8(key) }) : 'no bucket'
      if (row === 'no bucket') { this.history.push({ key, startMs: 0, endMs: 0, what: 'survivors know of no such bucket', did: { kind: 'remove' } }); continue }
      const version = row?.accepted === undefined ? undefined : currentIn(row)
      const operations = before.filter((operation) => operation.key === key && operation.did.kind !== 'read')
      const own = operations.find(({ did }) => did.kind === 'put' && did.version === version)
      this.history.push({ key, startMs: 0, endMs: 0, what: `survivors have ${shortOf(version)}`, did: version === undefined ? { kind: 'remove' } : { kind: 'put', version, condition: undefined } })
      const later = operations.filter((operation) => operation !== own && operation.endMs >= (own?.startMs ?? 0))
      for (const operation of later) this.history.push({ ...operation, startMs: 0, endMs: Infinity, what: `${operation.what}; then a majority is gone` })
      if (version !== undefined && (later.length > 0 || !await this.#isLeft(left, version))) this.#excused.add(key)
    }
    world.say(`after ${Math.round(lossMs)}: ${this.#excused.size} of ${keys.length} may have lost blocks`)
  }

  #isBucketLeft (left: readonly string[], bucket: string): boolean { return this.#newestAt(left, { table: tables.buckets, scope: clusterScope, key: utf8(bucket) })?.accepted !== undefined }

  #newestAt (left: readonly string[], address: RowAddress): StoredRow | undefined {
    const { world } = this
    let newest: StoredRow | undefined
    const rowKey = plainCodec.rowKeyOf(address)
    for (const name of left) {
      const { layout } = world.process(name)?.state ?? {}
      for (const row of world.disk(name).rows.rows.values()) {
        if (row.table !== address.table || row.accepted === undefined || layout === undefined || !equals(row.rowKey, rowKey)) continue
        const replicas = [layout, ...layout.next === undefined ? [] : [layout.next]].flatMap((assignment) => replicasOf(assignment, partitionOf(row.rowKey)))
        if (!replicas.includes(peerNamed(name))) continue
        if (newest?.accepted === undefined || compareBallots(plainCodec.ballotOf(row.table, row.accepted), plainCodec.ballotOf(newest.table, newest.accepted)) > 0) newest = row
      }
    }
    return newest
  }

  /** Whether survivors keep, for this version, what it takes to read it: what one has for another alone goes with that, for who else needs it was known to the dead (0025). */
  async #isLeft (left: readonly string[], version: string): Promise<boolean> {
    for (const letter of this.#contents.get(version) ?? '') {
      if (!/[a-zA-Z]/.test(letter)) continue
      const { cid } = blockOfLetter(letter)
      const found = new Set<number>()
      let isWhole = false
      for (const name of left) {
        const stores = this.world.process(name)?.blocks?.stores
        if (stores === undefined || !await isKeptFor(stores, cid, version)) continue
        isWhole ||= await stores.blocks.get(cid as Cid).then(() => true, () => false)
        if (isLarge(letter)) for await (const { k, m, index } of stores.blocks.shards.of(cid)) if (k === shards.k && m === shards.m) found.add(index)
      }
      if (!isWhole && found.size < shards.k) return false
    }
    return true
  }

  /** Tried until it is done; survivors die and come back meanwhile. */
  async #giveUp (left: readonly string[], lost: readonly string[]): Promise<void> {
    const { world } = this
    let isDone = false
    const restarts = (async () => {
      for (let i = 0; i < 3 && !isDone; i++) {
        await world.time.sleep(world.between(500, 8_000))
        const name = world.pick(left)
        if (isDone || !world.isAlive(name) || world.chance(0.5)) continue
        world.kill(name)
        await world.time.sleep(world.between(200, 3_000))
        await world.start(name)
      }
    })()
    let failure = ''
    for (let attempt = 0; attempt < 60 && !isDone; attempt++) {
      await world.time.sleep(world.between(500, 3_000))
      const through = world.pick(left)
      const giving = world.forgetLost(through, lost).then(() => { isDone = true }, (error: unknown) => { failure = `${through}: ${String(error)}` })
      await Promise.race([giving, world.time.sleep(60_000)])
      world.say(isDone ? `${lost.join()} are given up at ${through}` : failure)
      if (attempt === 40) Object.assign(world.weather, { loss: 0, duplicates: 0, stragglers: 0 })
    }
    if (!isDone) this.violations.push(`what is lost cannot be given up: ${failure}`)
    await restarts
  }

  async #calm (left: readonly string[]): Promise<void> {
    const { world } = this
    Object.assign(world.weather, { loss: 0, duplicates: 0, stragglers: 0 })
    for (const name of left) if (!world.isAlive(name)) await world.start(name)
    await world.time.sleep(5_000)
  }

  async #mustFail (through: string): Promise<void> {
    const kind = await this.#outcome(through, async () => { await this.#objects(through).put({ bucket: 'copies', key: 'k0' }, oneOf('a')) })
    if (kind === 'told') this.violations.push(`${through} was given up, and acknowledges a put`)
  }

  async #settles (left: readonly string[]): Promise<void> {
    const { world } = this
    const untilMs = world.time.nowMs + 300_000
    const isSettled = (): boolean => left.every((name) => { const { layout } = world.process(name)?.state ?? {}; return layout?.state === 'settled' && layout.version === world.process(left[0] as string)?.state.layout.version && layout.members.length === left.length })
    while (!isSettled() && world.time.nowMs < untilMs) await world.time.sleep(1_000)
    if (!isSettled()) this.violations.push(`the layout does not settle: ${left.map((name) => { const of = world.process(name); return `${name} ${of?.state.layout.version} ${of?.state.layout.state} ${of?.keeper.trouble ?? ''}` }).join('; ')}`)
  }

  /** Of what was written since all blocks are there; of what is from before, those that a survivor had. */
  async #mustRead (key: string, through: string): Promise<void> {
    let failure: string | undefined = ''
    for (let attempt = 0; attempt < 6 && failure !== undefined; attempt++) {
      failure = await this.#read(key, through)
      if (failure !== undefined) await this.world.time.sleep(1_500)
    }
    const isExcused = this.#excused.has(key) && !this.history.some((operation) => operation.key === key && operation.startMs > 0 && operation.did.kind === 'put' && operation.endMs < Infinity)
    if (failure !== undefined && !isExcused) this.violations.push(`${key} cannot be read through ${through}: ${failure}`)
  }
}

/** Without what nobody knows to have happened, and nobody saw: it explains nothing here, where no operation has a condition, and the search is over soon. */
function observed (history: readonly ObjectOperation[]): readonly ObjectOperation[] {
  const seen = new Set(history.flatMap(({ key, did }) => did.kind === 'read' ? [`${key} ${did.saw}`] : []))
  return history.filter(({ key, endMs, did }) => endMs < Infinity || (did.kind === 'put' ? seen.has(`${key} ${did.version}`) : seen.has(`${key} undefined`)))
}

async function isKeptFor ({ holder }: BlockStores, cid: Cid, version: string): Promise<boolean> {
  for await (const { versionId } of holder.references(cid)) if (hexOf(versionId) === version) return true
  return false
}

async function * oneOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }

function currentIn ({ table, rowKey, accepted }: StoredRow): string | undefined {
  const { value } = openRecord(plainCodec, { table, rowKey, record: accepted as Uint8Array })
  const current = value === undefined ? undefined : decodeObjectRow(value).current
  return current === undefined ? undefined : hexOf(current.id)
}
