import { adopt } from './adoption.ts'
import type { Replication } from './index.ts'
import { Reader, type ReaderParts } from './reader.ts'
import { Writer, type WriterParts } from './writer.ts'

/** Blocks of the cluster, for writers of versions and readers of them. */
export function replication (parts: WriterParts & ReaderParts): Replication & { settled (): Promise<void> } {
  const reader = new Reader(parts)
  const writer = new Writer(parts, async (cid, redundancy) => reader.get(cid, { redundancy, isPassing: true }))
  return {
    writer: (reference, options = {}) => ({
      put: async (cid, block, { signal } = {}) => { await writer.put({ cid, bytes: block, reference, ...options }, signal) },
      adopt: async (cids, { signal } = {}) => adopt(parts, cids, reference, { ...options, signal }),
      settled: async () => { await writer.settled() },
    }),
    reader: (of = {}) => ({ get: async (cid, { signal } = {}) => reader.get(cid, { ...of, signal }) }),
    settled: async () => { await writer.settled() },
  }
}
