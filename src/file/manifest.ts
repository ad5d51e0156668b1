import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { ByteReader, ByteWriter, empty, equals, MalformedBytes } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'

/**
 * The tree that lists a file's chunks (docs/FORMAT.md, "Manifest"): level 0 lists chunks, level n nodes of level n-1; every node is full but the last of
 * its level. Each entry says what opens the block beneath: there is no key for the file.
 *
 * node = 01 | level u8 | count u16 | metaLength u32 | u64 size | entries | meta
 * entry = H(block)(32) | ph(32) | u32 blockLength | u64 plaintext bytes beneath
 */
export interface Entry {
  /** H(block), 32 bytes. */
  readonly digest: Uint8Array
  readonly ph: Uint8Array
  readonly blockBytes: number
  /** Bytes of the file beneath it. */
  readonly sizeBytes: number
}

export interface ManifestNode {
  readonly level: number
  readonly entries: readonly Entry[]
  readonly sizeBytes: number
  /** Root only: deterministic CBOR. */
  readonly meta: Readonly<Record<string, unknown>> | undefined
}

export const manifestLimits = { maxEntries: 1024, maxLevel: 4, maxMetaBytes: 16 * 1024 } as const
const version = 1
const entryLength = 76
const headLength = 16

export function writeEntry (writer: ByteWriter, { digest, ph, blockBytes, sizeBytes }: Entry): ByteWriter {
  return writer.raw(digest).raw(ph).u32(blockBytes).u64(sizeBytes)
}

/** @throws MalformedBytes */
export function readEntry (reader: ByteReader): Entry {
  const [digest, ph, blockBytes, size] = [reader.raw(32), reader.raw(32), reader.u32(), reader.u64()]
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes(`an entry of ${size} bytes`)
  return { digest, ph, blockBytes, sizeBytes: Number(size) }
}

/** @throws RangeError for what could not be decoded again */
export function encodeNode ({ level, entries, sizeBytes, meta }: ManifestNode): Uint8Array {
  const metaBytes = meta === undefined ? empty : encode(meta, rfc8949EncodeOptions)
  if (!isWithinBounds({ level, count: entries.length, metaLength: metaBytes.byteLength })) throw new RangeError(`a manifest node of level ${level}, ${entries.length} entries and ${metaBytes.byteLength} bytes of metadata`)
  const writer = new ByteWriter().u8(version).u8(level).u16(entries.length).u32(metaBytes.byteLength).u64(sizeBytes)
  for (const entry of entries) writeEntry(writer, entry)
  return writer.raw(metaBytes).finish()
}

export interface ExpectedNode {
  /** Undefined for a root reached by its capability alone. */
  readonly level: number | undefined
  readonly sizeBytes: number | undefined
  /** Among the nodes of its level: only the root has metadata, and only the last one may have room left. */
  readonly place: 'root' | 'last' | 'before the last'
}

/** Checks form, place and sums: a manifest that lies about lengths is found before a byte is read by it. @throws Corrupt */
export function decodeNode (payload: Uint8Array, expected: ExpectedNode): ManifestNode {
  try {
    const reader = new ByteReader(payload)
    if (reader.u8() !== version) throw new Corrupt('a manifest of a version that this dfs does not know')
    const [level, count, metaLength, size] = [reader.u8(), reader.u16(), reader.u32(), reader.u64()]
    if (!isWithinBounds({ level, count, metaLength }) || payload.byteLength !== headLength + count * entryLength + metaLength) throw new Corrupt('a manifest node breaks a bound')
    if (expected.place !== 'root' && metaLength > 0) throw new Corrupt('a manifest has metadata below its root')
    if (expected.place === 'before the last' && count < manifestLimits.maxEntries) throw new Corrupt('a manifest node that others follow is not full')
    const entries = Array.from({ length: count }, () => readEntry(reader))
    const sum = entries.reduce((total, entry) => total + entry.sizeBytes, 0)
    const isEmptyFile = count === 0 && expected.place === 'root' && level === 0
    if (BigInt(sum) !== size || (count === 0 && !isEmptyFile) || entries.some((entry) => entry.sizeBytes === 0)) throw new Corrupt('the lengths in a manifest node do not add up')
    if ((expected.level ?? level) !== level || (expected.sizeBytes ?? sum) !== sum) throw new Corrupt('a manifest node is not what the one above it says')
    return { level, entries, sizeBytes: sum, meta: metaLength === 0 ? undefined : decodeMeta(reader.rest()) }
  } catch (cause) {
    if (cause instanceof Corrupt) throw cause
    throw new Corrupt('a manifest node is not well-formed', { cause })
  }
}

const isWithinBounds = ({ level, count, metaLength }: { level: number, count: number, metaLength: number }): boolean =>
  level <= manifestLimits.maxLevel && count <= manifestLimits.maxEntries && metaLength <= manifestLimits.maxMetaBytes

// RFC 8949 §4.2: one spelling for one value, as for everything else of which a hash is an address
function decodeMeta (bytes: Uint8Array): Record<string, unknown> {
  const meta: unknown = decode(bytes, { strict: true, allowIndefinite: false, rejectDuplicateMapKeys: true })
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta) || meta instanceof Uint8Array) throw new MalformedBytes('metadata is a map')
  if (!equals(encode(meta, rfc8949EncodeOptions), bytes)) throw new MalformedBytes('metadata in another spelling than the deterministic one')
  return meta as Record<string, unknown>
}
