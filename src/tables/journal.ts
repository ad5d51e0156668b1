import { ByteReader, ByteWriter, equals } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import type { AppendFile, Files } from '../disk/index.ts'

/**
 * The journal of a row store: promises and accepts stand here, synced, before anybody is answered. It is a chain of frames, one for each sync however many
 * rows share it; a frame is written only after the one before it is on disk. So a crash can hurt the last frame alone, and what it leaves of that one is a
 * short or zero-filled end: that is cut. Anything else that does not check out is damage to what was promised, and is said to be that, never skipped.
 *
 * segment = "DFSJ" | version u8 | u64 position of its first frame | frames       file name: position, 16 hexadecimal digits
 * frame   = u32 n | head(4) | check(16) | body(n)
 * check   = first 16 of H(check of the frame before (zeros at the start) | u64 position | body)
 * head    = first 4 of H(check of the frame before | u64 position | u32 n): a length that rotted is not taken for a write that was cut short
 */
export interface Journal extends AsyncDisposable {
  /** Of the last frame on disk. */
  readonly position: bigint
  /** Of the file that it goes on in. */
  readonly path: string
  /** Bytes since the oldest segment began. */
  readonly sizeBytes: number
  /** On disk when it resolves. One at a time. @throws StoreFull (nothing was written), SyncFailed */
  append (body: Uint8Array): Promise<void>
  /** Since the last cut, oldest first, read back from the disk. @throws Corrupt if they are not what was written */
  frames (): Promise<readonly JournalFrame[]>
  /** Begins a new segment, and removes the others: everything up to `position` stands elsewhere. @throws StoreFull (then it goes on in the old one) */
  cut (): Promise<void>
}

export interface JournalFrame {
  readonly position: bigint
  readonly body: Uint8Array
  /** Version of the segment it stands in: how its body is to be read. */
  readonly format: number
}

export interface JournalOpened {
  readonly journal: Journal
  /** Bodies with their positions, oldest first. */
  readonly frames: readonly JournalFrame[]
  /** Something that was on disk is gone or changed: what the frames say is not all there was. */
  readonly isDamaged: boolean
}

export const journalLimits = {
  maxFrameBytes: 16 * 1024 * 1024,
} as const

const magic = Uint8Array.of(0x44, 0x46, 0x53, 0x4a)
/** What is written; older ones are read. */
const segmentVersion = 2
const segmentHeadLength = magic.byteLength + 1 + 8 + 16
const frameHeadLength = 24
const headCheckLength = 4
const checkLength = 16
/** So many zeros in a row are a hole: a sector of 512 bytes, less what of the frame may have stood in it. */
const leastHoleBytes = 256

export interface Link { readonly position: bigint, readonly check: Uint8Array }

/**
 * `from`: everything up to this position stands elsewhere, so no segment that ends before it is looked at (a crash may bring removed ones back), and a
 * journal that begins after it or does not reach it has lost frames. Undefined: nothing stands elsewhere.
 */
export async function openJournal (files: Files, folder: string, from: bigint | undefined): Promise<JournalOpened> {
  await files.ensureFolder(folder)
  const { frames, isDamaged, link, last, kept, format } = await readJournal(files, folder, from)
  const store = new SegmentedJournal(files, folder, link)
  if (last === undefined || isDamaged) await store.begin()
  else await store.resume(last, kept)
  // frames of this version begin a segment of their own
  if (last !== undefined && !isDamaged && format !== segmentVersion) await store.begin()
  return { journal: store, frames, isDamaged }
}

interface JournalRead { readonly frames: readonly JournalFrame[], readonly isDamaged: boolean, readonly link: Link, readonly last: string | undefined, readonly kept: number, readonly format: number }

/** As `openJournal` finds it; nothing is changed. */
export async function readJournal (files: Files, folder: string, from: bigint | undefined): Promise<JournalRead> {
  const names = await segmentsIn(files, folder)
  const first = from === undefined ? 0 : names.findLastIndex((name) => positionIn(name) <= from)
  const needed = names.slice(Math.max(0, first))
  const frames: JournalFrame[] = []
  let isDamaged = first < 0
  let link: Link = { position: 0n, check: new Uint8Array(checkLength) }
  let [kept, format] = [0, segmentVersion]
  for (const [i, name] of needed.entries()) {
    const segment = readSegment(await files.read(`${folder}/${name}`), { name, link: i === 0 ? undefined : link, isLast: i === needed.length - 1 })
    frames.push(...segment.frames)
    isDamaged ||= segment.isDamaged
    link = segment.link
    kept = segment.keptBytes
    format = segment.format
  }
  isDamaged ||= from !== undefined && link.position < from
  return { frames, isDamaged, link, last: needed.at(-1), kept, format }
}

async function segmentsIn (files: Files, folder: string): Promise<string[]> {
  const names: string[] = []
  for await (const { name, kind } of files.list(folder)) if (kind === 'file' && /^[0-9a-f]{16}$/.test(name)) names.push(name)
  return names.toSorted()
}

const positionIn = (name: string): bigint => BigInt(`0x${name}`)

interface SegmentRead { readonly frames: JournalFrame[], readonly link: Link, readonly keptBytes: number, readonly isDamaged: boolean, readonly format: number }

function readSegment (bytes: Uint8Array, { name, link, isLast }: { name: string, link: Link | undefined, isLast: boolean }): SegmentRead {
  const frames: JournalFrame[] = []
  let format = segmentVersion
  const lost = (at: Link): SegmentRead => ({ frames, link: at, keptBytes: 0, isDamaged: true, format })
  const named: Link = { position: positionIn(name), check: new Uint8Array(checkLength) }
  // a segment begins with a durable write, so no crash leaves less of it
  if (bytes.byteLength < segmentHeadLength) return lost(link ?? named)
  const reader = new ByteReader(bytes)
  const isJournal = equals(reader.raw(magic.byteLength), magic)
  format = reader.u8()
  const isOurs = isJournal && format >= 1 && format <= segmentVersion && reader.u64() === named.position
  let current: Link = { position: named.position, check: reader.raw(checkLength) }
  if (!isOurs || (link !== undefined && (link.position !== current.position || !equals(link.check, current.check)))) return lost(link ?? current)
  while (reader.remaining > 0) {
    const at = reader.offset
    const frame = readFrame(reader, current)
    // the frame that nobody was told of is the last one of the last segment, and lacks bytes
    if (frame === 'torn' && isLast) return { frames, link: current, keptBytes: at, isDamaged: false, format }
    if (frame === 'torn' || frame === 'damaged') return lost(current)
    current = frame.link
    frames.push({ position: current.position, body: frame.body, format })
  }
  return { frames, link: current, keptBytes: bytes.byteLength, isDamaged: false, format }
}

function readFrame (reader: ByteReader, before: Link): { body: Uint8Array, link: Link } | 'torn' | 'damaged' {
  if (reader.remaining < frameHeadLength) return 'torn'
  const position = before.position + 1n
  const head = reader.raw(frameHeadLength)
  const headReader = new ByteReader(head)
  const [length, headCheck, check] = [headReader.u32(), headReader.raw(headCheckLength), headReader.raw(checkLength)]
  // the write that made the file longer did not get as far as its first block
  if (head.every((byte) => byte === 0)) return reader.remaining <= journalLimits.maxFrameBytes ? 'torn' : 'damaged'
  if (!equals(headCheck, headCheckOf(before, position, length))) return 'damaged'
  if (length > reader.remaining) return 'torn'
  const body = reader.raw(length)
  if (equals(check, checkOf(before, position, body))) return { body, link: { position, check } }
  return reader.remaining === 0 && hasHole(body) ? 'torn' : 'damaged'
}

/** What a write that was cut short leaves out is whole blocks, which read as zeros; rot flips bits. */
function hasHole (body: Uint8Array): boolean {
  for (let at = 0; at + leastHoleBytes <= body.byteLength; at++) {
    if (body[at] !== 0) continue
    let end = at
    while (end < body.byteLength && body[end] === 0) end++
    if (end - at >= leastHoleBytes) return true
    at = end
  }
  return false
}

const headCheckOf = (before: Link, position: bigint, length: number): Uint8Array => hash(before.check, new ByteWriter().u64(position).u32(length).finish()).subarray(0, headCheckLength)
const checkOf = (before: Link, position: bigint, body: Uint8Array): Uint8Array => hash(before.check, new ByteWriter().u64(position).finish(), body).subarray(0, checkLength)

class SegmentedJournal implements Journal {
  readonly #files: Files
  readonly #folder: string
  #link: Link
  #file: AppendFile | undefined
  #name = ''

  constructor (files: Files, folder: string, link: Link) {
    this.#files = files
    this.#folder = folder
    this.#link = link
  }

  get position (): bigint { return this.#link.position }
  get path (): string { return `${this.#folder}/${this.#name}` }
  get sizeBytes (): number { return this.#file?.sizeBytes ?? 0 }

  async resume (name: string, keptBytes: number): Promise<void> {
    if (keptBytes < segmentHeadLength) { await this.begin(); return }
    this.#name = name
    this.#file = await this.#files.openAppend(`${this.#folder}/${name}`)
    if (this.#file.sizeBytes > keptBytes) await this.#file.truncate(keptBytes)
  }

  async begin (): Promise<void> {
    const name = this.#link.position.toString(16).padStart(16, '0')
    const path = `${this.#folder}/${name}`
    await this.#files.writeDurable(path, [magic, new ByteWriter().u8(segmentVersion).u64(this.#link.position).finish(), this.#link.check])
    // from here on nothing may be appended to the old one
    const old = this.#file
    this.#file = undefined
    await old?.[Symbol.asyncDispose]()
    this.#file = await this.#files.openAppend(path)
    this.#name = name
  }

  async append (body: Uint8Array): Promise<void> {
    const position = this.#link.position + 1n
    const check = checkOf(this.#link, position, body)
    await this.#open().append([new ByteWriter().u32(body.byteLength).raw(headCheckOf(this.#link, position, body.byteLength)).raw(check).finish(), body])
    await this.#open().sync()
    this.#link = { position, check }
  }

  async frames (): Promise<readonly JournalFrame[]> {
    const bytes = await this.#files.read(`${this.#folder}/${this.#name}`)
    const { frames, link, isDamaged } = readSegment(bytes, { name: this.#name, link: undefined, isLast: true })
    if (isDamaged || link.position !== this.position) throw new Corrupt('the journal is not what was written')
    return frames
  }

  async cut (): Promise<void> {
    await this.begin()
    for (const name of await segmentsIn(this.#files, this.#folder)) if (name !== this.#name) await this.#files.remove(`${this.#folder}/${name}`)
  }

  async [Symbol.asyncDispose] (): Promise<void> { await this.#file?.[Symbol.asyncDispose]() }

  #open (): AppendFile {
    if (this.#file === undefined) throw new Error('the journal is not open')
    return this.#file
  }
}
