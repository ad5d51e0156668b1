import { InvalidInput } from '../../base/errors.ts'
import type { Bucket, BucketOptions } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs bucket create NAME` */
export async function create (name: string, options: GivenOptions): Promise<void> {
  const wanted = bucketOptionsOf(options)
  await withNode(options, async ({ client, output, signal }) => {
    const bucket = await client.json<Bucket>('PUT', `/v1/buckets/${encodeURIComponent(name)}`, { body: wanted, signal })
    output.fact(bucket, `made bucket ${bucket.name} (${redundancyText(bucket)})`)
  })
}

/** `dfs bucket ls` */
export async function list (options: GivenOptions): Promise<void> {
  await withNode(options, listBuckets)
}

export async function listBuckets ({ client, output, signal }: CommandContext): Promise<void> {
  const { buckets } = await client.json<{ buckets: Bucket[] }>('GET', '/v1/buckets', { signal })
  if (output.isJson) for (const bucket of buckets) output.fact(bucket, '')
  else if (buckets.length === 0) output.note('no buckets yet; "dfs bucket create NAME" makes one')
  else output.fact({}, table(buckets.map((bucket) => [bucket.name, redundancyText(bucket), bucket.isPrivate ? 'private' : '', bucket.created])))
}

/** `dfs bucket rm NAME` */
export async function remove (name: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('DELETE', `/v1/buckets/${encodeURIComponent(name)}`, { signal })
    output.fact({ bucket: name, removed: true }, `removed bucket ${name}`)
  })
}

const redundancyText = ({ copies }: Bucket): string => `rf:${copies}`

function bucketOptionsOf ({ redundancy, private: isPrivate, compression, chunking, dedup, degraded }: GivenOptions): Partial<BucketOptions> {
  return {
    ...(redundancy === undefined ? {} : { copies: copiesOf(String(redundancy)) }),
    ...(isPrivate === true ? { isPrivate } : {}),
    ...(compression === undefined ? {} : { compression: compression as BucketOptions['compression'] }),
    ...(chunking === undefined ? {} : { chunking: chunking as BucketOptions['chunking'] }),
    ...(dedup === undefined ? {} : { dedup: dedup as BucketOptions['dedup'] }),
    ...(degraded === undefined ? {} : { degraded: degraded as BucketOptions['degraded'] }),
  }
}

function copiesOf (redundancy: string): number {
  const match = /^rf:(\d+)$/.exec(redundancy)
  if (match === null) throw new InvalidInput('redundancy', `redundancy is "${redundancy}"; it takes rf:1, rf:2 or rf:3`)
  return Number(match[1])
}
