import type { Bucket, BucketSettings } from '../objects/index.ts'
import { mayDo, type Permit } from './rpc/permit.ts'

/** What whoever lists a bucket is told of its settings, as at the S3 face. */
const forReaders = ['versioning', 'objectLock', 'tags', 'publicRead'] as const satisfies ReadonlyArray<keyof BucketSettings>

/** A bucket as whoever asks may see it: its policy, which names keys, and how it is run are for those who may administer it. */
export async function bucketFor (permit: Pick<Permit, 'demand'>, { settings, ...bucket }: Bucket): Promise<Bucket> {
  if (settings === undefined) return bucket
  if (await mayDo(permit, { action: 'admin', bucket: bucket.name, key: '' })) return { ...bucket, settings }
  return { ...bucket, settings: Object.fromEntries(forReaders.flatMap((name) => settings[name] === undefined ? [] : [[name, settings[name]]])) }
}
