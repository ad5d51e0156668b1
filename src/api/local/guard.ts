import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { fromHex, hexOf, utf8 } from '../../base/bytes.ts'
import { keyedHash } from '../../base/hash.ts'
import { ApiError } from '../errors.ts'

/**
 * Who may use the local API: whoever can read api.json. The Host allow-list keeps DNS rebinding out, refusing every Origin keeps browsers out,
 * and the challenge lets the client know that it speaks to this node before it shows the token: a process squatting on the port learns nothing.
 */
/** Where the API listens: every machine has it, and no other reaches it. */
export const loopback = '127.0.0.1'

const challengeLength = 32

/** hex(keyed hash of the challenge under the token). @throws ApiError on a challenge that is not 32 bytes of hex */
export function proofOf (token: Uint8Array, challenge: string): string {
  if (!/^[0-9a-f]{64}$/.test(challenge)) throw new ApiError(400, 'invalid', `the challenge has ${challengeLength} bytes, in lower-case hexadecimal`)
  return hexOf(keyedHash(token, utf8('dfs/v1/api'), Uint8Array.of(0), fromHex(challenge)))
}

/** @throws ApiError unless the request came to a name of this machine and from no web page */
export function checkOrigin (headers: IncomingHttpHeaders, port: number): void {
  const allowed = [loopback, 'localhost'].map((host) => `${host}:${port}`)
  // HTTP/2 has a name of its own for it, and may have both
  const named = [headers.host, headers[':authority']].filter((name) => name !== undefined)
  if (named.length === 0 || !named.every((name) => allowed.includes(String(name)))) throw new ApiError(421, 'refused', 'the Host header names another server')
  if (headers.origin !== undefined) throw new ApiError(403, 'refused', 'web pages may not use this API')
}

/** @throws ApiError unless the request carries the token */
export function checkToken (headers: IncomingHttpHeaders, token: Uint8Array): void {
  const [scheme, given = ''] = (headers.authorization ?? '').split(' ')
  const expected = utf8(hexOf(token))
  const presented = utf8(given)
  const isRight = scheme === 'Bearer' && presented.byteLength === expected.byteLength && timingSafeEqual(presented, expected)
  if (!isRight) throw new ApiError(401, 'refused', 'the token in api.json is needed, as "Authorization: Bearer …"')
}
