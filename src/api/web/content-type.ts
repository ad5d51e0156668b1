import mime from 'mime'

/** What the object was stored as, else what its name says. */
export function contentTypeOf ({ key, contentType }: { readonly key: string, readonly contentType: string | undefined }): string {
  if (contentType !== undefined && contentType !== 'application/octet-stream') return contentType
  const guessed = mime.getType(key)
  return guessed === null ? 'application/octet-stream' : guessed.startsWith('text/') ? `${guessed}; charset=utf-8` : guessed
}

/**
 * Whether a browser that opens it runs nothing. A list of what is harmless, not of what is not: HTML, SVG, any XML, and what browsers will learn to run, is beyond it.
 */
export function isHarmless (contentType: string): boolean {
  const essence = (contentType.split(';')[0] ?? '').trim().toLowerCase()
  return /^(audio|video|font)\/[\w.+-]+$/.test(essence) && !essence.endsWith('+xml') || harmless.has(essence)
}

const harmless: ReadonlySet<string> = new Set([
  'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp', 'image/x-icon', 'image/vnd.microsoft.icon', 'image/tiff', 'image/heic',
  'text/plain', 'text/csv', 'text/markdown', 'text/css', 'text/vtt', 'application/json', 'application/pdf', 'application/octet-stream',
])

/** Content that others stored runs no script and reaches nothing of this origin, which other buckets share. */
export const sandbox = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src 'self' data:"

/** RFC 6266: plain letters for old readers, everything for others. */
export function attachmentOf (name: string): string {
  const plain = name.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_')
  const all = encodeURIComponent(name.toWellFormed()).replaceAll(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${all}`
}
