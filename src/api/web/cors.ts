import { NotFound } from '../../base/errors.ts'
import type { Objects } from '../../objects/index.ts'
import { corsQuestionOf, corsRuleFor } from '../cors.ts'
import type { Incoming } from '../server/listener.ts'
import { targetOf } from './paths.ts'
import { isSharePath } from './share.ts'
import { siteBucketOf } from './site.ts'
import { isUploadPath, tusHeaders, uploadOf } from './tus.ts'

/** Whether the bucket's rules let a page of another origin ask this; then the answer says so too. Uploads count as PUT, whichever method tus takes. */
export async function allowsOrigin ({ objects, hosts = [] }: { objects: Objects, hosts?: readonly string[] }, origin: string, { request, response, path, signal }: Incoming): Promise<boolean> {
  // of a website a path begins with no bucket
  if (isSharePath(path) || siteBucketOf(request.headers.host, hosts) !== undefined) return false
  const bucket = isUploadPath(path) ? uploadOf(path)?.target.bucket : targetOf(path).bucket
  if (bucket === undefined || bucket === '') return false
  const asked = corsQuestionOf(request.method, request.headers, origin)
  const isUpload = isUploadPath(path) || asked.method === 'POST'
  const rule = corsRuleFor(await rulesOf(objects, bucket, signal), { ...asked, method: isUpload ? 'PUT' : asked.method }, always)
  if (rule === undefined) return false
  response.setHeader('access-control-allow-origin', rule.allowedOrigins.includes('*') ? '*' : origin)
  response.setHeader('vary', 'origin')
  response.setHeader('access-control-expose-headers', [...tusHeaders, 'etag', 'content-range', 'accept-ranges', ...rule.exposeHeaders ?? []].join(', '))
  if (request.method === 'OPTIONS') {
    response.setHeader('access-control-allow-methods', isUpload ? 'POST, PATCH, HEAD, DELETE, PUT' : asked.method)
    if (asked.headers.length > 0) response.setHeader('access-control-allow-headers', asked.headers.join(', '))
    if (rule.maxAgeSeconds !== undefined) response.setHeader('access-control-max-age', rule.maxAgeSeconds)
  }
  return true
}

const always: ReadonlySet<string> = new Set([...tusHeaders, 'authorization', 'content-type', 'range', 'if-range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'])

async function rulesOf (objects: Objects, bucket: string, signal: AbortSignal) {
  try { return (await objects.bucket(bucket, { signal })).settings?.cors ?? [] } catch (error) {
    if (error instanceof NotFound) return []
    throw error
  }
}
