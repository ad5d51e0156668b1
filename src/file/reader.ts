import { type Cid, cidOfDigest } from '../base/cid.ts'
import { blockOverhead } from '../encryption/index.ts'
import { Corrupt } from '../base/errors.ts'
import { giveBack } from '../base/lease.ts'
import type { Content } from './content.ts'
import { decodeNode, type Entry, type ExpectedNode, manifestLimits } from './manifest.ts'
import type { Sealer } from './sealing.ts'

export interface ReadOptions {
  readonly sealer: Sealer
  /** The whole block (`mayBeSpread`: a chunk, not a node of the manifest); verified by the source or not, it is verified here. If it is lent, it is given back. */
  readonly get: (cid: Cid, options: { signal?: AbortSignal, mayBeSpread: boolean }) => Promise<Uint8Array>
  /** Bytes fetched ahead of the reader, which bounds the memory of a read. Asked before each fetch: readers share what there is. */
  readonly windowBytes: () => number
  /** Runs `act` when this has gone on for a while, unless what it gives is called before. Undefined: never. */
  readonly whenStalled?: (act: () => void, of: { isTight: boolean }) => () => void
  /** Memory of all readers together. Undefined: as much as it takes. */
  readonly room?: ReadRoom
  readonly signal?: AbortSignal
}

/** What chunks may take that are opened for readers, whoever they are. */
export interface ReadRoom {
  /** Waits for so much of it. */
  claim (bytes: number, wait: { signal?: AbortSignal }): Promise<Disposable>
  /** So much is held that readers that stand still would keep the others out. */
  readonly isTight: boolean
}

/** What reading a manifest alone takes. */
export type NodeOptions = Pick<ReadOptions, 'sealer' | 'get' | 'signal'>

export const readLimits = {
  /** The longest chunk (2 MiB) as a block, or a full manifest node, whichever is longer; more is refused before it is fetched. */
  maxBlockBytes: 2 * 1024 * 1024 + blockOverhead,
  /** Ahead of a reader that has nothing yet; doubles with every chunk, so that the first ones need not share their way with those after. */
  firstWindowBytes: 1024 * 1024,
  /** What a reader is given at once where memory is short: all that it holds when it stands still. */
  sliceBytes: 256 * 1024,
} as const

/** Of a chunk, so many bytes from `skip` on. */
export interface Piece { readonly entry: Entry, readonly skip: number, readonly take: number }

/**
 * The bytes first ≤ i < end of a file, in order. Only chunks that hold some of them are fetched, a window ahead; every one is authenticated before a byte
 * of it leaves. A consumer that stops aborts what is under way. Where memory is short (`ReadRoom`) nothing is fetched ahead, and the chunk is given in slices: who stands still
 * between two of them has it fetched again, so that all readers share the room by turns, and none has to be sent away. @throws Corrupt, what `get` throws
 */
export async function * readFile (content: Content, { first, end }: { first: number, end: number }, options: ReadOptions): AsyncIterable<Uint8Array> {
  if (content.kind === 'inline') { yield content.bytes.subarray(first, end); return }
  using stop = abortable(options.signal)
  const pieces = piecesOf(content, { first, end }, { ...options, signal: stop.signal })[Symbol.asyncIterator]()
  const ahead: Ahead[] = []
  let [aheadBytes, windowBytes] = [0, readLimits.firstWindowBytes]
  let isExhausted = false
  const begun = ({ entry }: Piece): Promise<Uint8Array> => {
    const block = fetched(entry, { ...options, signal: stop.signal, mayBeSpread: true })
    // a failure is the reader's when its turn comes; until then nobody waits for it
    block.catch(() => {})
    return block
  }
  // a reader that has stopped reading holds the chunk it was given; what lies ready for it would lie there as long as it likes
  const letGo = (): void => {
    for (const one of ahead) {
      one.block?.then(giveBack, () => { /* it will be fetched again, and fail again */ })
      one.block = undefined
    }
    windowBytes = readLimits.firstWindowBytes
  }
  const take = async (): Promise<void> => {
    const next = await pieces.next()
    if (next.done === true) { isExhausted = true; return }
    ahead.push({ piece: next.value, block: undefined })
    aheadBytes += next.value.entry.sizeBytes
  }
  for (;;) {
    if (ahead.length === 0) await take()
    const head = ahead[0]
    if (head === undefined) return
    using room = new Held(options.room)
    await room.claim(head.piece.entry.sizeBytes, stop.signal)
    const isTight = options.room?.isTight === true
    for (const one of isTight ? [head] : ahead) one.block ??= begun(one.piece)
    while (!isTight && !isExhausted && aheadBytes < Math.min(windowBytes, options.windowBytes())) {
      await take()
      const last = ahead.at(-1)
      if (last !== undefined) last.block ??= begun(last.piece)
    }
    aheadBytes -= head.piece.entry.sizeBytes
    ahead.shift()
    if (isTight) {
      yield * slicesOf(head, { ...options, room, begun, signal: stop.signal, letGo })
      continue
    }
    const bytes = await opened(head, options)
    windowBytes *= 2
    const goesOn = options.whenStalled?.(letGo, { isTight })
    try { yield bytes } finally { goesOn?.() }
  }
}

/** A reader's share of the room, which it may give back and take again. */
class Held implements Disposable {
  readonly #room: ReadRoom | undefined
  #claim: Disposable | undefined
  constructor (room: ReadRoom | undefined) { this.#room = room }

  async claim (bytes: number, signal: AbortSignal): Promise<void> { if (this.#room !== undefined) this.#claim = await this.#room.claim(bytes, { signal }) }
  [Symbol.dispose] (): void { this.#claim?.[Symbol.dispose](); this.#claim = undefined }
}

/** What is wanted of a chunk, in copies that hold nothing else of it. */
async function * slicesOf (head: Ahead, { room, begun, letGo, signal, ...options }: Pick<ReadOptions, 'sealer' | 'whenStalled'> & { room: Held, begun: (piece: Piece) => Promise<Uint8Array>, letGo: () => void, signal: AbortSignal }): AsyncIterable<Uint8Array> {
  const { piece } = head
  let bytes: Uint8Array | undefined = await opened(head, options)
  const drop = (): void => { bytes = undefined; room[Symbol.dispose]() }
  for (let at = 0; at < piece.take; at += readLimits.sliceBytes) {
    if (bytes === undefined) {
      await room.claim(piece.entry.sizeBytes, signal)
      bytes = await opened({ piece, block: begun(piece) }, options)
    }
    const slice = bytes.slice(at, at + readLimits.sliceBytes)
    if (at + readLimits.sliceBytes >= piece.take) drop()
    const goesOn = options.whenStalled?.(() => { drop(); letGo() }, { isTight: true })
    try { yield slice } finally { goesOn?.() }
  }
}

/** `block` is undefined while the reader stalls. */
interface Ahead { readonly piece: Piece, block: Promise<Uint8Array> | undefined }

/**
 * What is wanted of the chunk; opened when its turn comes, not when it arrives: the window holds each byte once. A function of its own, for the frame of a
 * generator that waits for a slow reader would keep the sealed block beside the opened one.
 */
async function opened ({ piece: { entry, skip, take }, block: fetching }: Ahead, { sealer }: Pick<ReadOptions, 'sealer'>): Promise<Uint8Array> {
  const block = await fetching
  if (block === undefined) throw new Error('a chunk is opened that was not fetched')
  const plaintext = sealer.openChunk(block, entry)
  giveBack(block)
  return plaintext.subarray(skip, skip + take)
}

/** The chunks that hold the range, in order; manifest nodes are fetched as the walk comes to them. */
export async function * piecesOf (content: Exclude<Content, { kind: 'inline' }>, range: { first: number, end: number }, options: NodeOptions): AsyncIterable<Piece> {
  for await (const { entries, start } of leavesOf(content, range, options)) yield * cut(entries, start, range)
}

/** Entries of chunks that stand together, and where in the file the first begins. */
export interface Leaf { readonly entries: readonly Entry[], readonly start: number }

/** What lists the chunks of the range, leaf by leaf: of a tree one node a level is all there is in memory. @throws Corrupt, what `get` throws */
export async function * leavesOf (content: Exclude<Content, { kind: 'inline' }>, range: { first: number, end: number }, options: NodeOptions): AsyncIterable<Leaf> {
  if (content.kind === 'chunks') { yield { entries: content.entries, start: 0 }; return }
  yield * walk({ entry: content.root, level: content.level, start: 0, place: 'root' }, range, options)
}

interface Step { readonly entry: Entry, readonly level: number, readonly start: number, readonly place: ExpectedNode['place'] }

async function * walk ({ entry, level, start, place }: Step, range: { first: number, end: number }, options: NodeOptions): AsyncIterable<Leaf> {
  if (level > manifestLimits.maxLevel) throw new Corrupt(`a manifest of ${level} levels`)
  const payload = options.sealer.openNode(await fetched(entry, { ...options, mayBeSpread: false }), entry)
  const { entries } = decodeNode(payload, { level, sizeBytes: entry.sizeBytes, place })
  if (level === 0) { yield { entries, start }; return }
  let at = start
  for (const child of entries) {
    const isLast = place !== 'before the last' && child === entries.at(-1)
    if (at < range.end && at + child.sizeBytes > range.first) yield * walk({ entry: child, level: level - 1, start: at, place: isLast ? 'last' : 'before the last' }, range, options)
    at += child.sizeBytes
  }
}

function * cut (entries: readonly Entry[], start: number, { first, end }: { first: number, end: number }): Iterable<Piece> {
  let at = start
  for (const entry of entries) {
    const [from, to] = [Math.max(first, at), Math.min(end, at + entry.sizeBytes)]
    if (from < to) yield { entry, skip: from - at, take: to - from }
    at += entry.sizeBytes
  }
}

async function fetched (entry: Entry, { get, signal, mayBeSpread }: Pick<ReadOptions, 'get' | 'signal'> & { mayBeSpread: boolean }): Promise<Uint8Array> {
  if (entry.blockBytes > readLimits.maxBlockBytes) throw new Corrupt(`a manifest lists a block of ${entry.blockBytes} bytes`)
  return get(cidOfDigest(entry.digest), { signal, mayBeSpread })
}

function abortable (signal: AbortSignal | undefined): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const onAbort = (): void => { controller.abort(signal?.reason) }
  if (signal?.aborted === true) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    signal: controller.signal,
    [Symbol.dispose] () {
      signal?.removeEventListener('abort', onAbort)
      controller.abort(new Error('the reader has stopped'))
    },
  }
}
