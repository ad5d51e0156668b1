const prefix = 'x-dfs-meta-'

/** Metadata as headers, which take printable ASCII: other values go as RFC 2047 has it. */
export const metadataHeaders = (metadata: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([name, value]) => [prefix + name, /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !value.startsWith('=?') ? value : encodedWord(value)]))

export const metadataIn = (headers: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => name.startsWith(prefix) && value !== undefined ? [[name.slice(prefix.length), decodedWord(value)]] : []))

function encodedWord (value: string): string {
  return `=?UTF-8?B?${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}?=`
}

function decodedWord (value: string): string {
  const encoded = /^=\?UTF-8\?B\?([A-Za-z0-9+/]*=*)\?=$/i.exec(value)?.[1]
  return encoded === undefined ? value : new TextDecoder().decode(Uint8Array.from(atob(encoded), (unit) => unit.charCodeAt(0)))
}
