import { ByteReader, ByteWriter, MalformedBytes } from '../base/bytes.ts'
import { type Entry, readEntry, writeEntry } from './manifest.ts'

/** Where the bytes of a version are, as its row says it. */
export type Content =
  /** In the row itself: at most 4 KiB. */
  | { readonly kind: 'inline', readonly bytes: Uint8Array }
  /** At most 8 chunks, listed in the row. */
  | { readonly kind: 'chunks', readonly entries: readonly Entry[] }
  | { readonly kind: 'tree', readonly level: number, readonly root: Entry }

export const contentLimits = { maxInlineBytes: 4096, maxListedChunks: 8 } as const

const kinds = { inline: 0, chunks: 1, tree: 2 } as const

/** u8 kind, then: the bytes | u8 count, entries | u8 level, entry. */
export function encodeContent (content: Content): Uint8Array {
  const writer = new ByteWriter().u8(kinds[content.kind])
  switch (content.kind) {
    case 'inline': return writer.raw(content.bytes).finish()
    case 'chunks':
      writer.u8(content.entries.length)
      for (const entry of content.entries) writeEntry(writer, entry)
      return writer.finish()
    case 'tree': return writeEntry(writer.u8(content.level), content.root).finish()
    default: return content satisfies never
  }
}

/** @throws MalformedBytes */
export function decodeContent (bytes: Uint8Array): Content {
  const reader = new ByteReader(bytes)
  const kind = reader.u8()
  if (kind === kinds.inline) return { kind: 'inline', bytes: reader.rest() }
  const number = reader.u8()
  if (kind !== kinds.chunks && kind !== kinds.tree) throw new MalformedBytes(`content of kind ${kind}`)
  const content: Content = kind === kinds.chunks
    ? { kind: 'chunks', entries: Array.from({ length: number }, () => readEntry(reader)) }
    : { kind: 'tree', level: number, root: readEntry(reader) }
  reader.end()
  return content
}

export function sizeOfContent (content: Content): number {
  switch (content.kind) {
    case 'inline': return content.bytes.byteLength
    case 'chunks': return content.entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    case 'tree': return content.root.sizeBytes
    default: return content satisfies never
  }
}
