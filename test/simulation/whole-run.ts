import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { type Cid, digestOf } from '../../src/base/cid.ts'
import { partitionOf } from '../../src/base/bytes.ts'
import { Conflict, NotFound, Refused, StoreFull, Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import { blockHoldersOf } from '../../src/cluster/index.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import { type Bucket, type Objects, redundancyOf } from '../../src/objects/index.ts'
import { keptOf } from '../../src/objects/object-row.ts'
import { blocksOf, type Form, formOf, isInForm } from '../../src/objects/versions/stored.ts'
import type { Redundancy } from '../../src/replication/index.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { DatedObjects } from './dated-objects.ts'
import { proofOf, type PutUnderWay } from './ledger.ts'
import { blockOfLetter, isLarge } from './letters.ts'
import { type Condition, type ObjectOperation, type ObjectState, objectViolations, shortOf } from './object-history.ts'
import { World, type WorldVariant, type WorldWeather } from './world.ts'
import { worldTimes } from './world-blocks.ts'

export interface WholeRunOptions {
  readonly seed: number
  /** Virtual, of trouble; then it is good weather until everything is as it should be. */
  readonly minutes?: number
  readonly variant?: WorldVariant | undefined
}

export interface WholeRun {
  /** What a promise was broken by; empty: kept. */
  readonly violations: readonly string[]
  readonly operations: number
  /** Acknowledged puts and removals. */
  readonly acknowledged: number
  readonly read: number
  readonly layouts: number
  readonly collected: number
  readonly converted: number
  readonly repaired: number
  readonly messages: number
  readonly virtualMs: number
  /** Node-milliseconds: virtual time for which each node ran. */
  readonly nodeMs: number
  readonly events: readonly string[]
  /** Of everything that happened and was told, in hexadecimal. */
  readonly digest: string
}

const names = ['ann', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace'] as const
const letters = 'abcdefghWXYZ1234'.split('')

interface Climate { readonly weather: WorldWeather, readonly founders: number, readonly shards: { readonly k: number, readonly m: number }, readonly unlucky: string, readonly fate: 'rots' | 'dies for ever' | 'is put out' | 'forgets', readonly wrongClocks: 'one' | 'any', readonly wrong: string }

function climateOf (seed: number): Climate {
  const [random, clocks] = [seededRandom(seed ^ 0x51f15eed), seededRandom(seed ^ 0x0c10c4)]
  const chance = (share: number): boolean => random.fraction() < share
  const founders = 3 + Math.floor(random.fraction() * 4)
  const fates = ['rots', 'dies for ever', 'is put out', 'forgets'] as const
  return {
    founders,
    shards: founders >= 6 ? { k: 4, m: 2 } : founders === 5 ? { k: 3, m: 2 } : { k: 2, m: 1 },
    // of all that disks forget, and what dies with a node, one node alone has its share: more is more than is promised
    unlucky: names[Math.floor(random.fraction() * names.length)] as string,
    fate: fates[Math.floor(random.fraction() * fates.length)] as Climate['fate'],
    // dates have a say only where a majority of clocks is right; all else must hold whatever clocks say
    wrongClocks: clocks.fraction() < 0.6 ? 'one' : 'any',
    wrong: names[Math.floor(clocks.fraction() * founders)] as string,
    weather: {
      loss: chance(0.3) ? 0 : random.fraction() * 0.3,
      duplicates: random.fraction() * 0.2,
      maxLatencyMs: 2 + random.fraction() * 60,
      stragglers: chance(0.5) ? 0.01 : random.fraction() * 0.2,
      maxSyncMs: 1 + random.fraction() * 20,
    },
  }
}

/**
 * A small cluster that does everything at once: clients put, overwrite, delete, read and list objects that share blocks, whole and in shards, in buckets that
 * stay, and are set to another redundancy, and buckets that go; nodes join, drain, die, come back, one for ever not, or put out by an era; disks rot, fill up, hang and lose what was not synced; the network loses,
 * doubles, delays and splits, also one way; wall clocks are wrong by an hour or by years, and step back. What clients were told must be what registers could have said; what was acknowledged must be read meanwhile; no
 * block may be taken away that is needed. Then the faults cease: full redundancy, and nothing but what is needed, must come back by itself.
 */
export async function simulateWhole ({ seed, minutes = 2, variant }: WholeRunOptions): Promise<WholeRun> {
  const climate = climateOf(seed)
  // compiled before: nothing may have a say while the run lasts but the virtual clock
  await erasureCode(climate.shards)
  const run = new Run(seed, climate, { variant, minutes })
  const { world } = run
  let isOver = false
  const story = run.all().then(() => { isOver = true })
  await Promise.race([world.time.run(() => isOver || world.time.nowMs > minutes * 60_000 + 2_400_000), story])
  if (!isOver) run.violations.push('it did not come to an end')
  variant?.undo?.()
  const violations = [...world.ledger.violations, ...world.violations, ...run.violations, ...objectViolations(run.history)]
  const lines = [...world.events, ...run.history.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(3)} ${endMs.toFixed(3)} ${key} ${what}`)]
  return {
    violations, operations: run.history.length, acknowledged: run.history.filter(({ did, endMs }) => endMs < Infinity && did.kind !== 'read' && did.kind !== 'refused').length,
    read: run.history.filter(({ did }) => did.kind === 'read').length, layouts: world.events.filter((line) => line.includes(': layout ')).length, collected: world.ledger.collectedCount, converted: world.ledger.convertedCount,
    repaired: run.repaired(), messages: world.messages, virtualMs: world.time.nowMs, nodeMs: world.nodeMs, events: lines, digest: hexOf(hash(utf8(lines.join('\n')))).slice(0, 32),
  }
}

const buckets = ['copies', 'shards'] as const
type BucketName = typeof buckets[number]
interface Name { readonly bucket: string, readonly key: string }
const textOf = ({ bucket, key }: Name): string => `${bucket}/${key}`

/** Keys that are written to, one after another: a history stays short enough to be judged, and those left alone show what a change of the layout, or repair, forgets. */
interface Slot { readonly bucket: BucketName, number: number, operations: number }

class Run {
  readonly world: World
  readonly history: ObjectOperation[] = []
  readonly violations: string[] = []
  readonly #climate: Climate
  readonly #minutes: number
  /** Of trouble, which begins when there is a cluster: in the worst weather the founders need most of a minute for that. */
  #endMs = Infinity
  readonly #slots: Slot[] = [0, 1, 2, 3].map((i) => ({ bucket: buckets[i % 2] as BucketName, number: i, operations: 0 }))
  readonly #quiet: Name[] = []
  readonly #dated: DatedObjects
  /** Of each version that was ever begun. */
  readonly #contents = new Map<string, string>()
  #nextKey = 4

  constructor (seed: number, climate: Climate, { variant, minutes }: { variant: WorldVariant | undefined, minutes: number }) {
    this.#climate = climate
    this.world = new World({ seed, names, founders: climate.founders, weather: climate.weather, variant, hasBlocks: true })
    this.#minutes = minutes
    const { world, violations } = this
    this.#dated = new DatedObjects({ world, violations, wrong: climate.wrong, objects: (name) => this.#objects(name), up: () => this.#up(), isTrouble: () => this.#isTrouble(), text: () => this.#text() })
  }

  async all (): Promise<void> {
    const { world } = this
    const founders = names.slice(0, this.#climate.founders)
    world.say(`${founders.join()}; ${this.#climate.shards.k}+${this.#climate.shards.m}; ${this.#climate.unlucky} ${this.#climate.fate}; ${this.#climate.wrongClocks === 'one' ? this.#climate.wrong : 'any'} has a wrong clock; ${JSON.stringify(world.weather)}`)
    await world.begin(founders.length)
    for (const name of founders) await this.#untilJoined(name, () => founders[0])
    const { k, m } = this.#climate.shards
    await this.#insist(async () => this.#objects(founders[0] as string).createBucket('copies'))
    await this.#insist(async () => this.#objects(founders[0] as string).createBucket('shards', { shards: `${k}+${m}` }))
    if (this.#climate.wrongClocks === 'one') await this.#insist(async () => this.#dated.create(founders[0] as string))
    this.#endMs = world.time.nowMs + this.#minutes * 60_000
    const dated = this.#climate.wrongClocks === 'one' ? [this.#dated.client()] : []
    await Promise.all([...[0, 1, 2, 3].map(async (i) => this.#client(`c${i}`)), this.#bucketClient(), ...dated, ...[...buckets, ...buckets].map(async (bucket, i) => this.#early({ bucket, key: `e${i}` })), this.#clocks(), this.#redundancies(), this.#trouble()])
    if (this.world.ledger.violations.length > 0) return
    await this.#aftermath()
  }

  repaired (): number { return names.reduce((sum, name) => { const total = this.world.process(name)?.blocks?.repairing.status()?.total; return sum + (total?.broughtBlocks ?? 0) + (total?.fetchedBlocks ?? 0) }, 0) }

  #isTrouble (): boolean { return this.world.time.nowMs < this.#endMs }
  #isPastThird (): boolean { return this.world.time.nowMs > this.#endMs - this.#minutes * 40_000 }
  #objects (name: string): Objects { const { blocks } = this.world.process(name) ?? {}; if (blocks === undefined) throw new Unavailable(`${name} does not run`); return blocks.objects }
  #up (): readonly string[] { return names.filter((name) => this.world.isAlive(name) && !this.#gone.has(name) && this.world.process(name)?.blocks !== undefined) }

  /** Stays as it is from the first minute to the last, whatever becomes of its blocks. */
  async #early (name: Name): Promise<void> {
    const { world } = this
    if (await this.#put('c', world.pick(this.#up()), name, { isPlain: true }) !== 'nothing') this.#quiet.push(name)
  }

  async #insist (act: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0, isDone = false; attempt < 60 && !isDone; attempt++) {
      isDone = await act().then(() => true, (error: unknown) => error instanceof Conflict)
      if (!isDone) await this.world.time.sleep(1000)
    }
  }

  /** However long it takes: nobody is part of the cluster who was not told so. Whom it asks may die over it, or be put out. */
  async #untilJoined (name: string, sponsor: () => string | undefined): Promise<void> {
    const { world } = this
    for (let isDone = false; !isDone;) {
      await world.time.sleep(500)
      const through = sponsor()
      isDone = through !== undefined && (await this.#outcome(through, async () => world.join(name, through))).kind === 'told'
    }
  }

  async #client (by: string): Promise<void> {
    const { world } = this
    for (; this.#isTrouble(); await world.time.sleep(world.between(0, 600))) {
      const through = world.pick(this.#up())
      if (through === undefined) continue
      const kind = world.random.fraction()
      if (kind < 0.12 && this.#quiet.length > 0) { await this.#get(by, through, world.pick(this.#quiet)); continue }
      if (kind < 0.17) { await this.#list(by, through, world.pick(buckets)); continue }
      const slot = world.pick(this.#slots)
      const name = { bucket: slot.bucket, key: `k${slot.number}` }
      if (++slot.operations > 18) {
        this.#quiet.push(name)
        slot.number = this.#nextKey++
        slot.operations = 0
      }
      if (kind < 0.55) await this.#put(by, through, name)
      else if (kind < 0.66) await this.#remove(by, through, name)
      else await this.#get(by, through, name)
    }
  }

  async #put (by: string, through: string, name: Name, { isPlain: isUnconditional = false } = {}): Promise<'stored' | 'unknown' | 'nothing'> {
    const { world } = this
    const text = this.#text()
    const last = this.history.findLast(({ key, did }) => key === textOf(name) && did.kind === 'put')?.did
    const kind = isUnconditional ? 1 : world.random.fraction()
    const condition: Condition = kind < 0.15 ? 'absent' : kind < 0.35 && last?.kind === 'put' ? { version: last.version } : undefined
    const etag = condition === undefined || condition === 'absent' ? undefined : this.#etags.get(condition.version)
    const isPlain = condition !== undefined && condition !== 'absent' && etag === undefined
    const isStill = this.#isTrouble() && world.chance(0.03)
    const put: PutUnderWay = { key: textOf(name), began: (id) => { this.#contents.set(id, text) } }
    const startMs = world.time.nowMs
    const outcome = await this.#outcome(through, async () => world.ledger.puts.run(put, async () => {
      const info = await this.#objects(through).put(name, this.#source(text, isStill ? put : undefined), condition === 'absent' ? { ifNoneMatch: '*' } : etag === undefined ? {} : { ifMatch: etag })
      this.#etags.set(info.versionId, info.etag)
      return info.versionId
    }), isStill ? 4 * worldTimes.giveUpAfterMs : 30_000)
    const version = put.version
    if (version !== undefined) world.ledger.ended(version, outcome.kind === 'told')
    const checked = isPlain ? undefined : condition
    const base = { key: textOf(name), startMs, what: `${by} puts ${shortOf(version)} (${text}${checked === undefined ? '' : checked === 'absent' ? ', if absent' : `, if ${shortOf(checked.version)}`}) through ${through}: ${outcome.text}` }
    if (outcome.kind === 'told') this.#note({ ...base, endMs: world.time.nowMs, did: { kind: 'put', version: outcome.result, condition: checked } })
    else if (outcome.kind === 'conflict' && checked !== undefined) this.#note({ ...base, endMs: world.time.nowMs, did: { kind: 'refused', condition: checked } })
    else if (outcome.kind === 'unknown' && version !== undefined) this.#note({ ...base, endMs: Infinity, did: { kind: 'put', version, condition: checked } })
    return outcome.kind === 'told' ? 'stored' : outcome.kind === 'unknown' ? 'unknown' : 'nothing'
  }

  #text (): string { return Array.from({ length: 1 + Math.floor(this.world.between(0, 4)) }, () => this.world.pick(letters)).join('') }

  readonly #etags = new Map<string, string>()
  #note (operation: ObjectOperation): void { this.history.push(operation) }

  /** A letter at a time; one that stands still does so before its last, for longer than an upload may. */
  async * #source (text: string, still: PutUnderWay | undefined): AsyncIterable<Uint8Array> {
    const { time, ledger } = this.world
    for (const [i, letter] of text.split('').entries()) {
      if (still !== undefined && i === text.length - 1) {
        await time.sleep(worldTimes.giveUpAfterMs)
        if (still.version !== undefined) ledger.standsStill({ versionId: still.version })
        await time.sleep(worldTimes.giveUpAfterMs)
      } else await time.sleep(this.world.between(0, 60))
      yield utf8(letter)
    }
  }

  async #remove (by: string, through: string, name: Name): Promise<void> {
    const { world } = this
    world.ledger.replaces(textOf(name))
    const startMs = world.time.nowMs
    const outcome = await this.#outcome(through, async () => this.#objects(through).remove(name))
    world.ledger.replaces(textOf(name))
    if (outcome.kind === 'told' || outcome.kind === 'unknown') this.#note({ key: textOf(name), startMs, endMs: outcome.kind === 'told' ? world.time.nowMs : Infinity, what: `${by} removes it through ${through}: ${outcome.text}`, did: { kind: 'remove' } })
  }

  /** What is wrong, in words. */
  async #get (by: string, through: string, name: Name): Promise<string | undefined> {
    const { world } = this
    const startMs = world.time.nowMs
    // the row says it, whether its blocks are found or not
    let seen: { readonly version: ObjectState, readonly atMs: number } | undefined
    const outcome = await this.#outcome(through, async () => {
      const { info, body } = await this.#objects(through).get(name).catch((error: unknown) => { if (error instanceof NotFound) { seen = { version: undefined, atMs: world.time.nowMs }; return { info: undefined, body: [] } } throw error })
      if (info === undefined) return ''
      seen = { version: info.versionId, atMs: world.time.nowMs }
      let text = ''
      for await (const bytes of body) text += String.fromCharCode(...bytes)
      const expected = this.#contents.get(info.versionId)
      if (expected !== text) this.violations.push(`${textOf(name)} reads as ${text} through ${through}: version ${shortOf(info.versionId)} is ${expected}`)
      return text
    })
    if (seen === undefined) return `${textOf(name)} cannot be read through ${through}: ${outcome.text}`
    this.#note({ key: textOf(name), startMs, endMs: seen.atMs, what: `${by} reads ${shortOf(seen.version)} through ${through}`, did: { kind: 'read', saw: seen.version } })
    return outcome.kind === 'told' ? undefined : `${textOf(name)} (${shortOf(seen.version)}) cannot be read through ${through}: ${outcome.text}`
  }

  async #list (by: string, through: string, bucket: BucketName): Promise<void> {
    const { world } = this
    const startMs = world.time.nowMs
    const keys = [...this.#slots.filter((slot) => slot.bucket === bucket).map(({ number }) => `k${number}`), ...this.#quiet.filter((name) => name.bucket === bucket).map(({ key }) => key)]
    const outcome = await this.#outcome(through, async () => {
      const found = new Map<string, string>()
      for (let after: string | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) {
        const page = await this.#objects(through).list(bucket, { after, limit: world.chance(0.5) ? 3 : 1000 })
        for (const { key, versionId } of page.objects) found.set(key, versionId)
        after = page.next
      }
      return found
    })
    if (outcome.kind !== 'told') return
    // key by key; those that are busy, for a history is to stay short
    for (const key of keys.slice(0, 4)) this.#note({ key: `${bucket}/${key}`, startMs, endMs: world.time.nowMs, what: `${by} lists ${shortOf(outcome.result.get(key))} through ${through}`, did: { kind: 'read', saw: outcome.result.get(key) } })
  }

  /** A put that is acknowledged and a removal of its bucket that is acknowledged exclude each other. */
  async #bucketClient (): Promise<void> {
    const { world } = this
    for (let number = 0; this.#isTrouble(); number++) {
      await world.time.sleep(world.between(500, 6_000))
      const bucket = `gone${number}`
      const [a, b] = [world.pick(this.#up()), world.pick(this.#up())]
      if (a === undefined || b === undefined) continue
      const isMade = await this.#outcome(a, async () => this.#objects(a).createBucket(bucket))
      if (isMade.kind !== 'told') continue
      const [put, removed] = await Promise.all([
        world.time.sleep(world.between(0, 60)).then(async () => this.#put('cb', a, { bucket, key: 'k' }, { isPlain: true })),
        world.time.sleep(world.between(0, 200)).then(async () => this.#outcome(b, async () => this.#objects(b).removeBucket(bucket))),
      ])
      if (put === 'stored' && removed.kind === 'told') this.violations.push(`a put into ${bucket} through ${a} is acknowledged, and so is its removal through ${b}`)
      // a removal that was broken off leaves it being removed, until it is repeated or somebody puts
      if (put === 'stored' && removed.kind === 'conflict') this.#quiet.push({ bucket, key: 'k' })
    }
  }

  /** What a client is told; a node that dies under it, or does not answer, leaves it not knowing. */
  async #outcome<T> (through: string, run: () => Promise<T>, mostMs = 30_000): Promise<Outcome<T>> {
    const { world } = this
    const process = world.process(through)
    if (process?.isAlive !== true) return { kind: 'nothing', text: 'it is down' }
    let isDone = false
    const told = run().then(
      (result): Outcome<T> => ({ kind: 'told', result, text: 'done' }),
      (error: unknown): Outcome<T> => {
        const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
        if (error instanceof Conflict) return { kind: 'conflict', text }
        if (error instanceof Unavailable || error instanceof StoreFull || error instanceof NotFound || error instanceof Refused) return { kind: 'nothing', text }
        return { kind: 'unknown', text }
      })
    const died = async (): Promise<Outcome<T>> => {
      const endMs = world.time.nowMs + mostMs
      while (process.isAlive && world.time.nowMs < endMs && !isDone) await world.time.sleep(200)
      return isDone ? new Promise<never>(() => {}) : { kind: 'unknown', text: process.isAlive ? 'no answer' : 'it died' }
    }
    return Promise.race([told.finally(() => { isDone = true }), died()])
  }

  async #trouble (): Promise<void> {
    const { world } = this
    const { unlucky, fate, founders } = this.#climate
    const [joined, begun] = [new Set<string>(names.slice(0, founders)), new Set<string>(names.slice(0, founders))]
    const draining = new Set<string>()
    const isGone = (name: string): boolean => this.#gone.has(name)
    let calmMs = world.time.nowMs + world.between(25_000, 60_000)
    while (this.#isTrouble()) {
      await world.time.sleep(world.between(300, 5_000))
      if (world.time.nowMs > calmMs) {
        await this.#calm()
        calmMs = world.time.nowMs + world.between(25_000, 60_000)
      }
      const up = this.#up()
      const through = world.pick(up.length > 0 ? up : names)
      const target = world.pick([...joined])
      const kind = world.random.fraction()
      if (kind < 0.12) {
        const fresh = names.find((name) => !begun.has(name))
        if (fresh === undefined) continue
        begun.add(fresh)
        void this.#untilJoined(fresh, () => world.pick(this.#up())).then(async () => {
          joined.add(fresh)
          world.say(`${fresh} has joined`)
          await world.start(fresh)
        })
      } else if (kind < 0.22) {
        const isDraining = !draining.has(target)
        // places for every shard stay
        if (isDraining && joined.size - draining.size - this.#gone.size <= Math.max(3, this.#climate.shards.k + this.#climate.shards.m)) continue
        if (isDraining) draining.add(target)
        else draining.delete(target)
        world.say(`${target} ${isDraining ? 'drains' : 'drains no more'}`)
        void world.drain(target, isDraining, through).catch(() => {})
      } else if (kind < 0.5) {
        if (!isGone(target)) void this.#crash(target, world.chance(0.2) ? world.between(25_000, 45_000) : world.between(200, 8_000))
      } else if (kind < 0.62) {
        world.breakLinks(names, 15_000)
      } else if (kind < 0.66) {
        await this.#powerFails()
      } else if (kind < 0.72) {
        if (!world.disk(target).isFull) {
          world.fill(target, true)
          void world.time.sleep(world.between(1_000, 15_000)).then(() => { if (world.disk(target).isFull) world.fill(target, false) })
        }
      } else if (kind < 0.79) {
        world.hang(target, world.between(500, 12_000))
      } else if (joined.has(unlucky) && !isGone(unlucky)) {
        if (fate === 'rots') this.#rot(unlucky)
        else if (fate === 'forgets') await world.forget(unlucky)
        else if (fate === 'is put out') {
          if (this.#isPastThird() && through !== unlucky && this.#mayGo(joined.size - draining.size)) await this.#putOut(unlucky, through)
        } else if (this.#isPastThird() && this.#mayGo(joined.size - draining.size) && world.isAlive(unlucky)) {
          this.#gone.add(unlucky)
          world.kill(unlucky)
          world.say(`${unlucky} is gone for ever`)
        }
      }
    }
  }

  readonly #gone = new Set<string>()
  #mayGo (count: number): boolean { return count > Math.max(3, this.#climate.shards.k + this.#climate.shards.m - 1) }

  /** Through whom somebody was put out, and whether one of those died since. */
  readonly #removedThrough = new Set<string>()
  #hasDiedOverEra = false

  /** By an era without it. Once that was tried it may have been, and it is tried until it is; the node knows nothing of it. */
  async #putOut (name: string, through: string): Promise<void> {
    const { world } = this
    this.#gone.add(name)
    if (world.isAlive(name) && world.chance(0.5)) this.#rotBeside(name)
    world.say(`${name} is put out through ${through}`)
    void (async () => {
      for (let isDone = false, at = through; !isDone; at = world.pick(this.#up())) {
        if (at !== undefined) this.#removedThrough.add(at)
        isDone = at !== undefined && await this.#outcome(at, async () => world.remove(name, at)).then(({ kind, text }) => { world.say(`${name} is put out through ${at}: ${text}`); return kind === 'told' })
        await world.time.sleep(3_000)
      }
    })()
  }

  /** What is in a bucket is to be kept otherwise from now on. */
  async #redundancies (): Promise<void> {
    const { world } = this
    const { k, m } = this.#climate.shards
    const is = { copies: JSON.stringify({ copies: 3 }), shards: JSON.stringify({ shards: `${k}+${m}` }) }
    while (this.#isTrouble()) {
      const [bucket, through] = [world.pick(buckets), world.pick(this.#up())]
      if (through !== undefined) {
        const to = world.pick([{ copies: 2 }, { copies: 3 }, { shards: `${k}+${m}` }, { shards: `${k}+${m}` }].filter((other) => JSON.stringify(other) !== is[bucket]))
        is[bucket] = JSON.stringify(to)
        const outcome = await this.#outcome(through, async () => this.#objects(through).setRedundancy(bucket, to))
        world.say(`${bucket} is set to ${to.shards ?? to.copies} through ${through}: ${outcome.text}`)
      }
      await world.time.sleep(world.between(4_000, 20_000))
    }
  }

  /** As a person does: otherwise what was put while a bucket was changed is looked for once an hour. */
  #convert (): void { for (const name of this.#up()) this.world.process(name)?.blocks?.conversion.now() }

  /** Wall clocks are set wrong, and right again. */
  async #clocks (): Promise<void> {
    const { world } = this
    const { wrongClocks, wrong, founders } = this.#climate
    const hourMs = 3_600_000
    while (this.#isTrouble()) {
      await world.time.sleep(world.between(2_000, 15_000))
      const years = 10 * 365.25 * 24 * hourMs
      world.setClock(wrongClocks === 'one' ? wrong : world.pick(names.slice(0, founders + 1)), world.pick([0, hourMs, -hourMs, years, years, -years, world.between(-hourMs, hourMs)]))
    }
    for (const name of names) if (world.disk(name).aheadMs !== 0) world.setClock(name, 0)
  }

  #rot (name: string): void {
    const { world } = this
    if (!world.isAlive(name)) return
    if (world.chance(0.15) && !this.#hasLostRows) {
      this.#hasLostRows = true
      const used = world.partitionsOf(name)
      if (used.length > 0) world.rot(name, world.pick(used))
      return
    }
    world.flip(name)
  }

  /** Somebody else has lost rows that this one has, before it is first tried to put it out: when it is out, or dead, it would be more than is promised. */
  #rotBeside (name: string): void {
    const { world } = this
    const known = world.partitionsOf(name)
    const forgetful = world.pick(this.#up())
    const shared = forgetful === undefined ? [] : world.partitionsOf(forgetful).filter((partition) => known.includes(partition))
    if (forgetful !== undefined && shared.length > 0) world.rot(forgetful, world.pick(shared))
  }

  #hasLostRows = false

  async #crash (name: string, downMs: number): Promise<void> {
    const { world } = this
    if (!world.isAlive(name)) return
    if (this.#removedThrough.has(name)) this.#hasDiedOverEra = true
    world.kill(name)
    await world.time.sleep(downMs)
    if (!world.isAlive(name) && !this.#gone.has(name)) await world.start(name)
  }

  /** Everywhere at once. */
  async #powerFails (): Promise<void> {
    const { world } = this
    world.say('the power fails')
    for (const name of this.#up()) void this.#crash(name, world.between(500, 4_000))
    await world.time.sleep(5_000)
  }

  /** For a while nothing new goes wrong, and all but who is gone are up: what was acknowledged is read. */
  async #calm (): Promise<void> {
    const { world } = this
    const weather = { ...world.weather }
    await this.#good()
    world.say('calm')
    await world.time.sleep(8_000)
    await this.#readQuiet('meanwhile')
    if (this.#isTrouble()) Object.assign(world.weather, weather)
    world.say('calm is over')
  }

  async #good (): Promise<void> {
    const { world } = this
    world.cut([])
    Object.assign(world.weather, { loss: 0, duplicates: 0, stragglers: 0 })
    for (const name of names) {
      world.disk(name).hangsUntilMs = 0
      if (world.disk(name).isFull) world.fill(name, false)
      if (world.process(name) !== undefined && !world.isAlive(name) && !this.#gone.has(name)) await world.start(name)
    }
  }

  async #readQuiet (why: string): Promise<void> {
    const { world } = this
    for (const name of this.#quiet) {
      let failure: string | undefined = ''
      for (let attempt = 0; attempt < 8 && failure !== undefined; attempt++) {
        const through = world.pick(this.#up())
        failure = await this.#get(why, through, name)
        if (failure !== undefined) await world.time.sleep(2_000)
      }
      if (failure !== undefined) this.violations.push(`${why}: ${failure}`)
    }
  }

  async #aftermath (): Promise<void> {
    const { world } = this
    await world.time.sleep(1_000)
    for (const slot of this.#slots) this.#quiet.push({ bucket: slot.bucket, key: `k${slot.number}` })
    await this.#good()
    world.say('the faults have ceased')
    // whoever was to come back has; what was begun has ended
    await world.time.sleep(50_000)
    await this.#good()
    await this.#invitesAnew()
    this.#convert()
    const untilMs = world.time.nowMs + 450_000
    let wrong: readonly string[] = ['']
    while (wrong.length > 0 && world.time.nowMs < untilMs) {
      await world.time.sleep(5_000)
      wrong = await this.#remains()
      if (wrong.some((line) => line.includes('is set to'))) this.#convert()
    }
    world.say('it is over')
    this.violations.push(...wrong.slice(0, 10))
    await this.#readQuiet('at the end')
    await this.#dated.atTheEnd()
    const dead = world.pick(this.#up())
    world.kill(dead)
    await world.time.sleep(1_000)
    await this.#readQuiet(`with ${dead} dead`)
  }

  /** Who joined while an era began, and whoever made that died before it had found them (docs/LIMITS.md). */
  async #invitesAnew (): Promise<void> {
    const { world } = this
    if (!this.#hasDiedOverEra) return
    for (const name of this.#up()) {
      const others = this.#up().filter((other) => other !== name)
      if (!others.every((other) => !world.belongs(name, other))) continue
      world.say(`${name} is invited anew`)
      await this.#untilJoined(name, () => world.pick(others))
    }
  }

  /** What is not as it should be when faults have ceased: the layout changes, something is short, or stays that nobody needs. */
  async #remains (): Promise<readonly string[]> {
    const { world } = this
    const up = this.#up()
    const [first] = up
    const layout = first === undefined ? undefined : world.process(first)?.state.layout
    if (first === undefined || layout === undefined || up.some((name) => world.process(name)?.state.layout.version !== layout.version || layout.state !== 'settled')) return [`the layout does not settle: ${up.map((name) => { const of = world.process(name); return `${name} ${of?.state.layout.version} ${of?.state.layout.state} ${of?.keeper.trouble ?? ''}` }).join('; ')}`]
    for (const name of this.#gone) if (up.some((other) => world.isConnected(name, other)) || (this.#climate.fate === 'is put out' && layout.members.some(({ peerId }) => peerId === peerNamed(name)))) return [`${name} was put out, and is let in`]
    const rows = world.objectRows(layout)
    const buckets = await this.#objects(first).listBuckets().catch(() => undefined)
    if (buckets === undefined) return [`buckets cannot be listed through ${first}`]
    const bucketsById = new Map(buckets.map((bucket) => [bucket.id, bucket]))
    const wrong: string[] = []
    const live = new Set<string>(rows.flatMap((row) => [...row.pending, ...row.current === undefined ? [] : [row.current], ...keptOf(row)].map((version) => hexOf(hash(proofOf(blocksOf(version)))))))
    const needed = new Map<Cid, Map<string, Redundancy>>()
    for (const { bucketId, key, pending, dropped, current } of rows) {
      if (pending.length > 0) wrong.push(`an upload of ${key} is never given up`)
      if (dropped.length > 0) wrong.push(`a dead version of ${key} is still owed a proof`)
      const bucket = bucketsById.get(hexOf(bucketId))
      if (current === undefined || bucket === undefined) continue
      const form = formOf(current, bucket)
      // one that was set while there were nodes enough waits for them to come back
      if (!isInForm(current, bucket) && widthOf(bucket) <= new Set(layout.blockHolders.flat()).size) wrong.push(`${key} is kept in ${textOfForm(form)}, and ${bucket.name} is set to ${bucket.shards ?? bucket.copies}`)
      for (const letter of String.fromCharCode(...current.content)) {
        if (!/[a-zA-Z]/.test(letter)) continue
        const { cid } = blockOfLetter(letter)
        const redundancy = form.redundancy !== undefined && isLarge(letter) ? form.redundancy : { k: 1, m: form.copies - 1 }
        needed.set(cid, (needed.get(cid) ?? new Map<string, Redundancy>()).set(`${redundancy.k}+${redundancy.m}`, redundancy))
      }
    }
    for (const [cid, redundancies] of needed) {
      const places = blockHoldersOf(layout, partitionOf(digestOf(cid)))
      for (const { k, m } of redundancies.values()) {
        const found = new Set<string>()
        for (const name of up) {
          const stores = world.process(name)?.blocks?.stores
          if (stores === undefined) continue
          if (k === 1) { if (places.slice(0, 1 + m).includes(peerNamed(name)) && await isRight(async () => stores.blocks.get(cid))) found.add(name); continue }
          for await (const shard of stores.blocks.shards.of(cid)) if (shard.k === k && shard.m === m && await isRight(async () => stores.blocks.shards.get(shard))) found.add(`shard ${shard.index}`)
        }
        const want = Math.min(k + m, places.length)
        if (found.size < want) wrong.push(`block ${cid.slice(-6)} has ${found.size} of ${want} (${k}+${m}): ${[...found].join()}; placed at ${places.map((peer) => names.find((name) => peerNamed(name) === peer)).join()}`)
      }
    }
    for (const name of up) {
      const stores = world.process(name)?.blocks?.stores
      if (stores === undefined) continue
      const here = new Set<Cid>()
      for await (const cid of stores.blocks.list()) here.add(cid)
      for await (const { cid } of stores.blocks.shards.list()) here.add(cid)
      for (const cid of here) {
        if (!needed.has(cid) && await hasReferences(stores, cid)) wrong.push(`garbage stays: ${cid.slice(-6)} at ${name}`)
        for await (const { versionId } of stores.holder.references(cid)) if (!live.has(hexOf(versionId))) wrong.push(`${name} keeps ${cid.slice(-6)} for version ${hexOf(versionId).slice(0, 8)}, which nothing needs`)
      }
    }
    return wrong
  }
}

const widthOf = (bucket: Bucket): number => { const { large: { k, m } } = redundancyOf(bucket); return k === 1 ? 1 : k + m }

const textOfForm = ({ copies, redundancy }: Form): string => redundancy === undefined ? `${copies} copies` : `${redundancy.k}+${redundancy.m}`

type Outcome<T> = { readonly kind: 'told', readonly result: T, readonly text: string } | { readonly kind: 'unknown' | 'nothing' | 'conflict', readonly text: string }

async function isRight (read: () => Promise<unknown>): Promise<boolean> { return read().then(() => true, () => false) }

/** What was put and is referred to by nothing is kept for ever, and is no garbage by what a holder can know. */
async function hasReferences ({ holder, condemned }: { holder: { references: (cid: Cid) => AsyncIterable<unknown> }, condemned: { isCondemned: (cid: Cid) => Promise<boolean> } }, cid: Cid): Promise<boolean> {
  for await (const _ of holder.references(cid)) return true
  return condemned.isCondemned(cid)
}
