import { equals, fromHex, hexOf } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { type RowAddress, tables } from '../tables/index.ts'
import type { Details, Moved } from './history.ts'
import { checkKey } from './names.ts'
import { decodeObjectRow, emptyRow, encodeObjectRow, isVacant, type KeptVersion, type ObjectRow } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { decodeVersionRow, encodeVersionRow, type VersionRow, versionRowKey } from './version-row.ts'

/**
 * Changes an object's row, which alone decides what lives, together with the rows in which the details of its other versions stand: details are read, or written,
 * before the change, and it happens only if it still fits them.
 */
export interface ObjectPlace {
  /** Hexadecimal, of the bucket. */
  readonly bucketId: string
  readonly key: string
}

export type ObjectStep<T> =
  | { readonly kind: 'keep', readonly result: T }
  | { readonly kind: 'move', readonly to: Moved, readonly result: T }
  /** Nothing can be said before the details of this version are known. */
  | { readonly kind: 'ask', readonly about: KeptVersion }

/** Details of kept versions, as far as they have been asked for, of the edition that the row names or a later one. */
export type KnownDetails = (kept: KeptVersion) => VersionRow | undefined

export const objectAddress = ({ bucketId, key }: ObjectPlace): RowAddress => ({ table: tables.objects, scope: fromHex(bucketId), key: checkKey(key) })
export const versionAddress = ({ bucketId, key }: ObjectPlace, version: Pick<KeptVersion, 'sequence' | 'salt'>): RowAddress => ({ table: tables.versions, scope: fromHex(bucketId), key: versionRowKey(key, version) })

/** `decide` may be asked several times; what it throws is told once what it saw is chosen. @throws Unavailable, UnknownOutcome, Corrupt */
export async function changeObject<T> (parts: Pick<ObjectParts, 'registers' | 'warn'>, place: ObjectPlace, decide: (row: ObjectRow, details: KnownDetails) => ObjectStep<T>, wait: { signal?: AbortSignal } = {}): Promise<T> {
  const fresh = emptyRow({ bucketId: fromHex(place.bucketId), key: place.key })
  const known = new Map<string, { edition: number, details: VersionRow }>()
  const details: KnownDetails = (kept) => {
    const found = known.get(nameOf(kept))
    return found?.edition === kept.edition ? found.details : undefined
  }
  const written = new Map<string, Written>()
  for (;;) {
    const step: Outcome<T> = await parts.registers.change<Outcome<T>>(objectAddress(place), (value) => {
      const row = value === undefined ? fresh : decodeObjectRow(value)
      const decided = decide(row, details)
      if (decided.kind !== 'move') return { kind: 'keep', result: decided }
      const missing = decided.to.details?.filter((of) => !isWritten(of, written))
      if (missing !== undefined && missing.length > 0) return { kind: 'keep', result: { kind: 'write', details: missing } }
      const next = withEditions(decided.to, written)
      if (next === row) return { kind: 'keep', result: decided }
      return isVacant(next) ? { kind: 'erase', result: decided } : { kind: 'write', value: encodeObjectRow(next), result: decided }
    }, wait)
    switch (step.kind) {
      case 'keep': return step.result
      case 'move':
        if (step.to.gone !== undefined) await forget(parts, place, step.to.gone)
        return step.result
      case 'write':
        for (const of of step.details) written.set(nameOf(of.version), await write(parts, place, of, wait))
        break
      case 'ask':
        known.set(nameOf(step.about), { edition: step.about.edition, details: await detailsOf(parts, place, step.about, wait) })
        break
      default: step satisfies never
    }
  }
}

type Outcome<T> = ObjectStep<T> | { readonly kind: 'write', readonly details: readonly Details[] }

const nameOf = ({ salt }: Pick<KeptVersion, 'salt'>): string => hexOf(salt)

/** What was written of a version, and as which edition. */
interface Written { readonly bytes: Uint8Array, readonly edition: number }

const isWritten = (of: Details, written: ReadonlyMap<string, Written>): boolean => {
  const before = written.get(nameOf(of.version))
  return before !== undefined && equals(before.bytes, bytesOf(of))
}

const bytesOf = (of: Details): Uint8Array => encodeVersionRow({ bucketId: new Uint8Array(16), key: '', edition: 0, ...of })

function withEditions ({ row, details = [] }: Moved, written: ReadonlyMap<string, Written>): ObjectRow {
  if (row.kept === undefined || details.length === 0) return row
  const editions = new Map(details.map(({ version }) => [nameOf(version), written.get(nameOf(version))?.edition]))
  return { ...row, kept: row.kept.map((kept) => ({ ...kept, edition: editions.get(nameOf(kept)) ?? kept.edition })) }
}

/** Details of one that was kept before, and has come back meanwhile, get the next edition: a change that was begun on them must not be taken for done. */
async function write ({ registers }: Pick<ObjectParts, 'registers'>, place: ObjectPlace, of: Details, wait: { signal?: AbortSignal }): Promise<Written> {
  const edition = await registers.change<number>(versionAddress(place, of.version), (value) => {
    const next = value === undefined ? 0 : nextEdition(decodeVersionRow(value).edition)
    return { kind: 'write', value: encodeVersionRow({ bucketId: fromHex(place.bucketId), key: place.key, edition: next, ...of }), result: next }
  }, wait)
  return { bytes: bytesOf(of), edition }
}

export const nextEdition = (edition: number): number => (edition + 1) % 2 ** 16

/** @throws Corrupt: the details of a version that lives are missing */
export async function detailsOf ({ registers }: Pick<ObjectParts, 'registers'>, place: ObjectPlace, kept: KeptVersion, wait: { signal?: AbortSignal }): Promise<VersionRow> {
  const value = await registers.read(versionAddress(place, kept), wait)
  if (value === undefined) throw new Corrupt(`the row of a version of "${place.key}" is missing`)
  return decodeVersionRow(value)
}

/** What is left of it is debris that no listing shows; so failing costs a row. */
async function forget ({ registers, warn }: Pick<ObjectParts, 'registers' | 'warn'>, place: ObjectPlace, gone: Pick<KeptVersion, 'sequence' | 'salt'>): Promise<void> {
  try {
    await registers.change<void>(versionAddress(place, gone), (value) => value === undefined ? { kind: 'keep', result: undefined } : { kind: 'erase', result: undefined })
  } catch (error) {
    warn('the row of a version that was removed stays behind', error)
  }
}
