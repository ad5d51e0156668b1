import { ApiError } from '../errors.ts'

/** Bucket and key of "/BUCKET/KEY"; key "" of "/BUCKET/", undefined of "/BUCKET". Parted before it is decoded: an encoded slash belongs to a key. @throws ApiError */
export function targetOf (path: string): { bucket: string, key: string | undefined } {
  const [bucket = '', ...key] = path.slice(1).split('/').map(decoded)
  return { bucket, key: key.length === 0 ? undefined : key.join('/') }
}

/** The key of "/KEY", at a host that names the bucket; "" of "/". @throws ApiError */
export const keyOf = (path: string): string => path.slice(1).split('/').map(decoded).join('/')

function decoded (segment: string): string {
  try { return decodeURIComponent(segment) } catch { throw new ApiError(400, 'invalid', 'the path is not well-formed percent-encoded UTF-8') }
}

/** The path of an object, or of a folder. Browsers resolve "." and ".." and may drop empty segments, so of a key that has any the slashes are encoded too. */
export function pathOf (bucket: string, key: string): string {
  const segments = key.split('/')
  const isPlain = segments.every((segment, i) => segment !== '.' && segment !== '..' && (segment !== '' || i === segments.length - 1))
  return `/${encodeURIComponent(bucket)}/${segments.map(encodeURIComponent).join(isPlain ? '/' : '%2F')}`
}
