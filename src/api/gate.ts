import { ApiError } from './errors.ts'
import type { PublicExchange } from './server/public-listener.ts'

/** What somebody wants to do at a face that others reach. */
export interface Wish {
  /** admin: make, change and remove the bucket itself. */
  readonly action: 'read' | 'list' | 'write' | 'admin'
  readonly bucket: string
  /** Of a listing the prefix. */
  readonly key: string
  /** Of a version that is named, or of all: what a bucket opens to everybody is what is current. */
  readonly isOfVersions?: boolean
  /** What of an object is written, set by an admin, or told beside it; absent: its content, and that it is there at all. Tags and locks that come with a put are asked for too. */
  readonly aspects?: readonly Aspect[]
  /** Settings of the bucket, by name, that an admin changes, or 'removal': rights alone grant it, and its policy may deny it. */
  readonly changes?: readonly string[]
  /** A setting of the bucket, by name, that is told: who sees it rights say, and its policy may deny it. */
  readonly told?: string
}

/** governance: a retention of that mode is lifted before its time. */
export type Aspect = 'content' | 'tags' | 'retention' | 'hold' | 'governance'

/** Who may do what: access keys, and what buckets let everybody do. */
export interface Gate {
  /** What the bucket itself says, of this key or of whoever has none: its policy, and whether it is open to anybody. A denial holds against every right. */
  judge (wish: Wish, asker: { readonly keyId: string | undefined, readonly isSecure: boolean }): Promise<'allow' | 'deny' | 'silent'>
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
  /** Whether there is anything in the bucket that it may do. */
  mayEnter (bucket: string): boolean
}

/** Who puts without a key, where a policy lets everybody: together they are one to the node's memory. */
export const anybody = 'anybody'

/** Lets a request in, by its key or as anybody's. @throws ApiError 401, 403; TooMany */
export async function admitted (exchange: PublicExchange, gate: Gate, wish: Wish): Promise<{ isPublic: boolean, askedBy: string }> {
  const key = await shownKey(exchange, gate)
  return { isPublic: await allowed({ gate, key, wish, isSecure: exchange.isSecure }), askedBy: key?.id ?? anybody }
}

/** The key that a request shows; undefined: none. @throws ApiError 401 for a wrong one; TooMany */
export async function shownKey (exchange: PublicExchange, gate: Gate): Promise<ProvenKey | undefined> {
  const { signal, request } = exchange
  const credentials = credentialsOf(request.headers.authorization)
  if (credentials === undefined) return undefined
  exchange.demandTrust(credentials.id)
  const key = await gate.prove(credentials, { signal })
  if (key === undefined) {
    exchange.countFailure(credentials.id)
    throw new ApiError(401, 'refused', 'there is no such access key, or its secret is another')
  }
  exchange.note({ key: key.id })
  exchange.countKey(key.id)
  return key
}

/** Whether anybody may do this (true), or the key alone (false). @throws ApiError 401, 403 where neither may */
export async function allowed ({ gate, key, wish, isSecure }: { gate: Gate, key: ProvenKey | undefined, wish: Wish, isSecure: boolean }): Promise<boolean> {
  const judgement = await gate.judge(wish, { keyId: key?.id, isSecure })
  if (judgement === 'allow' || (judgement === 'silent' && key?.may(wish) === true)) return key === undefined
  if (key === undefined) throw new ApiError(401, 'refused', 'this takes an access key: its id as user name and its secret as password')
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
