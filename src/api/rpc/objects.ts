import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate, timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { InvalidInput } from '../../base/errors.ts'
import { lend } from '../../base/lease.ts'
import type { AnnouncementSeen } from '../../node.ts'
import type { ByteRange, ObjectInfo, PutOptions, Retention, Tags } from '../../objects/index.ts'
import type { Aspect } from '../gate.ts'
import { demandTags, tagsAlong } from '../tags-along.ts'
import { untilStopped } from './calls.ts'
import { type AnnouncementSchema, type ByteRange as ByteRangeMessage, type GetObjectResponseSchema, type ObjectSchema, type ObjectService, type PutObjectHead, type PutObjectRequest, type Retention as RetentionMessage, RetentionMode, type WatchObjectsResponseSchema } from './generated/dfs/v1/object_pb.ts'
import { nameIn, numberIn } from './names.ts'
import { demand, mayDo, type Permit, permitIn } from './permit.ts'
import type { RpcParts } from './service.ts'
import { msIn, numberOf } from './whole.ts'

export const chunkLimits = {
  /** Of one message of a GetObject: the library copies it twice, and a reader that is slow holds the copies. Readers' libraries take 4 MiB unless told. */
  maxSentBytes: 256 * 1024,
} as const

export function objectService ({ node }: Pick<RpcParts, 'node'>): ServiceImpl<typeof ObjectService> {
  const { objects } = node
  return {
    async putObject (requests, context) {
      const { signal } = context
      const parts = requests[Symbol.asyncIterator]()
      const head = await headOf(parts)
      const { bucket, key } = head
      // a lock that anybody can put on what anybody may upload, nobody can remove
      await demand(context, { action: 'write', bucket, key, aspects: ['content', ...aspectsOf({ tags: Object.keys(head.tags).length === 0 ? undefined : head.tags, retention: head.retention, isHeld: head.isHeld ? true : undefined })] })
      await demandToldEtag(context, head)
      return { object: messageOf(await objects.put({ bucket, key }, chunksOf(parts), { ...putOptionsOf(head), askedBy: permitIn(context).askedBy, signal })) }
    },
    async * getObject ({ bucket, key, range, ifMatch, versionId }, context): AsyncIterable<MessageInitShape<typeof GetObjectResponseSchema>> {
      const { signal } = context
      await demand(context, { action: 'read', bucket, key, isOfVersions: versionId !== undefined })
      const { info, range: { first, end }, body, sources } = await objects.get({ bucket, key }, { range: rangeOf(range), ifMatch, versionId, signal })
      yield { part: { case: 'head', value: { object: await messageFor(context, info, { isOfVersions: versionId !== undefined }), first: BigInt(first), end: BigInt(end) } } }
      for await (const piece of body) {
        for (let at = 0; at < piece.byteLength; at += chunkLimits.maxSentBytes) yield { part: { case: 'chunk', value: bytesOf(piece, at) } }
      }
      const peerBytes = Object.fromEntries([...sources.peers].map(([peer, bytes]) => [peer, BigInt(bytes)]))
      yield { part: { case: 'end', value: { localBytes: BigInt(sources.local), cacheBytes: BigInt(sources.cache), peerBytes } } }
    },
    async statObject ({ bucket, key, versionId }, context) {
      await demand(context, { action: 'read', bucket, key, isOfVersions: versionId !== undefined })
      return { object: await messageFor(context, await objects.head({ bucket, key }, { versionId, signal: context.signal }), { isOfVersions: versionId !== undefined }) }
    },
    async listObjects ({ bucket, prefix, delimiter, after, limit }, context) {
      const { signal } = context
      await demand(context, { action: 'list', bucket, key: prefix })
      const page = await objects.list(bucket, { prefix, delimiter, after: after === '' ? undefined : after, limit: limit === 0 ? undefined : limit, signal })
      return { objects: page.objects.map(messageOf), prefixes: [...page.prefixes], next: page.next }
    },
    async copyObject ({ sourceBucket, sourceKey, sourceVersionId, sourceIfMatch, bucket, key, ifMatch, ifAbsent }, context) {
      const { signal } = context
      await demand(context, { action: 'read', bucket: sourceBucket, key: sourceKey, isOfVersions: sourceVersionId !== undefined })
      await demand(context, { action: 'write', bucket, key })
      await demandToldEtag(context, { bucket, key, ifMatch })
      const [source, target] = [{ bucket: sourceBucket, key: sourceKey, versionId: sourceVersionId }, { bucket, key }]
      const tags = await tagsAlong(objects, { source, target, demand: demandTags(permitIn(context), { source, target }), signal })
      const info = await objects.copy(source, target, { ...tags, sourceIfMatch, ...conditionOf({ ifMatch, ifAbsent }), signal })
      return { object: await messageFor(context, info, { isOfVersions: false }) }
    },
    async deleteObject ({ bucket, key, ifMatch, versionId: wanted, bypassGovernance }, context) {
      const { signal } = context
      await demand(context, { action: 'write', bucket, key, isOfVersions: wanted !== undefined })
      if (bypassGovernance) await demand(context, { action: 'admin', bucket, key, aspects: ['governance'] })
      await demandToldEtag(context, { bucket, key, ifMatch })
      const { wasThere, versionId, isDeleteMarker } = await objects.remove({ bucket, key }, { ifMatch, versionId: wanted, signal, ...bypassGovernance ? { mayBypassGovernance: true } : {} })
      return { removed: wasThere, versionId, isDeleteMarker }
    },
    async updateObject ({ bucket, key, versionId, tags, retention, isHeld, liftRetention, bypassGovernance }, context) {
      const { signal } = context
      const aspects = aspectsOf({ tags, retention: liftRetention ? null : retention, isHeld })
      await demand(context, { action: 'write', bucket, key, isOfVersions: versionId !== undefined, aspects })
      if (aspects.length === 0) throw new InvalidInput('object', 'say what to set: tags, retention or is_held')
      if (liftRetention && retention !== undefined) throw new InvalidInput('retention', 'a retention is either set or lifted')
      // whoever may put and remove would otherwise be held by nothing
      if (isHeld === false) await demand(context, { action: 'admin', bucket, key, aspects: ['hold'] })
      if (bypassGovernance) await demand(context, { action: 'admin', bucket, key, aspects: ['governance'] })
      const change = { tags: tags === undefined ? undefined : tagsOf(tags.tags), retention: liftRetention ? null : retentionOf(retention), isHeld }
      const named = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
      const info = await objects.setAttributes({ bucket, key, versionId }, named, { signal, ...bypassGovernance ? { mayBypassGovernance: true } : {} })
      const of = { isOfVersions: versionId !== undefined }
      // whoever may write and not read is not told what is in it
      const isReadable = await mayDo(permitIn(context), { action: 'read', bucket, key, ...of })
      return { object: isReadable ? await messageFor(context, info, of) : { bucket, key, versionId: info.versionId, isNullVersion: info.isNullVersion } }
    },
    async listVersions ({ bucket, prefix, delimiter, afterKey, afterVersionId, limit }, context) {
      const { signal } = context
      await demand(context, { action: 'list', bucket, key: prefix, isOfVersions: true })
      if (afterKey === '' && afterVersionId !== '') throw new InvalidInput('after_version_id', 'a version is of a key: say after_key too')
      const after = afterKey === '' ? undefined : { key: afterKey, versionId: afterVersionId === '' ? undefined : afterVersionId }
      const page = await objects.listVersions(bucket, { prefix, delimiter, after, limit: limit === 0 ? undefined : limit, signal })
      return {
        versions: page.versions.map(({ isLatest, isDeleteMarker, ...info }) => ({ object: messageOf(info), isLatest, isDeleteMarker })),
        prefixes: [...page.prefixes], nextKey: page.next?.key, nextVersionId: page.next?.versionId,
      }
    },
    async * watchObjects (asked, context): AsyncIterable<MessageInitShape<typeof WatchObjectsResponseSchema>> {
      if (permitIn(context).isBounded && asked.bucket === '') throw new InvalidInput('bucket', 'with an access key one bucket is watched')
      await demand(context, { action: 'list', bucket: asked.bucket, key: asked.prefix })
      yield * untilStopped(context, (signal) => announcements(node.watch({ signal }), asked, permitIn(context)))
    },
  }
}

async function headOf (parts: AsyncIterator<PutObjectRequest>): Promise<PutObjectHead> {
  const first = await parts.next()
  if (first.done !== true && first.value.part.case === 'head') return first.value.part.value
  throw new InvalidInput('head', 'a put begins with a head, which names the bucket and the key')
}

/** A stream that was broken off can end as a whole one does: Node's client, told to cancel, closes its side before it resets. So the end has a message of its own. */
async function * chunksOf (parts: AsyncIterator<PutObjectRequest>): AsyncIterable<Uint8Array> {
  try {
    for (;;) {
      const next = await parts.next()
      if (next.done === true) throw new InvalidInput('part', 'the put ended without its end: nothing is stored')
      const { part } = next.value
      if (part.case === 'end') return
      if (part.case !== 'chunk') throw new InvalidInput('part', 'after its head a put has chunks, and then its end')
      // a message has memory of its own
      if (part.value.byteLength > 0) yield lend(part.value)
    }
  } finally {
    await parts.return?.()
  }
}

/** Whether an ETag holds tells what is in the object to whoever guesses. */
async function demandToldEtag (context: Parameters<typeof demand>[0], { bucket, key, ifMatch }: { bucket: string, key: string, ifMatch?: string | undefined }): Promise<void> {
  if ((ifMatch ?? '*') !== '*') await demand(context, { action: 'read', bucket, key })
}

const putOptionsOf = ({ contentType, metadata, sizeBytes, ifMatch, ifAbsent, tags, retention, isHeld, wantsMd5 }: PutObjectHead): PutOptions => ({
  contentType, metadata, wantsMd5,
  sizeBytes: sizeBytes === undefined ? undefined : numberOf('size_bytes', sizeBytes),
  ...conditionOf({ ifMatch, ifAbsent }),
  ...(Object.keys(tags).length === 0 ? {} : { tags: tagsOf(tags) }),
  retention: retentionOf(retention),
  ...(isHeld ? { isHeld } : {}),
})

/** What is said of an object beside its content. */
const aspectsOf = (said: Readonly<Record<'tags' | 'retention' | 'isHeld', unknown>>): readonly Aspect[] => [
  ...said.tags === undefined ? [] : ['tags' as const], ...said.retention === undefined ? [] : ['retention' as const], ...said.isHeld === undefined ? [] : ['hold' as const],
]

const tagsOf = (tags: Readonly<Record<string, string>>): Tags => Object.entries(tags)

const modes = { governance: RetentionMode.GOVERNANCE, compliance: RetentionMode.COMPLIANCE } as const

function retentionOf (retention: RetentionMessage | undefined): Retention | undefined {
  if (retention === undefined) return undefined
  const mode = nameIn(modes, retention.mode, 'retention')
  if (mode === undefined || retention.until === undefined) throw new InvalidInput('retention', 'a retention has a mode and a date')
  return { mode, untilMs: msIn('retention', retention.until) }
}

const conditionOf = ({ ifMatch, ifAbsent }: { ifMatch?: string, ifAbsent: boolean }): Pick<PutOptions, 'ifMatch' | 'ifNoneMatch'> => ({ ifMatch, ifNoneMatch: ifAbsent ? '*' : undefined })

const rangeOf = (range: ByteRangeMessage | undefined): ByteRange | undefined =>
  range === undefined ? undefined : { first: numberOf('range', range.first), last: range.last === undefined ? undefined : numberOf('range', range.last) }

/** Tags are told to whoever may read those: what a bucket opens to everybody is its objects. */
async function messageFor (context: Parameters<typeof demand>[0], info: ObjectInfo, of: { isOfVersions: boolean }): Promise<MessageInitShape<typeof ObjectSchema>> {
  const message = messageOf(info)
  const isWithTags = info.attributes.tags !== undefined && await mayDo(permitIn(context), { action: 'read', bucket: info.bucket, key: info.key, aspects: ['tags'], ...of })
  return isWithTags ? message : { ...message, tags: {} }
}

/** A view: nobody writes into a piece that has been read. */
const bytesOf = (piece: Uint8Array, at: number): Uint8Array<ArrayBuffer> => piece.subarray(at, at + chunkLimits.maxSentBytes) as Uint8Array<ArrayBuffer>

function messageOf ({ bucket, key, sizeBytes, etag, versionId, modified, contentType, metadata, isNullVersion, attributes: { tags = [], retention, isHeld } }: ObjectInfo): MessageInitShape<typeof ObjectSchema> {
  return {
    bucket, key, sizeBytes: BigInt(sizeBytes), etag, versionId, modified: timestampFromDate(new Date(modified)), contentType, metadata: { ...metadata }, isNullVersion,
    tags: Object.fromEntries(tags), isHeld: isHeld === true,
    retention: retention === undefined ? undefined : { mode: numberIn(modes, retention.mode), until: timestampFromMs(retention.untilMs) },
  }
}

async function * announcements (seen: AsyncIterable<AnnouncementSeen>, asked: { bucket: string, prefix: string }, permit: Permit): AsyncIterable<MessageInitShape<typeof WatchObjectsResponseSchema>> {
  yield {}
  for await (const one of seen) {
    if (asked.bucket !== '' && one.object?.bucket !== asked.bucket) continue
    if (asked.prefix !== '' && one.object?.key.startsWith(asked.prefix) !== true) continue
    await permit.demandStill({ action: 'list', bucket: asked.bucket, key: asked.prefix })
    yield { announcement: announcementOf(one) }
  }
}

const announcementOf = ({ at, from, versionId, root, object }: AnnouncementSeen): MessageInitShape<typeof AnnouncementSchema> =>
  ({ at: timestampFromDate(new Date(at)), from, versionId, root, bucket: object?.bucket, key: object?.key })
