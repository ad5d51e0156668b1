import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { Conflict, InvalidInput } from '../../base/errors.ts'
import type { Bucket, BucketOptions, BucketSettings } from '../../objects/index.ts'
import { settingsChangeIn } from '../settings-change.ts'
import { bucketFor } from '../bucket-for.ts'
import { connectErrorOf } from './errors.ts'
import { type BucketOptions as OptionsMessage, type BucketOptionsSchema, type BucketSchema, type BucketService, Chunking, Compression, Dedup, Degraded } from './generated/dfs/v1/bucket_pb.ts'
import { nameIn, numberIn } from './names.ts'
import { demand, permitIn } from './permit.ts'
import type { RpcParts } from './service.ts'

export function bucketService ({ node: { objects } }: Pick<RpcParts, 'node'>): ServiceImpl<typeof BucketService> {
  return {
    async createBucket ({ name, options, settings }, context) {
      const { signal } = context
      await demand(context, { action: 'admin', bucket: name, key: '' })
      try {
        return { bucket: messageOf(await objects.createBucket(name, { ...options === undefined ? {} : optionsOf(options), ...settings === undefined ? {} : { settings: settingsChangeIn(name, settings) as BucketSettings } }, { signal })) }
      } catch (error) {
        throw error instanceof Conflict ? existing(error) : error
      }
    },
    listBuckets: async (_, context) => ({ buckets: (await objects.listBuckets({ signal: context.signal })).filter(({ name }) => permitIn(context).mayEnter(name)).map(messageOf) }),
    async getBucket ({ name }, context) {
      const permit = permitIn(context)
      permit.demandEntry(name)
      return { bucket: messageOf(await bucketFor(permit, await objects.bucket(name, { signal: context.signal }))) }
    },
    async updateBucket ({ name, redundancy, settings }, context) {
      const { signal } = context
      await demand(context, { action: 'admin', bucket: name, key: '', changes: Object.keys(settings ?? {}) })
      if (redundancy.case === undefined && settings === undefined) throw new InvalidInput('redundancy', 'a bucket is set to copies, shards or settings')
      // two writes: a reader in between sees the one without the other
      let bucket = settings === undefined ? undefined : await objects.setBucketSettings(name, settingsChangeIn(name, settings), { signal })
      if (redundancy.case !== undefined) bucket = await objects.setRedundancy(name, redundancy.case === 'copies' ? { copies: redundancy.value } : { shards: redundancy.value }, { signal })
      return { bucket: bucket === undefined ? undefined : messageOf(bucket) }
    },
    async deleteBucket ({ name }, context) {
      await demand(context, { action: 'admin', bucket: name, key: '', changes: ['removal'] })
      await objects.removeBucket(name, { signal: context.signal })
      return {}
    },
  }
}

// the one conflict that gRPC has a code of its own for
function existing (error: Conflict): ConnectError {
  const told = new ConnectError(error.message, Code.AlreadyExists)
  told.details = connectErrorOf(error)?.details ?? []
  return told
}

const compressions = { auto: Compression.AUTO, off: Compression.OFF } as const
const chunkings = { content: Chunking.CONTENT, 'content-small': Chunking.CONTENT_SMALL, fixed: Chunking.FIXED } as const
const dedups = { bucket: Dedup.BUCKET, cluster: Dedup.CLUSTER } as const
const degradeds = { refuse: Degraded.REFUSE, allow: Degraded.ALLOW } as const

function optionsOf ({ copies, shards, isPrivate, compression, chunking, dedup, degraded }: OptionsMessage): Partial<BucketOptions> {
  const options = {
    copies, shards, isPrivate,
    compression: nameIn(compressions, compression, 'compression'),
    chunking: nameIn(chunkings, chunking, 'chunking'),
    dedup: nameIn(dedups, dedup, 'dedup'),
    degraded: nameIn(degradeds, degraded, 'degraded'),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function messageOf ({ name, id, created, settings, ...options }: Bucket): MessageInitShape<typeof BucketSchema> {
  // through JSON, which leaves out what is undefined
  const stated = settings === undefined ? undefined : JSON.parse(JSON.stringify(settings)) as JsonObject
  return { name, id, created: timestampFromDate(new Date(created)), options: optionsMessageOf(options), settings: stated }
}

const optionsMessageOf = ({ copies, shards, isPrivate, compression, chunking, dedup, degraded }: BucketOptions): MessageInitShape<typeof BucketOptionsSchema> => ({
  copies, shards, isPrivate,
  compression: numberIn(compressions, compression),
  chunking: numberIn(chunkings, chunking),
  dedup: numberIn(dedups, dedup),
  degraded: degraded === undefined ? undefined : numberIn(degradeds, degraded),
})
