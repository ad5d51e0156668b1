import { utf8 } from '../../src/base/bytes.ts'
import { Conflict } from '../../src/base/errors.ts'
import type { Objects } from '../../src/objects/index.ts'
import type { World } from './world.ts'

export const datedBucket = 'dated'

export interface DatedParts {
  readonly world: World
  readonly objects: (name: string) => Objects
  readonly up: () => readonly string[]
  /** The one whose clock may be wrong. */
  readonly wrong: string
  /** A part of what clients put. */
  readonly text: () => string
  readonly isTrouble: () => boolean
  readonly violations: string[]
}

interface Dated { readonly key: string, readonly versionId: string, readonly text: string, /** By the right clock; undefined: it is not locked. */ readonly untilMs: number | undefined, isRemoved: boolean }

/** Nobody waits longer for an answer. */
const answerMs = 30_000

/**
 * A bucket where dates have a say: versions are retained, and what is old expires. One clock, on a node that is asked and votes, is wrong by an hour or by years: no
 * lock opens before its time, and nothing expires that is not old; when all clocks are right again, what was locked until then can be removed.
 */
export class DatedObjects {
  readonly #parts: DatedParts
  readonly #kept: Dated[] = []

  constructor (parts: DatedParts) { this.#parts = parts }

  async create (through: string): Promise<void> {
    const { objects } = this.#parts
    await objects(through).createBucket(datedBucket, { settings: { versioning: 'enabled', objectLock: {}, lifecycle: [{ id: 'old', isEnabled: true, prefix: '', expireDays: 300, noncurrentDays: 1 }] } }).catch((error: unknown) => { if (!(error instanceof Conflict)) throw error })
  }

  async client (): Promise<void> {
    const { world, up, wrong, isTrouble } = this.#parts
    for (let number = 0; isTrouble(); number++) {
      await world.time.sleep(world.between(1_000, 6_000))
      world.process(wrong)?.blocks?.lifecycle.now()
      const through = world.chance(0.5) && up().includes(wrong) ? wrong : world.pick(up())
      if (through === undefined) continue
      if (number < 6) await this.#put(through, `d${number}`)
      else await this.#pry(through)
    }
  }

  /** When all clocks are right. */
  async atTheEnd (): Promise<void> {
    const { world, up, objects, violations } = this.#parts
    for (const dated of this.#kept) {
      if (dated.isRemoved) continue
      await this.#read(dated)
      if (dated.untilMs === undefined || dated.untilMs > world.wallMs()) continue
      world.ledger.replaces(nameOf(dated))
      const through = world.pick(up())
      await this.#limited(async () => objects(through).remove(nameIn(dated), { versionId: dated.versionId })).catch((error: unknown) => {
        violations.push(`${nameOf(dated)} is locked no more by any clock, and cannot be removed through ${through}: ${String(error)}`)
      })
    }
  }

  async #put (through: string, key: string): Promise<void> {
    const { world, objects, text: contents } = this.#parts
    const text = contents()
    const untilMs = world.chance(0.7) ? world.wallMs() + Math.round(world.between(40_000, 150_000)) : undefined
    const put = { key: nameOf({ key }), version: undefined as string | undefined }
    const options = untilMs === undefined ? {} : { retention: { mode: 'compliance' as const, untilMs } }
    const info = await this.#limited(async () => world.ledger.puts.run(put, async () => objects(through).put(nameIn({ key }), oneOf(text), options))).catch((error: unknown) => { world.say(`${nameOf({ key })} through ${through}: ${String(error)}`) })
    if (put.version !== undefined) world.ledger.ended(put.version, info !== undefined)
    if (info === undefined) return
    world.say(`${nameOf({ key })} (${text}) is put through ${through}${untilMs === undefined ? '' : ', and locked'}`)
    this.#kept.push({ key, versionId: info.versionId, text, untilMs, isRemoved: false })
  }

  /** Tries to remove what is locked for as long as it may take. */
  async #pry (through: string): Promise<void> {
    const { world, objects, violations } = this.#parts
    const dated = world.pick(this.#kept.filter(({ untilMs, isRemoved }) => !isRemoved && untilMs !== undefined && untilMs > world.wallMs() + answerMs))
    if (dated === undefined) return
    const removal = await this.#limited(async () => objects(through).remove(nameIn(dated), { versionId: dated.versionId })).catch(() => undefined)
    if (removal === undefined) return
    dated.isRemoved = true
    violations.push(`${nameOf(dated)} is removed through ${through}, and was locked for ${Math.round(((dated.untilMs ?? 0) - world.wallMs()) / 1000)} s more`)
  }

  async #read (dated: Dated): Promise<void> {
    const { world, objects, up, violations } = this.#parts
    let failure = ''
    for (let attempt = 0; attempt < 8; attempt++) {
      const through = world.pick(up())
      try {
        let text = ''
        await this.#limited(async () => { for await (const bytes of (await objects(through).get(nameIn(dated), { versionId: dated.versionId })).body) text += String.fromCharCode(...bytes) })
        if (text !== dated.text) violations.push(`${nameOf(dated)} reads as ${text}, and was put as ${dated.text}`)
        return
      } catch (error) { failure = `through ${through}: ${String(error)}` }
      await world.time.sleep(2_000)
    }
    violations.push(`${nameOf(dated)} cannot be read ${failure}`)
  }

  async #limited<T> (act: () => Promise<T>): Promise<T> {
    return Promise.race([act(), this.#parts.world.time.sleep(answerMs).then((): T => { throw new Error('no answer') })])
  }
}

const nameIn = ({ key }: Pick<Dated, 'key'>): { bucket: string, key: string } => ({ bucket: datedBucket, key })
const nameOf = ({ key }: Pick<Dated, 'key'>): string => `${datedBucket}/${key}`
async function * oneOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }
