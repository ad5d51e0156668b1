import { blocksReader, type FoundVersion } from '../reading.ts'
import type { WrittenContent } from '../ports.ts'
import { redundancyOf } from '../buckets/redundancy.ts'
import { spreadOf } from '../versions/stored.ts'
import { blockWriter, bucketOf, type OpenUpload, type UploadParts } from './open-upload.ts'

/** A range of an object, of which a part is to be a copy. */
export interface PartSource extends FoundVersion {
  readonly range: { readonly first: number, readonly end: number }
}

/**
 * Whether the part may have the very blocks of its source: equal content must be equal blocks in both places, and kept in as many pieces. Private buckets
 * promise that no two versions share anything.
 */
export function isSharable ({ bucket: from, version }: PartSource, { bucket: to, head }: OpenUpload): boolean {
  const isOneDomain = from.id === to.id || (from.dedup === 'cluster' && to.dedup === 'cluster')
  const { large } = redundancyOf(head)
  const spread = spreadOf(version)
  const isKeptAlike = spread === undefined ? large.k === 1 : spread.k === large.k && spread.m === large.m
  return version.hasBlocks && isOneDomain && isKeptAlike && !from.isPrivate && !to.isPrivate
}

/** Chunks that lie whole in the range are recorded for this version by their holders; what too few of them keep is read and put. */
export async function sharePart ({ parts }: UploadParts, upload: OpenUpload, { bucket: from, version, range }: PartSource, { signal }: { signal?: AbortSignal }): Promise<WrittenContent> {
  const { get } = blocksReader(parts, { bucket: from, version })
  const writer = blockWriter(parts, upload)
  return parts.content.excerpt(version.content, {
    bucket: bucketOf(upload), range, signal, get,
    put: async (cid, block, of) => { await writer.put(cid, block, { ...of, signal }) },
    async share (cids) {
      const adopted = await writer.adopt(cids, { signal })
      for (const cid of cids) if (!adopted.has(cid)) await writer.put(cid, await get(cid, { mayBeSpread: true, signal }), { mayBeSpread: true, signal })
    },
  })
}
