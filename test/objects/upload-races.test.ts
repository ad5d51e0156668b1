import { describe, expect, test } from 'vitest'
import { equals, fromHex, hexOf } from '../../src/base/bytes.ts'
import { Conflict } from '../../src/base/errors.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { NoSuchUpload, type ObjectInfo, type Objects, WrongPart } from '../../src/objects/index.ts'
import type { Registers } from '../../src/tables/index.ts'
import { bytesOf, compositeEtag, target, textOf, type UploadWorld, uploadWorld } from '../support/upload-nodes.ts'

/** Three nodes do everything to the uploads of one key at once, each step at a moment that a seed decides. */

const rounds = 150

interface Seen {
  readonly uploadId: string
  /** What each part's etag stands for. */
  readonly texts: Map<string, string>
  readonly parts: Map<number, string>
  readonly completed: Array<{ readonly info: ObjectInfo, readonly text: string, readonly etag: string }>
  aborts: number
}

class Race {
  readonly #random: Random
  readonly #world: UploadWorld
  readonly #nodes: readonly Objects[]
  readonly uploads: Seen[] = []
  #count = 0

  constructor (world: UploadWorld, random: Random) {
    this.#world = world
    this.#random = random
    this.#nodes = [world.node(), world.node(), world.node()]
  }

  pick<T> (items: readonly T[]): T { return items[Math.floor(this.#random.fraction() * items.length)] as T }

  async begin (): Promise<void> {
    const { uploadId } = await this.pick(this.#nodes).uploads.create(target, { wantsMd5: true })
    this.uploads.push({ uploadId, texts: new Map(), parts: new Map(), completed: [], aborts: 0 })
  }

  async step (): Promise<void> {
    const upload = this.pick(this.uploads)
    const what = this.#random.fraction()
    try {
      if (what < 0.55) await this.#part(upload)
      else if (what < 0.75) await this.#complete(upload)
      else if (what < 0.85) { await this.pick(this.#nodes).uploads.abort(target, upload.uploadId); upload.aborts++ }
      else if (what < 0.92) await this.pick(this.#nodes).put(target, bytesOf(`an object of its own ${++this.#count}`))
      else await this.#world.sweep()
    } catch (error) {
      // parts that were put again since they were named; ends of what is over
      if (!(error instanceof NoSuchUpload || error instanceof WrongPart || error instanceof Conflict)) throw error
    }
  }

  async #part ({ uploadId, texts, parts }: Seen): Promise<void> {
    const number = 1 + Math.floor(this.#random.fraction() * 3)
    const text = `part ${number}, put ${++this.#count}; `
    const { etag } = await this.pick(this.#nodes).uploads.putPart(target, uploadId, number, bytesOf(text))
    texts.set(etag, text)
    parts.set(number, etag)
  }

  async #complete (upload: Seen): Promise<void> {
    const named = [...upload.parts].toSorted(([a], [b]) => a - b).map(([partNumber, etag]) => ({ partNumber, etag }))
    if (named.length === 0) return
    const info = await this.pick(this.#nodes).uploads.complete(target, upload.uploadId, named)
    const texts = named.map(({ etag }) => upload.texts.get(etag) ?? '')
    upload.completed.push({ info, text: texts.join(''), etag: compositeEtag(...texts) })
  }
}

/** Each step of a node begins, and is answered, some turns later. */
function unhurried (registers: Registers, random: Random): Registers {
  const pause = async (): Promise<void> => { for (let turns = Math.floor(random.fraction() * 12); turns > 0; turns--) await Promise.resolve() }
  const slow = async <T>(act: () => Promise<T>): Promise<T> => { await pause(); const result = await act(); await pause(); return result }
  return { read: async (...args) => slow(async () => registers.read(...args)), change: async (...args) => slow(async () => registers.change(...args)), list: async (...args) => slow(async () => registers.list(...args)) }
}

async function raced (seed: number): Promise<{ completed: number, aborted: number, repeated: number }> {
  const random = seededRandom(seed)
  const world = await uploadWorld({ wrap: (registers) => unhurried(registers, random) })
  const race = new Race(world, random)
  await race.begin()
  await race.begin()
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 8 }, async () => race.step()))
  await world.sweep()
  const row = world.rowOf('k')
  for (const { uploadId, completed, aborts, parts } of race.uploads) {
    const id = fromHex(uploadId)
    // one compare-and-set ended it, if any did
    expect(aborts).toBeLessThanOrEqual(completed.length === 0 ? 1 : 0)
    expect(new Set(completed.map(({ info }) => info.etag)).size).toBeLessThanOrEqual(1)
    // what was answered is one of what was asked for, whole
    if (completed.length > 0) expect(completed.map(({ etag }) => etag)).toContain(completed[0]?.info.etag)
    const isPending = row?.pending.some((version) => equals(version.id, id)) === true
    expect(isPending).toBe(completed.length === 0 && aborts === 0)
    if (isPending) expect((await world.node().uploads.listParts(target, uploadId)).parts.map(({ partNumber }) => partNumber)).toEqual([...parts.keys()].toSorted((a, b) => a - b))
    const isCurrent = row?.current !== undefined && equals(row.current.id, id)
    if (isCurrent) expect(await textOf(world.node())).toBe(completed.find(({ etag }) => etag === completed[0]?.info.etag)?.text)
    // of what is over no row is left; so late parts have found out
    expect(world.uploadRows().filter((of) => equals(of.kind === 'head' ? of.version.id : of.id, id))).toHaveLength(isPending ? 1 + parts.size : 0)
  }
  const ids = [...row?.pending ?? [], ...row?.dropped ?? [], ...row?.current === undefined ? [] : [row.current]].map(({ salt }) => hexOf(salt))
  expect(new Set(ids).size).toBe(ids.length)
  return {
    completed: race.uploads.filter(({ completed }) => completed.length > 0).length, aborted: race.uploads.filter(({ aborts }) => aborts > 0).length,
    repeated: race.uploads.filter(({ completed }) => completed.length > 1).length,
  }
}

describe('uploads of one key, by three nodes at once', () => {
  test(`${rounds} races: each is ended once, what is answered is what was asked for, and no row is left of what is over`, async () => {
    const seen = { completed: 0, aborted: 0, repeated: 0 }
    for (let seed = 1; seed <= rounds; seed++) {
      const found = await raced(seed).catch((error: unknown) => { throw new Error(`seed ${seed}`, { cause: error }) })
      for (const name of ['completed', 'aborted', 'repeated'] as const) seen[name] += found[name]
    }
    // below this the races have shown nothing
    expect(Math.min(seen.completed, seen.aborted, seen.repeated)).toBeGreaterThan(rounds / 10)
  })
})
