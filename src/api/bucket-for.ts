import type { Bucket, BucketSettings } from '../objects/index.ts'
import { mayDo, type Permit } from './rpc/permit.ts'

/** What whoever lists a bucket is told of its settings, as at the S3 face. */
const forReaders = ['versioning', 'objectLock', 'tags', 'publicRead'] as const satisfies ReadonlyArray<keyof BucketSettings>

/** A bucket as whoever asks may see it: its policy, which names keys, and how it is run are for those who may administer it, and nothing that it denies to be told. */
export async function bucketFor (permit: Pick<Permit, 'demand' | 'isDenied'>, { settings, ...bucket }: Bucket): Promise<Bucket> {
  if (settings === undefined) return bucket
  const asked = { action: 'admin', bucket: bucket.name, key: '' } as const
  const isAdmin = await mayDo(permit, asked)
  const told: Array<[string, unknown]> = []
  for (const [name, value] of Object.entries(settings)) {
    if ((isAdmin || (forReaders as readonly string[]).includes(name)) && !await permit.isDenied({ ...asked, told: name })) told.push([name, value])
  }
  return { ...bucket, settings: Object.fromEntries(told) }
}
