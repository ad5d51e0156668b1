/** `/v1/objects/BUCKET/KEY`, percent-encoded so that every key passes unchanged. */
export const objectPath = (bucket: string, key?: string): string =>
  `/v1/objects/${encodeURIComponent(bucket)}${key === undefined ? '' : `/${encodeURIComponent(key)}`}`
