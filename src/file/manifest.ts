import { decode, encode } from 'cborg'
import { ByteReader, ByteWriter, empty, MalformedBytes } from '../base/bytes.ts'
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
export const entryLength = 76
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

export function encodeNode ({ level, entries, sizeBytes, meta }: ManifestNode): Uint8Array {
  const metaBytes = meta === undefined ? empty : encode(meta)
  const writer = new ByteWriter().u8(version).u8(level).u16(entries.length).u32(metaBytes.byteLength).u64(sizeBytes)
  for (const entry of entries) writeEntry(writer, entry)
  return writer.raw(metaBytes).finish()
}

export interface ExpectedNode {
  /** Undefined for a root reached by its capability alone. */
  readonly level: number | undefined
  readonly sizeBytes: number | undefined
  readonly isRoot: boolean
}

/** Checks form, place and sums: a manifest that lies about lengths is found before a byte is read by it. @throws Corrupt */
export function decodeNode (payload: Uint8Array, expected: ExpectedNode): ManifestNode {
  try {
    const reader = new ByteReader(payload)
    if (reader.u8() !== version) throw new Corrupt('a manifest of a version that this dfs does not know')
    const [level, count, metaLength, size] = [reader.u8(), reader.u16(), reader.u32(), reader.u64()]
    const { maxEntries, maxLevel, maxMetaBytes } = manifestLimits
    if (level > maxLevel || count > maxEntries || metaLength > maxMetaBytes || payload.byteLength !== headLength + count * entryLength + metaLength) throw new Corrupt('a manifest node breaks a bound')
    if (!expected.isRoot && metaLength > 0) throw new Corrupt('a manifest has metadata below its root')
    const entries = Array.from({ length: count }, () => readEntry(reader))
    const sum = entries.reduce((total, entry) => total + entry.sizeBytes, 0)
    const isEmptyFile = count === 0 && expected.isRoot && level === 0
    if (BigInt(sum) !== size || (count === 0 && !isEmptyFile) || entries.some((entry) => entry.sizeBytes === 0)) throw new Corrupt('the lengths in a manifest node do not add up')
    if ((expected.level ?? level) !== level || (expected.sizeBytes ?? sum) !== sum) throw new Corrupt('a manifest node is not what the one above it says')
    return { level, entries, sizeBytes: sum, meta: metaLength === 0 ? undefined : decode(reader.rest()) as Record<string, unknown> }
  } catch (cause) {
    if (cause instanceof Corrupt) throw cause
    throw new Corrupt('a manifest node is not well-formed', { cause })
  }
}
