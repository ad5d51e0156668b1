import type { CopyOptions, ObjectName, Objects, OfVersion } from '../objects/index.ts'
import { ApiError } from './errors.ts'
import type { Permit } from './rpc/permit.ts'
import { S3Error } from './s3/errors.ts'

export interface TagsAlong {
  readonly source: ObjectName & OfVersion
  readonly target: ObjectName
  /** @throws ApiError or S3Error unless who asks may read the source's tags and set the target's */
  readonly demand: () => Promise<void>
  readonly signal: AbortSignal
}

/** What a copy that keeps its source's tags is told of them: they come along for who may read them there and set them here, as at AWS; what a bucket opens to everybody is its objects. @throws what `demand` throws, where the source has tags */
export async function tagsAlong (objects: Pick<Objects, 'head'>, { source: { versionId, ...source }, target, demand, signal }: TagsAlong): Promise<Pick<CopyOptions, 'tags'>> {
  // they stay where they are
  if (versionId === undefined && source.bucket === target.bucket && source.key === target.key) return {}
  try {
    await demand()
    return {}
  } catch (error) {
    if (!isRefusal(error)) throw error
    const { attributes: { tags = [] } } = await objects.head(source, { versionId, signal })
    if (tags.length > 0) throw error
    // nor do any that it is given meanwhile
    return { tags: [] }
  }
}

/** As of whoever shows an access key. */
export const demandTags = (permit: Pick<Permit, 'demand'>, { source, target }: Pick<TagsAlong, 'source' | 'target'>) => async (): Promise<void> => {
  await permit.demand({ action: 'read', bucket: source.bucket, key: source.key, isOfVersions: source.versionId !== undefined, aspects: ['tags'] })
  await permit.demand({ action: 'write', ...target, aspects: ['tags'] })
}

const isRefusal = (error: unknown): boolean => error instanceof ApiError ? error.status === 401 || error.status === 403 : error instanceof S3Error && error.code === 'AccessDenied'
