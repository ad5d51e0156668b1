import type { IncomingHttpHeaders } from 'node:http'

const prefix = 'x-dfs-meta-'
const encodedWord = /^=\?UTF-8\?B\?([A-Za-z0-9+/]*=*)\?=$/i

/** Metadata that a request sets: `x-dfs-meta-NAME`. What is no printable ASCII comes as RFC 2047 has it. */
export const metadataIn = (headers: IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => name.startsWith(prefix) && typeof value === 'string' ? [[name.slice(prefix.length), decoded(value)]] : []))

/** As headers of an answer. A name that no header can have, which other faces take, is left out: they tell it. */
export const metadataHeaders = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).flatMap(([name, value]) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) ? [[prefix + name, encoded(value)]] : []))

function decoded (value: string): string {
  const base64 = encodedWord.exec(value)?.[1]
  return base64 === undefined ? value : Buffer.from(base64, 'base64').toString('utf8')
}

const encoded = (value: string): string =>
  /^([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?$/.test(value) && !value.startsWith('=?') ? value : `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`
