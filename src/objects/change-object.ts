import { equals, fromHex, hexOf } from '../base/bytes.ts'
import { Unavailable, UnknownOutcome } from '../base/errors.ts'
import { type RowAddress, tables } from '../tables/index.ts'
import { VersionLost } from './errors.ts'
import { archived, type Details, type Moved } from './versions/history.ts'
import { checkKey } from './names.ts'
import { decodeObjectRow, emptyRow, encodeObjectRow, isVacant, keptOf, type KeptVersion, type ObjectRow, withoutOrphans } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { isSameVersion } from './versions/version.ts'
import { decodeVersionRow, encodeVersionRow, type VersionRow, versionRowKey } from './versions/version-row.ts'

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

/** `decide` may be asked several times; what it throws is told once what it saw is chosen. @throws Unavailable, UnknownOutcome, VersionLost */
export async function changeObject<T> (parts: Pick<ObjectParts, 'registers' | 'warn'>, place: ObjectPlace, decide: (row: ObjectRow, details: KnownDetails) => ObjectStep<T>, wait: { signal?: AbortSignal } = {}): Promise<T> {
  const fresh = emptyRow({ bucketId: fromHex(place.bucketId), key: place.key })
  const known = new Map<string, { edition: number, details: VersionRow }>()
  const details: KnownDetails = (kept) => {
    const found = known.get(nameOf(kept))
    return found?.edition === kept.edition ? found.details : undefined
  }
  let written: Prepared = { revision: -1n, details: new Map() }
  const prepared: Details[] = []
  for (;;) {
    const step: Outcome<T> = await parts.registers.change<Outcome<T>>(objectAddress(place), (value, revision) => {
      const row = value === undefined ? fresh : decodeObjectRow(value)
      const decided = decide(row, details)
      if (decided.kind !== 'move') return { kind: 'keep', result: decided }
      const { details: needed = [] } = decided.to
      if (!needed.every((of) => isWritten(of, written, revision))) return { kind: 'keep', result: { kind: 'write', details: needed, revision } }
      const next = withoutOrphans(withEditions(decided.to, written))
      if (next === row) return { kind: 'keep', result: decided }
      return isVacant(next) ? { kind: 'erase', result: decided } : { kind: 'write', value: encodeObjectRow(next), result: decided }
    }, wait).catch(async (error: unknown) => {
      // a condition failed; else it may have happened, or nothing can be written now
      if (!(error instanceof Unavailable || error instanceof UnknownOutcome)) await forgetVain(parts, place, prepared)
      throw error
    })
    switch (step.kind) {
      case 'keep':
        await forgetVain(parts, place, prepared)
        return step.result
      case 'move':
        await forgetVain(parts, place, prepared.filter((of) => !(step.to.details ?? []).some(({ version }) => isSameRow(version, of.version))))
        if (step.to.gone !== undefined) await forget(parts, place, step.to.gone)
        return step.result
      case 'write':
        // what was written for an attempt that failed may have been replaced since
        written = { revision: step.revision, details: new Map() }
        for (const of of step.details) {
          const done = await write(parts, place, of, wait)
          if (done !== undefined) written.details.set(nameOf(of.version), done)
          prepared.push(of)
        }
        break
      case 'ask': {
        const found = await detailsOf(parts, place, step.about, wait)
        if (found !== undefined) known.set(nameOf(step.about), { edition: step.about.edition, details: found })
        break
      }
      default: step satisfies never
    }
  }
}

type Outcome<T> = ObjectStep<T> | { readonly kind: 'write', readonly details: readonly Details[], readonly revision: bigint }

const nameOf = ({ salt }: Pick<KeptVersion, 'salt'>): string => hexOf(salt)

/** Details that were written for a change of the object's row as it was at that revision. */
interface Prepared { readonly revision: bigint, readonly details: Map<string, Written> }

/** What was written of a version, and as which edition. */
interface Written { readonly bytes: Uint8Array, readonly edition: number }

/**
 * Of an object the row must not have changed since: a version whose tags or hold were changed and changed back looks the same, and another who saw it in between may
 * be about to replace what was written.
 */
const isWritten = (of: Details, { revision: since, details }: Prepared, revision: bigint): boolean => {
  const before = details.get(nameOf(of.version))
  return before !== undefined && equals(before.bytes, bytesOf(of)) && (of.isDeleteMarker || since === revision)
}

const bytesOf = ({ isDeleteMarker, version }: Details): Uint8Array => encodeVersionRow({ bucketId: new Uint8Array(16), key: '', edition: 0, isDeleteMarker, version })

function withEditions ({ row, details = [] }: Moved, written: Prepared): ObjectRow {
  if (row.kept === undefined || details.length === 0) return row
  const editions = new Map(details.map(({ version }) => [nameOf(version), written.details.get(nameOf(version))?.edition]))
  return { ...row, kept: row.kept.map((kept) => ({ ...kept, edition: editions.get(nameOf(kept)) ?? kept.edition })) }
}

/**
 * Details as they are to be kept. Another may have kept the version meanwhile, and its tags and locks may have changed since: so what stands there is replaced only if
 * it is what stood there while the version was still current, and as it is here. It is replaced though it be equal: whoever looked at it before must not replace this.
 * So of all who saw the version in different states only one writes last whose change of the object's row is the next; the others find another edition, or the version
 * current no more. Undefined: what is to be kept must be decided anew.
 */
async function write ({ registers }: Pick<ObjectParts, 'registers'>, place: ObjectPlace, of: Details, wait: { signal?: AbortSignal }): Promise<Written | undefined> {
  const [address, bytes] = [versionAddress(place, of.version), bytesOf(of)]
  const before = await registers.read(address, wait)
  const there = before === undefined ? undefined : decodeVersionRow(before)
  if (of.isDeleteMarker && there !== undefined && equals(bytesOf(there), bytes)) return { bytes, edition: there.edition }
  if (!of.isDeleteMarker && !await isCurrent(registers, place, bytes, wait)) return undefined
  const edition = there === undefined ? 0 : nextEdition(there.edition)
  const isDone = await registers.change<boolean>(address, (value) => {
    const now = value === undefined ? undefined : decodeVersionRow(value).edition
    if (now !== there?.edition) return { kind: 'keep', result: false }
    return { kind: 'write', value: encodeVersionRow({ bucketId: fromHex(place.bucketId), key: place.key, edition, ...of }), result: true }
  }, wait)
  return isDone ? { bytes, edition } : undefined
}

async function isCurrent (registers: ObjectParts['registers'], place: ObjectPlace, bytes: Uint8Array, wait: { signal?: AbortSignal }): Promise<boolean> {
  const value = await registers.read(objectAddress(place), wait)
  const current = value === undefined ? undefined : decodeObjectRow(value).current
  return current !== undefined && equals(bytesOf({ isDeleteMarker: false, version: archived(current) }), bytes)
}

export const nextEdition = (edition: number): number => (edition + 1) % 2 ** 16

/** Undefined: it has been removed since it was seen in the object's row. @throws VersionLost */
export async function detailsOf ({ registers }: Pick<ObjectParts, 'registers'>, place: ObjectPlace, kept: KeptVersion, wait: { signal?: AbortSignal }): Promise<VersionRow | undefined> {
  const value = await registers.read(versionAddress(place, kept), wait)
  if (value !== undefined) return decodeVersionRow(value)
  const row = await registers.read(objectAddress(place), wait)
  if (row !== undefined && keptOf(decodeObjectRow(row)).some((other) => isSameVersion(other, kept))) throw new VersionLost(place.key)
  return undefined
}

/**
 * Details that were written for a change that came too late. Of a delete marker, or of its place among the versions, nobody but this change knows; another version may have
 * gone meanwhile, and whoever removed it have found no row yet: it never comes back. One that stands is left, for another may be about to keep it by what was written.
 */
async function forgetVain (parts: Pick<ObjectParts, 'registers' | 'warn'>, place: ObjectPlace, vain: readonly Details[]): Promise<void> {
  for (const { isDeleteMarker, version } of vain) await forget(parts, place, version, async () => isDeleteMarker || !await stands(parts.registers, place, version))
}

async function stands (registers: ObjectParts['registers'], place: ObjectPlace, version: Pick<KeptVersion, 'salt'>): Promise<boolean> {
  const value = await registers.read(objectAddress(place))
  if (value === undefined) return false
  const row = decodeObjectRow(value)
  return [...row.current === undefined ? [] : [row.current], ...keptOf(row)].some((other) => isSameVersion(other, version))
}

const isSameRow = (a: Pick<KeptVersion, 'sequence' | 'salt'>, b: Pick<KeptVersion, 'sequence' | 'salt'>): boolean => isSameVersion(a, b) && a.sequence === b.sequence

/** What is left of it is debris that no listing shows; so failing costs a row. */
async function forget ({ registers, warn }: Pick<ObjectParts, 'registers' | 'warn'>, place: ObjectPlace, gone: Pick<KeptVersion, 'sequence' | 'salt'>, isGone = async (): Promise<boolean> => Promise.resolve(true)): Promise<void> {
  const address = versionAddress(place, gone)
  try {
    // most have none, and a change that finds none would leave its promise with a majority for good
    if (await registers.read(address) === undefined || !await isGone()) return
    await registers.change<void>(address, (value) => value === undefined ? { kind: 'keep', result: undefined } : { kind: 'erase', result: undefined })
  } catch (error) {
    warn('the row of a version that was removed stays behind', error)
  }
}
