import { ByteReader, ByteWriter, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import type { Announcement } from './index.ts'

/** Announcements on the wire: u8 version | u16 count | rowKey(32) | versionId(32) | u8 n, root | u8 k, k × (u8 n, cid) … No names. */
export type UnsignedAnnouncement = Omit<Announcement, 'from' | 'isAgain'>

export const announcementLimits = {
  /** In one message. */
  maxBatch: 64,
  maxBlocks: 8,
  maxMessageBytes: 64 * 1024,
  /** Waiting to be sent; above it the oldest go, for readers find objects without. */
  maxQueued: 1024,
  /** Gathered for so long before they are sent together. */
  gatherMs: 20,
  /** Messages a second from one peer; more are dropped. */
  maxMessagesPerSecond: 200,
} as const

const version = 1

export function encodeAnnouncements (announcements: readonly UnsignedAnnouncement[]): Uint8Array {
  const writer = new ByteWriter().u8(version).u16(announcements.length)
  for (const { rowKey, versionId, root, blocks } of announcements) {
    writer.raw(rowKey).raw(versionId).short(utf8(root ?? '')).u8(blocks.length)
    for (const block of blocks) writer.short(utf8(block))
  }
  return writer.finish()
}

/** @throws MalformedBytes */
export function decodeAnnouncements (bytes: Uint8Array): readonly UnsignedAnnouncement[] {
  if (bytes.byteLength > announcementLimits.maxMessageBytes) throw new MalformedBytes(`announcements of ${bytes.byteLength} bytes`)
  const reader = new ByteReader(bytes)
  const [found, count] = [reader.u8(), reader.u16()]
  if (found !== version || count > announcementLimits.maxBatch) throw new MalformedBytes('announcements of another version, or too many')
  const announcements = Array.from({ length: count }, () => decodeOne(reader))
  reader.end()
  return announcements
}

function decodeOne (reader: ByteReader): UnsignedAnnouncement {
  const [rowKey, versionId, root, count] = [reader.raw(32), reader.raw(32), textOf(reader.short()), reader.u8()]
  if (count > announcementLimits.maxBlocks) throw new MalformedBytes(`an announcement of ${count} blocks`)
  return { rowKey, versionId, root: root === '' ? undefined : root, blocks: Array.from({ length: count }, () => textOf(reader.short())) }
}
