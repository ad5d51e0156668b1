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
  readonly whenStalled?: (act: () => void) => () => void
  readonly signal?: AbortSignal
}

/** What reading a manifest alone takes. */
export type NodeOptions = Pick<ReadOptions, 'sealer' | 'get' | 'signal'>

export const readLimits = {
  /** The longest chunk (2 MiB) as a block, or a full manifest node, whichever is longer; more is refused before it is fetched. */
  maxBlockBytes: 2 * 1024 * 1024 + blockOverhead,
  /** Ahead of a reader that has nothing yet; doubles with every chunk, so that the first ones need not share their way with those after. */
  firstWindowBytes: 1024 * 1024,
} as const

/** Of a chunk, so many bytes from `skip` on. */
export interface Piece { readonly entry: Entry, readonly skip: number, readonly take: number }

/**
 * The bytes first ≤ i < end of a file, in order. Only chunks that hold some of them are fetched, a window ahead; every one is authenticated before a byte
 * of it leaves. A consumer that stops aborts what is under way. @throws Corrupt, what `get` throws
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
  for (;;) {
    for (const one of ahead) one.block ??= begun(one.piece)
    while (!isExhausted && (ahead.length === 0 || aheadBytes < Math.min(windowBytes, options.windowBytes()))) {
      const next = await pieces.next()
      if (next.done === true) { isExhausted = true; break }
      ahead.push({ piece: next.value, block: begun(next.value) })
      aheadBytes += next.value.entry.sizeBytes
    }
    aheadBytes -= ahead[0]?.piece.entry.sizeBytes ?? 0
    const bytes = await opened(ahead.shift(), options)
    if (bytes === undefined) return
    windowBytes *= 2
    const goesOn = options.whenStalled?.(letGo)
    try { yield bytes } finally { goesOn?.() }
  }
}

/** `block` is undefined while the reader stalls. */
interface Ahead { readonly piece: Piece, block: Promise<Uint8Array> | undefined }

/**
 * What is wanted of the chunk; opened when its turn comes, not when it arrives: the window holds each byte once. A function of its own, for the frame of a
 * generator that waits for a slow reader would keep the sealed block beside the opened one.
 */
async function opened (head: Ahead | undefined, { sealer }: ReadOptions): Promise<Uint8Array | undefined> {
  if (head?.block === undefined) return undefined
  const { piece: { entry, skip, take } } = head
  const block = await head.block
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
