import type { IncomingMessage } from 'node:http'
import { ApiError } from '../errors.ts'

/**
 * What Node's parser lets pass, and a proxy before this server may read otherwise (request smuggling, https://portswigger.net/web-security/request-smuggling).
 * The parser itself refuses two lengths, a length beside chunks, bare line feeds, folded headers and bad chunk sizes; the tests keep it so.
 * @throws ApiError
 */
export function demandWellFormed (request: IncomingMessage): void {
  // what HTTP/2 says is framed, and checked by its session
  if (request.httpVersionMajor > 1) return
  const { rawHeaders, url = '' } = request
  const seen = new Map<string, number>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase()
    seen.set(name, (seen.get(name) ?? 0) + 1)
  }
  for (const name of onlyOnce) if ((seen.get(name) ?? 0) > 1) throw new ApiError(400, 'invalid', `the header ${name} came more than once`)
  if (!seen.has('host')) throw new ApiError(400, 'invalid', 'the header host is needed')
  const coding = request.headers['transfer-encoding']
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') throw new ApiError(501, 'invalid', 'the only Transfer-Encoding here is chunked')
  if (coding !== undefined && request.httpVersion === '1.0') throw new ApiError(400, 'invalid', 'HTTP/1.0 has no Transfer-Encoding')
  if (!url.startsWith('/') && !(url === '*' && request.method === 'OPTIONS')) throw new ApiError(400, 'invalid', 'the target of a request starts with a slash')
}

/** A second one would be read by one server and not by another. */
const onlyOnce = ['host', 'content-length', 'transfer-encoding', 'authorization', 'expect', 'range', 'content-type', 'origin'] as const
