import { InvalidInput } from '../base/errors.ts'

/** "BUCKET" or "BUCKET/KEY"; the key may hold slashes. @throws InvalidInput if the bucket is missing */
export function targetOf (text: string): { readonly bucket: string, readonly key: string | undefined } {
  const slash = text.indexOf('/')
  if (slash === 0) throw new InvalidInput('bucket', `"${text}" names no bucket; write BUCKET or BUCKET/KEY, without a slash before it`)
  if (slash < 0) return { bucket: text, key: undefined }
  return { bucket: text.slice(0, slash), key: text.slice(slash + 1) }
}

/** @throws InvalidInput if the key is missing */
export function objectOf (text: string): { readonly bucket: string, readonly key: string } {
  const { bucket, key } = targetOf(text)
  if (key === undefined || key === '') throw new InvalidInput('object', `"${text}" names no object; write BUCKET/KEY`)
  return { bucket, key }
}
