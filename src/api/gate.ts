import { ApiError } from './errors.ts'
import type { PublicExchange } from './public-listener.ts'

/** What somebody wants to do at a face that others reach. */
export interface Wish {
  readonly action: 'read' | 'list' | 'write'
  readonly bucket: string
  /** Of a listing the prefix. */
  readonly key: string
}

/** Who may do what: access keys, and what buckets let everybody do. */
export interface Gate {
  /** Whether anybody may, without a key. */
  isPublic (wish: Wish, wait: { signal: AbortSignal }): Promise<boolean>
  /** Whether the key is there, and the secret its; undefined: not so, and nothing tells which. Takes as long either way. */
  prove (credentials: Credentials, wait: { signal: AbortSignal }): Promise<ProvenKey | undefined>
}

export interface Credentials {
  readonly id: string
  readonly secret: string
}

export interface ProvenKey {
  readonly id: string
  may (wish: Wish): boolean
}

/** Lets a request in, by its key or as anybody's. @throws ApiError 401, 403; TooMany */
export async function admitted (exchange: PublicExchange, gate: Gate, wish: Wish): Promise<{ isPublic: boolean }> {
  const { signal, request } = exchange
  const credentials = credentialsOf(request.headers.authorization)
  if (credentials === undefined) {
    if (await gate.isPublic(wish, { signal })) return { isPublic: true }
    throw new ApiError(401, 'refused', 'this takes an access key: its id as user name and its secret as password')
  }
  exchange.demandTrust()
  const key = await gate.prove(credentials, { signal })
  if (key === undefined) {
    exchange.countFailure()
    throw new ApiError(401, 'refused', 'there is no such access key, or its secret is another')
  }
  exchange.note({ key: key.id })
  exchange.countKey(key.id)
  if (key.may(wish)) return { isPublic: false }
  if (await gate.isPublic(wish, { signal })) return { isPublic: true }
  throw new ApiError(403, 'refused', 'this access key may not do this')
}

/** Of "Basic …" (RFC 7617), or "Bearer ID:SECRET". @throws ApiError for anything else */
export function credentialsOf (header: string | undefined): Credentials | undefined {
  if (header === undefined) return undefined
  const [scheme = '', given = ''] = header.split(' ')
  const text = scheme.toLowerCase() === 'basic' ? Buffer.from(given, 'base64').toString('utf8') : scheme.toLowerCase() === 'bearer' ? given : ''
  const at = text.indexOf(':')
  if (at < 1) throw new ApiError(401, 'refused', 'Authorization takes Basic, or "Bearer ID:SECRET"')
  return { id: text.slice(0, at), secret: text.slice(at + 1) }
}
