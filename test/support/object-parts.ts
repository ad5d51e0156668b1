import { concat } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { ContentCodec, ObjectParts, StoredObject } from '../../src/objects/index.ts'
import { decodeObjectRow, type ObjectRow } from '../../src/objects/object-row.ts'
import { type Registers, tables } from '../../src/tables/index.ts'
import type { Redundancy } from '../../src/replication/index.ts'
import { describeRow } from '../../src/objects/describe.ts'
import { type MemoryRegisters, memoryRegisters } from './memory-registers.ts'

export interface ObjectWorld {
  readonly parts: ObjectParts
  readonly registers: MemoryRegisters
  /** Blocks at their write quorum, in order of arrival. */
  readonly blocks: Map<Cid, Uint8Array>
  readonly announced: StoredObject[]
  readonly warnings: string[]
  readonly events: string[]
  /** Nodes that hold blocks. */
  places: number
  /** What each block was put with, and what it was looked for as. */
  readonly put: Map<Cid, Redundancy>
  readonly lookedFor: Map<Cid, Redundancy | undefined>
  /** Blocks that too few holders keep to be adopted. */
  readonly unadopted: Set<Cid>
  /** Kept by their holders, who do not give them. */
  readonly unreadable: Set<Cid>
  /** Rejects puts of blocks while set. */
  failure: Error | undefined
  rowOf (key: string): ObjectRow | undefined
}

const chunkBytes = 8
const inlineBytes = 4
const spreadFromBytes = 32

/** The object engine over rows in memory and a content codec that cuts every eight bytes, unsealed. */
export function objectWorld ({ wrap = (registers) => registers }: { wrap?: (registers: Registers) => Registers } = {}): ObjectWorld {
  const registers = memoryRegisters({ isShown: ({ table }, value) => describeRow(table, value)?.summary !== undefined })
  const random = seededRandom(1)
  const world: ObjectWorld = {
    registers, places: 3, put: new Map(), lookedFor: new Map(), unadopted: new Set(), unreadable: new Set(), blocks: new Map(), announced: [], warnings: [], events: [], failure: undefined,
    rowOf: (key) => registers.valuesOf(tables.objects).map(decodeObjectRow).find((row) => row.key === key),
    parts: {
      registers: wrap(described(registers)),
      replication: {
        writer: ({ redundancy }) => ({
          async put (cid, block) {
            await Promise.resolve()
            if (world.failure !== undefined) throw world.failure
            world.events.push('block')
            world.blocks.set(cid, block)
            world.put.set(cid, redundancy)
          },
          async adopt (cids) {
            await Promise.resolve()
            const there = cids.filter((cid) => world.blocks.has(cid) && !world.unadopted.has(cid))
            for (const cid of there) { world.events.push('adopted'); world.put.set(cid, redundancy) }
            return new Set(there)
          },
          settled: () => Promise.resolve(),
        }),
        reader: ({ report, redundancy } = {}) => ({
          async get (cid) {
            await Promise.resolve()
            const block = world.blocks.get(cid)
            world.lookedFor.set(cid, redundancy)
            if (block === undefined || world.unreadable.has(cid)) throw new Error(`no block ${cid}`)
            if (report !== undefined) report.local += block.byteLength
            return block
          },
        }),
      },
      content: plainContent,
      versions: { fresh: () => { const salt = random.bytes(16); return { salt, id: hash(salt), epoch: 1 } }, idOf: ({ salt }) => hash(salt) },
      clock: systemClock,
      random,
      dates: { present: () => Promise.resolve(world.parts.clock.wallMs()), past: () => Promise.resolve(world.parts.clock.wallMs()) },
      settleLayout: () => Promise.resolve(),
      blockPlaces: () => world.places,
      announce: (stored) => { world.events.push('announce'); world.announced.push(stored) },
      warn: (message) => { world.warnings.push(message) },
    },
  }
  return world
}

// the registers in memory list whole values; the engine's listing shows what describeRow makes of them
function described (registers: MemoryRegisters): Registers {
  return {
    ...registers,
    read: async (address, options) => registers.read(address, options),
    change: async (address, change, options) => registers.change(address, change, options),
    async list (request, options) {
      const page = await registers.list(request, options)
      const entries = page.entries.flatMap(({ summary: value }) => {
        const listed = describeRow(request.table, value)
        return listed?.summary === undefined ? [] : [{ name: listed.name, summary: listed.summary }]
      })
      return { ...page, entries }
    },
  }
}

const plainContent: ContentCodec = {
  namesOf: () => ({ root: undefined, chunks: [] }),
  rootOf: () => undefined,
  async * blocksOf (content) {
    if (content[0] === 0) return
    for (const cid of chunksIn(content).chunks) yield { cid, mayBeSpread: true }
  },
  async write (source, { put }) {
    const pieces: Uint8Array[] = []
    for await (const piece of source) pieces.push(piece)
    const all = concat(pieces)
    if (all.byteLength <= inlineBytes) return { sizeBytes: all.byteLength, content: concat([Uint8Array.of(0), all]), hasBlocks: false, root: undefined, chunks: [] }
    const chunks: Cid[] = []
    for (let at = 0; at < all.byteLength; at += chunkBytes) {
      const block = all.slice(at, at + chunkBytes)
      await put(cidOf(block), block, { mayBeSpread: all.byteLength >= spreadFromBytes })
      chunks.push(cidOf(block))
    }
    return { sizeBytes: all.byteLength, content: plainList(chunks, all.byteLength), hasBlocks: true, root: undefined, chunks }
  },
  async writePart (source, { put }) {
    const pieces: Uint8Array[] = []
    for await (const piece of source) pieces.push(piece)
    const all = concat(pieces)
    const chunks: Cid[] = []
    for (let at = 0; at < all.byteLength; at += chunkBytes) {
      const block = all.slice(at, at + chunkBytes)
      await put(cidOf(block), block, { mayBeSpread: true })
      chunks.push(cidOf(block))
    }
    return { sizeBytes: all.byteLength, content: plainList(chunks, all.byteLength), hasBlocks: true, root: undefined, chunks }
  },
  async excerpt (content, { range: { first, end }, share, put, get }) {
    const { sizeBytes, chunks: all } = chunksIn(content)
    const [chunks, shared] = [[] as Cid[], [] as Cid[]]
    for (const [i, cid] of all.entries()) {
      const at = i * chunkBytes
      const [from, to] = [Math.max(first, at), Math.min(end, at + chunkBytes, sizeBytes)]
      if (from >= to) continue
      const isWhole = to - from === Math.min(chunkBytes, sizeBytes - at)
      const cut = isWhole ? undefined : (await get(cid, { mayBeSpread: true })).slice(from - at, to - at)
      if (cut === undefined) shared.push(cid)
      else await put(cidOf(cut), cut, { mayBeSpread: true })
      chunks.push(cut === undefined ? cid : cidOf(cut))
    }
    await share(shared)
    return { sizeBytes: end - first, content: plainList(chunks, end - first), hasBlocks: true, root: undefined, chunks }
  },
  async join (parts, { put }) {
    const chunks: Cid[] = []
    let sizeBytes = 0
    for await (const part of parts) {
      const listed = chunksIn(part)
      chunks.push(...listed.chunks)
      sizeBytes += listed.sizeBytes
    }
    const content = plainList(chunks, sizeBytes)
    await put(cidOf(content), content, { mayBeSpread: false })
    return { sizeBytes, content, hasBlocks: true, root: undefined, chunks }
  },
  async * read (content, { range, get }) {
    if (content[0] === 0) { yield content.subarray(1).subarray(range.first, range.end); return }
    const blocks = []
    for (const cid of chunksIn(content).chunks) blocks.push(await get(cid, { mayBeSpread: true }))
    yield concat(blocks).subarray(range.first, range.end)
  },
}

// 01, then in text the length and the chunks
const plainList = (chunks: readonly Cid[], sizeBytes: number): Uint8Array => concat([Uint8Array.of(1), new TextEncoder().encode([sizeBytes, ...chunks].join(' '))])

function chunksIn (content: Uint8Array): { sizeBytes: number, chunks: Cid[] } {
  const [sizeBytes, ...chunks] = new TextDecoder().decode(content.subarray(1)).split(' ')
  return { sizeBytes: Number(sizeBytes), chunks: chunks as Cid[] }
}
