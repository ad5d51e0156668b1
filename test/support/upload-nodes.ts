import { createHash } from 'node:crypto'
import { concat, utf8 } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type ObjectParts, objectStore, type Objects } from '../../src/objects/index.ts'
import { UploadSweep } from '../../src/objects/uploads/sweep.ts'
import { decodeUploadRow } from '../../src/objects/uploads/upload-row.ts'
import { tables } from '../../src/tables/index.ts'
import { type ObjectWorld, objectWorld } from './object-parts.ts'

/** Parts are at least this long, so that uploads of many are a few kilobytes. */
export const minPartBytes = 10
export const leastAppendedBytes = 20

export const target = { bucket: 'photos', key: 'k' }

/** Nodes over the same rows and blocks. A node may be told to die at a step: a change of a row, a read, a listing, a block. */
export interface UploadWorld extends ObjectWorld {
  node (): Objects
  /** Dies at its n-th step from now, before it or with its answer lost; and so does every step after. `steps` counts them. */
  mortalNode (death: Death): Objects & { readonly steps: () => number }
  /** Rows in the table of uploads. */
  uploadRows (): ReadonlyArray<ReturnType<typeof decodeUploadRow>>
  sweep (): Promise<void>
  /** The version that each block was put for last. */
  readonly versions: ReadonlyMap<Cid, Uint8Array>
  /** Moves the clocks of all nodes on. */
  advance (durationMs: number): void
  /** Timers that are set. */
  timers (): number
}

export async function uploadWorld (options?: Parameters<typeof objectWorld>[0]): Promise<UploadWorld> {
  const world = objectWorld(options)
  const time = movedClock()
  const versions = new Map<Cid, Uint8Array>()
  const parts: ObjectParts = {
    ...world.parts, clock: time.clock, dates: { present: async () => Promise.resolve(time.clock.wallMs()), past: async () => Promise.resolve(time.clock.wallMs()) },
    replication: {
      ...world.parts.replication,
      writer (reference, ...more) {
        const writer = world.parts.replication.writer(reference, ...more)
        return { ...writer, put: async (cid, ...of) => { versions.set(cid, reference.versionId); await writer.put(cid, ...of) } }
      },
    },
  }
  const nodeWith = (of: ObjectParts): Objects => objectStore(of, { minPartBytes, leastAppendedBytes })
  await nodeWith(parts).createBucket(target.bucket)
  const bucketId = Buffer.from((await nodeWith(parts).bucket(target.bucket)).id, 'hex')
  return Object.assign(world, {
    versions, advance: time.advance, timers: time.timers,
    node: () => nodeWith(parts),
    mortalNode: (death: Death) => {
      const { step, steps } = mortal(death)
      const { registers, replication } = parts
      return Object.assign(nodeWith({
        ...parts,
        registers: {
          read: async (...args) => step(async () => registers.read(...args)),
          change: async (...args) => step(async () => registers.change(...args)),
          list: async (...args) => step(async () => registers.list(...args)),
        },
        replication: {
          ...replication,
          writer (...args) {
            const writer = replication.writer(...args)
            return { ...writer, put: async (...of) => step(async () => writer.put(...of)) }
          },
        },
      }), { steps })
    },
    uploadRows: () => world.registers.valuesOf(tables.uploads).map(decodeUploadRow),
    async sweep () {
      const sweep = new UploadSweep({ registers: parts.registers, scopes: () => Promise.resolve([bucketId]), warn: (message, cause) => { throw new Error(message, { cause }) } })
      sweep.begin()
      while (await sweep.step({ signal: new AbortController().signal }) === 'busy');
    },
  })
}

export interface Death { readonly at: number, readonly when: 'before' | 'after' }

function mortal ({ at, when }: Death): { step: <T>(action: () => Promise<T>) => Promise<T>, steps: () => number } {
  let steps = 0
  return {
    steps: () => steps,
    async step (action) {
      const n = ++steps
      if (n > at || (n === at && when === 'before')) throw new NodeDied()
      const result = await action()
      if (n === at) throw new NodeDied()
      return result
    },
  }
}

/** Time that stands still until it is moved; what is to happen at once happens. */
function movedClock (): { clock: Clock, advance: (durationMs: number) => void, timers: () => number } {
  let nowMs = 1_700_000_000_000
  const timers = new Map<() => void, number>()
  const clock: Clock = {
    ...systemClock, wallMs: () => nowMs, monotonicMs: () => nowMs,
    after (durationMs, action) {
      if (durationMs === 0) return systemClock.after(0, action)
      const timer = (): void => { action() }
      timers.set(timer, nowMs + durationMs)
      return () => { timers.delete(timer) }
    },
  }
  return {
    clock, timers: () => timers.size,
    advance (durationMs) {
      nowMs += durationMs
      for (const [timer, atMs] of timers) if (atMs <= nowMs) { timers.delete(timer); timer() }
    },
  }
}

export class NodeDied extends Error {
  override name = 'NodeDied'
  constructor () { super('the node has died') }
}

export async function * bytesOf (...texts: string[]): AsyncIterable<Uint8Array> { for (const text of texts) { await Promise.resolve(); yield utf8(text) } }

export async function textIn (body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.from(concat(pieces)).toString()
}

export const textOf = async (node: Objects, of = target): Promise<string> => textIn((await node.get(of)).body)

export const md5 = (...of: Array<string | Buffer>): Buffer => of.reduce((hash, bytes) => hash.update(bytes), createHash('md5')).digest()
/** As S3 makes it. */
export const compositeEtag = (...parts: string[]): string => `${md5(...parts.map((part) => md5(part))).toString('hex')}-${parts.length}`
