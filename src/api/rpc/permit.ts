import { type ContextKey, createContextKey, type HandlerContext } from '@connectrpc/connect'
import { ApiError } from '../errors.ts'
import { allowed, anybody, credentialsOf, type Gate, shownKey, type Wish } from '../gate.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { connectErrorOf, unexpected } from './errors.ts'

/** What whoever makes a call may do. */
export interface Permit {
  /** @throws ApiError 401, 403 */
  demand (wish: Wish): Promise<void>
  /** For what lasts: by the key and by what the bucket says as they are by now. @throws ApiError 401, 403 */
  demandStill (wish: Wish): Promise<void>
  /** Whether the bucket's policy says no, whatever the rights. */
  isDenied (wish: Wish): Promise<boolean>
  /** Whether it may do anything in the bucket. */
  mayEnter (bucket: string): boolean
  /** @throws ApiError 403 unless it may do anything in the bucket */
  demandEntry (bucket: string): void
  /** Whether it must name the bucket that it watches. */
  readonly isBounded: boolean
  /** It shows nothing at all. */
  readonly isAnybody: boolean
  /** Whom the memory of a put counts for; undefined: whoever has the node's own token. */
  readonly askedBy: string | undefined
}

/** Of whoever has the node's own token. */
export const everything: Permit = { demand: async () => {}, demandStill: async () => {}, isDenied: async () => false, mayEnter: () => true, demandEntry: () => {}, isBounded: false, isAnybody: false, askedBy: undefined }

/** By the access key that a request shows, or without one as anybody. @throws ApiError 401 for a wrong one; TooMany */
export async function permitOf (exchange: PublicExchange, gate: Gate): Promise<Permit> {
  const { isSecure, signal, request } = exchange
  const key = await shownKey(exchange, gate)
  return {
    isBounded: true,
    isAnybody: key === undefined,
    askedBy: key?.id ?? anybody,
    async demand (wish) { await allowed({ gate, key, wish, isSecure }) },
    async demandStill (wish) {
      const credentials = credentialsOf(request.headers.authorization)
      const now = credentials === undefined ? undefined : await gate.prove(credentials, { signal })
      if (credentials !== undefined && now === undefined) throw new ApiError(401, 'refused', 'there is no such access key any more')
      await allowed({ gate, key: now, wish, isSecure })
    },
    isDenied: async (wish) => await gate.judge(wish, { keyId: key?.id, isSecure }) === 'deny',
    mayEnter: (bucket) => key?.mayEnter(bucket) === true,
    demandEntry (bucket) {
      if (key === undefined) throw new ApiError(401, 'refused', 'this takes an access key')
      if (!key.mayEnter(bucket)) throw new ApiError(403, 'refused', 'this access key may not do this')
    },
  }
}

/** Set before a call's messages are read; a call without one is let do nothing. */
export const permitKey: ContextKey<Permit | undefined> = createContextKey<Permit | undefined>(undefined)

export function permitIn ({ values }: Pick<HandlerContext, 'values'>): Permit {
  const permit = values.get(permitKey)
  if (permit === undefined) throw unexpected()
  return permit
}

/** Whether it may, for what is told to those alone. */
export async function mayDo (permit: Pick<Permit, 'demand'>, wish: Wish): Promise<boolean> {
  try {
    await permit.demand(wish)
    return true
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return false
    throw error
  }
}

/** @throws ConnectError unless the caller may */
export async function demand (context: Pick<HandlerContext, 'values'>, wish: Wish): Promise<void> {
  try { await permitIn(context).demand(wish) } catch (error) { throw connectErrorOf(error) ?? error }
}
