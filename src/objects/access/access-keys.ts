import { base64urlOf, empty, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { NotFound } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { type Change, type Registers, type RowAddress, tables } from '../../tables/index.ts'
import { type AccessKey, accessKeyLimits, type AccessRight, checkAccessKey, decodeAccessKey, encodeAccessKey, publicAccessKey, type SecretAccessKey, withRights } from './access-key.ts'
import { clusterScope } from '../describe.ts'
import { sharedReads } from '../shared-read.ts'

/** The access keys of the cluster: one sealed row each, the secret in it, so that every member can verify what is signed with it and nobody else can. */
export interface AccessKeys {
  /** The secret is told here and never again. @throws InvalidInput, Unavailable, UnknownOutcome */
  create (wanted: NewAccessKey, wait?: { signal?: AbortSignal }): Promise<SecretAccessKey>
  /** In order of id. */
  list (wait?: { signal?: AbortSignal }): Promise<readonly AccessKey[]>
  /** A right takes the place of that for the same bucket and prefix; one without actions only takes it away. @throws NotFound, InvalidInput */
  grant (id: string, rights: readonly AccessRight[], wait?: { signal?: AbortSignal }): Promise<AccessKey>
  /** From then on it is refused here, and within five seconds everywhere. @throws NotFound */
  remove (id: string, wait?: { signal?: AbortSignal }): Promise<void>
  /** To verify a signature: the key as it is, or was less than five seconds ago; undefined: there is none now. @throws Unavailable */
  find (id: string): Promise<SecretAccessKey | undefined>
}

export interface NewAccessKey {
  readonly name: string
  readonly rights: readonly AccessRight[]
  readonly notAfterMs?: number
}

export interface AccessKeysParts {
  readonly registers: Registers
  readonly clock: Clock
  readonly random: Random
  /** As for buckets: rows of a sealed table come after the layout is settled. */
  readonly settleLayout: (wait: { signal?: AbortSignal }) => Promise<void>
}

const addressOf = (id: string): RowAddress => ({ table: tables.accessKeys, scope: clusterScope, key: utf8(id) })
const idPattern = /^DFS[A-Z2-7]{17}$/
const secretBytes = 32
const pageSize = 1000

export function accessKeys ({ registers, clock, random, settleLayout }: AccessKeysParts): AccessKeys {
  const remembered = new Map<string, { key: SecretAccessKey, readMs: number }>()
  let changes = 0
  const shared = sharedReads(async (id) => {
    const before = changes
    // as of when it was asked for: what has changed since may not have been seen
    const readMs = clock.monotonicMs()
    const value = await registers.read(addressOf(id))
    if (value === undefined) { remembered.delete(id); return undefined }
    const key = decodeAccessKey(value)
    if (remembered.size >= accessKeyLimits.maxRemembered) remembered.clear()
    // what was changed here meanwhile counts here from then on
    if (changes === before) remembered.set(id, { key, readMs })
    return key
  })
  const change = async <T>(id: string, next: (current: SecretAccessKey | undefined) => Change<T>, wait: { signal?: AbortSignal }): Promise<T> => {
    try {
      return await registers.change<T>(addressOf(id), (value) => next(value === undefined ? undefined : decodeAccessKey(value)), wait)
    } finally {
      changes++
      remembered.delete(id)
    }
  }

  return {
    async create ({ name, rights, notAfterMs }, wait = {}) {
      checkAccessKey({ name, rights, notAfterMs })
      await settleLayout(wait)
      const key: SecretAccessKey = { id: freshId(random), secret: base64urlOf(random.bytes(secretBytes)), name, rights: withRights([], rights), notAfterMs, createdMs: clock.wallMs() }
      // 85 random bits: nobody has it
      await change(key.id, () => ({ kind: 'write', value: encodeAccessKey(key), result: undefined }), wait)
      return key
    },
    async list (wait = {}) {
      const keys: AccessKey[] = []
      for (let after: Uint8Array | undefined, more = true; more;) {
        const page = await registers.list({ table: tables.accessKeys, scope: clusterScope, prefix: empty, after, limit: pageSize }, wait)
        keys.push(...page.entries.map(({ summary }) => publicAccessKey(decodeAccessKey(summary))))
        after = page.next
        more = after !== undefined
      }
      return keys
    },
    async grant (id, rights, wait = {}) {
      checkAccessKey({ name: 'granted', rights: rights.filter(({ actions }) => actions.length > 0), notAfterMs: undefined })
      const changed = await change<SecretAccessKey | undefined>(id, (current) => {
        if (current === undefined) return { kind: 'keep', result: undefined }
        const key = { ...current, rights: withRights(current.rights, rights) }
        checkAccessKey(key)
        return { kind: 'write', value: encodeAccessKey(key), result: key }
      }, wait)
      return publicAccessKey(demanded(id, changed))
    },
    async remove (id, wait = {}) {
      demanded(id, await change<SecretAccessKey | undefined>(id, (current) => current === undefined ? { kind: 'keep', result: undefined } : { kind: 'erase', result: current }, wait))
    },
    async find (id) {
      // what has not the form of an id is nobody's, and costs no majority
      if (!idPattern.test(id)) return undefined
      const known = remembered.get(id)
      if (known !== undefined && clock.monotonicMs() - known.readMs < accessKeyLimits.maxStaleMs) return known.key
      return shared(id)
    },
  }
}

function demanded (id: string, key: SecretAccessKey | undefined): SecretAccessKey {
  if (key === undefined) throw new NotFound(`there is no access key "${id.slice(0, 40)}"; "dfs key ls" lists them`)
  return key
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** "DFS" and 17 characters of base32. */
function freshId (random: Random): string {
  return `DFS${Array.from(random.bytes(17), (byte) => alphabet[byte & 31]).join('')}`
}
