import { timingSafeEqual } from 'node:crypto'
import { base64urlOf, empty, equals, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Conflict, InvalidInput, NotFound, Refused, UnknownOutcome } from '../../base/errors.ts'
import { lastDateMs } from '../../base/iso-date.ts'
import type { Random } from '../../base/random.ts'
import { passwordHash, passwordHolds } from '../../encryption/index.ts'
import { type Change, type Registers, type RowAddress, tables } from '../../tables/index.ts'
import { clusterScope } from '../describe.ts'
import type { ObjectName, Objects } from '../index.ts'
import { decodeShareRow, encodeShareRow, publicShare, type Share, type ShareRow, shareSecretHash } from './share.ts'

/** Share links of the cluster: one sealed row each, so that every node with the data key honours it, and refuses it from the moment it is revoked. */
export interface Shares {
  /** The secret is told here and never again. @throws NotFound where there is no such object, Refused where there are too many, InvalidInput, Unavailable, UnknownOutcome */
  create (wanted: NewShare, wait?: { signal?: AbortSignal }): Promise<Share & { readonly secret: string }>
  /** In order of id; those that have ended too. */
  list (wait?: { signal?: AbortSignal }): Promise<readonly Share[]>
  /** From then on it opens nothing, anywhere. @throws NotFound */
  revoke (id: string, wait?: { signal?: AbortSignal }): Promise<void>
  /** The share as it is now, if the secret is its; undefined: not so, and nothing tells which. @throws Unavailable */
  find (link: ShareLink, wait?: { signal?: AbortSignal }): Promise<FoundShare | undefined>
  /** Uses it up: of all that try, exactly one does. @throws Conflict for the others, NotFound if it was revoked, Unavailable (nothing happened), UnknownOutcome (it may be used up) */
  use (id: string, wait?: { signal?: AbortSignal }): Promise<void>
}

export interface NewShare extends ObjectName {
  readonly notAfterMs?: number
  readonly isOnce?: boolean
  readonly password?: string
}

export interface ShareLink {
  readonly id: string
  readonly secret: string
}

export interface FoundShare {
  readonly share: Share
  /** Slow on purpose. True where it takes none. */
  readonly isPassword: (password: string) => Promise<boolean>
}

export interface SharesParts {
  readonly registers: Registers
  readonly objects: Pick<Objects, 'bucket' | 'head'>
  readonly clock: Clock
  readonly random: Random
  readonly maxShares?: number
}

export const shareLimits = {
  idBytes: 12,
  secretBytes: 32,
  useBytes: 16,
  maxPasswordBytes: 256,
  /** Of the cluster, those that have ended among them; several nodes that make some at once may pass it by a few. */
  maxShares: 10_000,
} as const

const addressOf = (id: string): RowAddress => ({ table: tables.shares, scope: clusterScope, key: utf8(id) })
const idPattern = /^[\w-]{16}$/
const pageSize = 1000

export function shares ({ registers, objects, clock, random, maxShares = shareLimits.maxShares }: SharesParts): Shares {
  const change = async <T>(id: string, next: (current: ShareRow | undefined) => Change<T>, wait: { signal?: AbortSignal }): Promise<T> =>
    registers.change<T>(addressOf(id), (value) => next(value === undefined ? undefined : decodeShareRow(value)), wait)

  const pagesOf = async function * (wait: { signal?: AbortSignal }): AsyncIterable<readonly Uint8Array[]> {
    for (let after: Uint8Array | undefined, more = true; more; more = after !== undefined) {
      const page = await registers.list({ table: tables.shares, scope: clusterScope, prefix: empty, after, limit: pageSize }, wait)
      yield page.entries.map(({ summary }) => summary)
      after = page.next
    }
  }
  /** Looks no further than `enough`. */
  const countOf = async (enough: number, wait: { signal?: AbortSignal }): Promise<number> => {
    let count = 0
    for await (const page of pagesOf(wait)) if ((count += page.length) >= enough) break
    return count
  }

  return {
    async create ({ bucket, key, notAfterMs, isOnce = false, password }, wait = {}) {
      checkWanted({ notAfterMs, password })
      if (await countOf(maxShares, wait) >= maxShares) throw new Refused(`there are ${maxShares} shares already: revoke some that have ended ("dfs share ls", "dfs share revoke")`)
      const [{ id: bucketId }] = await Promise.all([objects.bucket(bucket, wait), objects.head({ bucket, key }, wait)])
      const [id, secret] = [base64urlOf(random.bytes(shareLimits.idBytes)), base64urlOf(random.bytes(shareLimits.secretBytes))]
      const row: ShareRow = {
        id, bucket, bucketId, key, isOnce, notAfterMs, createdMs: clock.wallMs(), usedMs: undefined,
        secretHash: shareSecretHash(id, secret),
        password: password === undefined ? undefined : await passwordHash(password, random),
      }
      // 96 random bits: nobody has it
      await change(id, () => ({ kind: 'write', value: encodeShareRow(row), result: undefined }), wait)
      return { ...publicShare(row), secret }
    },
    async list (wait = {}) {
      const all: Share[] = []
      for await (const page of pagesOf(wait)) all.push(...page.map((summary) => publicShare(decodeShareRow(summary))))
      return all
    },
    async revoke (id, wait = {}) {
      demanded(id, await change<ShareRow | undefined>(id, (current) => current === undefined ? { kind: 'keep', result: undefined } : { kind: 'erase', result: current }, wait))
    },
    async find ({ id, secret }, wait = {}) {
      // what has not the form of an id is nobody's, and costs no majority
      if (!idPattern.test(id)) return undefined
      const value = await registers.read(addressOf(id), wait)
      if (value === undefined) return undefined
      const row = decodeShareRow(value)
      if (!timingSafeEqual(row.secretHash, shareSecretHash(id, secret))) return undefined
      return { share: publicShare(row), isPassword: async (password) => row.password === undefined || (Buffer.byteLength(password) <= shareLimits.maxPasswordBytes && passwordHolds(row.password, password)) }
    },
    async use (id, wait = {}) {
      const usedBy = random.bytes(shareLimits.useBytes)
      const attempt = async (): Promise<ShareRow | undefined> => change<ShareRow | undefined>(id, (current) => {
        if (current === undefined || current.usedMs !== undefined) return { kind: 'keep', result: current }
        return { kind: 'write', value: encodeShareRow({ ...current, usedMs: clock.wallMs(), usedBy }), result: current }
      }, wait)
      // whether an earlier attempt happened the next one finds out: it meets its own mark, or makes it, and nobody else makes the same
      const before = demanded(id, await attempt().catch(onceMoreIfUnknown(attempt)).catch(onceMoreIfUnknown(attempt)))
      if (before.usedMs !== undefined && !equals(before.usedBy ?? empty, usedBy)) throw new Conflict('this share is used up')
    },
  }
}

const onceMoreIfUnknown = <T>(attempt: () => Promise<T>) => async (error: unknown): Promise<T> => {
  if (error instanceof UnknownOutcome) return attempt()
  throw error
}

function checkWanted ({ notAfterMs, password }: Pick<NewShare, 'notAfterMs' | 'password'>): void {
  if (notAfterMs !== undefined && !(Number.isSafeInteger(notAfterMs) && notAfterMs > 0 && notAfterMs <= lastDateMs)) throw new InvalidInput('expires', 'an expiry is a time in milliseconds since 1970, in the year 9999 at the latest')
  if (password === undefined) return
  const bytes = Buffer.byteLength(password)
  if (bytes < 1 || bytes > shareLimits.maxPasswordBytes) throw new InvalidInput('password', `a password has 1-${shareLimits.maxPasswordBytes} bytes; this one has ${bytes}`)
}

function demanded (id: string, row: ShareRow | undefined): ShareRow {
  if (row === undefined) throw new NotFound(`there is no share "${id.slice(0, 40)}"; "dfs share ls" lists them`)
  return row
}
