import { compareBytes, concat, fromHex, hexOf, textOf, utf8 } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { type ListPage, type ListRequest, tables } from '../../tables/index.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import { detailsOf, objectAddress } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { sequenceOf } from './history.ts'
import { VersionLost } from '../errors.ts'
import type { ListVersionsOptions, LostVersion, VersionPage } from '../index.ts'
import { checkLimit, listLimits } from '../listing.ts'
import { decodeObjectRow, decodeSummary, type KeptVersion, keptOf, type ObjectRow, type ObjectSummary } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { foundIn, infoOf } from '../reading.ts'
import { decodeVersionRow, keyOfVersionRow, unescapedText, versionDelimiter, versionPrefix, type VersionRow, versionsOfKey } from './version-row.ts'

/**
 * Two listings as one: objects with a current version, and rows of versions. A key with rows of versions is read properly, for only its row says which of them
 * live, so that what a crash has left is shown to nobody; a key without is taken as it is listed, unless it is asked for otherwise. A version that is replaced meanwhile goes from the first
 * listing to the second: so of any stretch of names the second is asked after the first has answered.
 */
export async function listVersions (parts: ObjectParts, bucket: BucketRow, options: ListVersionsOptions): Promise<VersionPage> {
  const { limit = listLimits.maxPage } = options
  checkLimit(limit)
  const [versions, prefixes, lost]: [Array<VersionPage['versions'][number]>, string[], LostVersion[]] = [[], [], []]
  const page = (next: VersionPage['next']): VersionPage => {
    // not every face has a place for them
    if (lost.length > 0) parts.warn(`${lost.length} versions are lost, and left out of a listing of bucket "${bucket.name}"`, new VersionLost(lost[0]?.key ?? ''))
    return { versions, ...lost.length === 0 ? {} : { lost }, prefixes, next }
  }
  let next: VersionPage['next']
  for await (const shown of everything(parts, bucket, options)) {
    if (versions.length + prefixes.length + lost.length === limit) return page(next)
    switch (shown.kind) {
      case 'prefix': prefixes.push(shown.prefix); break
      case 'version': versions.push(shown.info); break
      case 'lost': lost.push(shown.info); break
      default: shown satisfies never
    }
    next = shown.kind === 'prefix' ? { key: shown.prefix } : { key: shown.info.key, versionId: markerOf(shown) }
  }
  return page(undefined)
}

/** All of them that are there, in the same order, page after page as they are taken. */
export async function * everyVersion (parts: ObjectParts, bucket: BucketRow, wait: { signal?: AbortSignal }): AsyncIterable<VersionPage['versions'][number]> {
  for await (const shown of everything(parts, bucket, wait)) if (shown.kind === 'version') yield shown.info
}

type Shown = ShownVersion | { readonly kind: 'prefix', readonly prefix: string }
type ShownVersion = { readonly sequence: number } & (
  | { readonly kind: 'version', readonly info: VersionPage['versions'][number] }
  | { readonly kind: 'lost', readonly info: LostVersion })

/** Says where the version stood, for it may be gone when the next page is asked for. */
const markerOf = ({ kind, info, sequence }: ShownVersion): string => `${kind === 'version' && info.isNullVersion ? 'null' : info.versionId}.${sequence}`

/** Keys whose rows are read at once. */
const concurrentReads = 16

async function * everything (parts: ObjectParts, bucket: BucketRow, options: ListVersionsOptions): AsyncIterable<Shown> {
  const { prefix = '', delimiter = '', after, areRowsRead = false, signal } = options
  // whoever may list below a prefix asks behind what they like
  if (after?.versionId !== undefined && isShownItself(after.key, { prefix, delimiter })) yield * restOf(parts, bucket, { key: after.key, versionId: after.versionId }, { signal })
  let batch: Named[] = []
  const shown = async (): Promise<readonly Shown[]> => (await Promise.all(batch.map(async (name) => shownOf(parts, bucket, name, { areRowsRead, signal })))).flat()
  for await (const name of names(parts, bucket, options)) {
    batch.push(name)
    if (batch.length < Math.min(concurrentReads, options.limit ?? concurrentReads)) continue
    yield * await shown()
    batch = []
  }
  yield * await shown()
}

/** Of a key of which a page has shown some versions: the older ones. */
async function * restOf (parts: ObjectParts, bucket: BucketRow, { key, versionId }: { key: string, versionId: string }, wait: { signal?: AbortSignal }): AsyncIterable<Shown> {
  const value = await parts.registers.read(objectAddress(placeIn(bucket, key)), wait)
  if (value === undefined) return
  const row = decodeObjectRow(value)
  const below = sequenceIn(row, versionId, parts)
  for (const shown of await versionsIn(parts, bucket, row, new Map(), wait)) if (shown.sequence < below) yield shown
}

function sequenceIn (row: ObjectRow, marker: string, { versions }: Pick<ObjectParts, 'versions'>): number {
  const [versionId, sequence] = marker.split('.')
  if (sequence !== undefined) {
    if (!/^\d{1,15}$/.test(sequence)) throw new InvalidInput('version marker', 'a listing goes on after a marker that another page has given')
    return Number(sequence)
  }
  const found = foundIn(row, versionId, versions)
  return found === undefined ? Number.POSITIVE_INFINITY : sequenceOf(found)
}

interface Named {
  readonly name: string
  readonly isPrefix: boolean
  /** What objects' listing has of it. */
  readonly current?: ObjectSummary
  /** What the listing of versions has, by salt; some may be missing or debris. Undefined: nothing. */
  readonly versions?: ReadonlyMap<string, VersionRow>
}

async function shownOf (parts: ObjectParts, bucket: BucketRow, { name, isPrefix, current, versions }: Named, { areRowsRead, ...wait }: { areRowsRead: boolean, signal?: AbortSignal | undefined }): Promise<readonly Shown[]> {
  if (isPrefix) return [{ kind: 'prefix', prefix: name }]
  if (versions === undefined && !areRowsRead) return current === undefined ? [] : [shownCurrent(bucket, name, current)]
  const value = await parts.registers.read(objectAddress(placeIn(bucket, name)), wait)
  return value === undefined ? [] : versionsIn(parts, bucket, decodeObjectRow(value), versions ?? new Map(), wait)
}

const shownCurrent = (bucket: BucketRow, key: string, version: ObjectSummary): ShownVersion =>
  ({ kind: 'version', info: { ...infoOf({ bucket: bucket.name, key }, version), isLatest: true, isDeleteMarker: false }, sequence: sequenceOf(version) })

/** The newest first. */
async function versionsIn (parts: ObjectParts, bucket: BucketRow, row: ObjectRow, known: ReadonlyMap<string, VersionRow>, wait: { signal?: AbortSignal }): Promise<ShownVersion[]> {
  const shown = row.current === undefined ? [] : [shownCurrent(bucket, row.key, row.current)]
  const kept = keptOf(row)
  for (let at = 0; at < kept.length; at += concurrentReads) {
    shown.push(...(await Promise.all(kept.slice(at, at + concurrentReads).map(async (stub, i) => shownKept(parts, bucket, row, { stub, known: known.get(hexOf(stub.salt)), isLatest: row.current === undefined && at + i === 0 }, wait)))).flat())
  }
  return shown
}

async function shownKept (parts: ObjectParts, bucket: BucketRow, { key }: ObjectRow, { stub, known, isLatest }: { stub: KeptVersion, known: VersionRow | undefined, isLatest: boolean }, wait: { signal?: AbortSignal }): Promise<ShownVersion[]> {
  const details = known ?? await detailsOf(parts, placeIn(bucket, key), stub, wait).catch((error: unknown) => { if (error instanceof VersionLost) return error; throw error })
  if (details === undefined) return []
  if (details instanceof VersionLost) return [{ kind: 'lost', info: { key, versionId: hexOf(parts.versions.idOf(stub)) }, sequence: stub.sequence }]
  const { version } = details
  return [{ kind: 'version', info: { ...infoOf({ bucket: bucket.name, key }, version), isLatest, isDeleteMarker: stub.isDeleteMarker }, sequence: stub.sequence }]
}

async function * names (parts: ObjectParts, bucket: BucketRow, { prefix = '', delimiter = '', after, signal }: ListVersionsOptions): AsyncIterable<Named> {
  for (let from = after?.key, more = true; more;) {
    const { entries, prefixes, next } = await parts.registers.list({
      table: tables.objects, scope: fromHex(bucket.id), prefix: utf8(prefix), after: from === undefined ? undefined : utf8(from), delimiter: delimiter === '' ? undefined : utf8(delimiter), limit: listLimits.maxPage,
    }, { signal })
    const through = next === undefined ? undefined : textOf(next)
    const objects = inOrder<Named>([...entries.map(({ name, summary }) => ({ name: textOf(name), isPrefix: false, current: decodeSummary(summary) })), ...prefixes.map((name) => ({ name: textOf(name), isPrefix: true }))])
    yield * merged(objects, upTo(keysOfVersions(parts, bucket, { prefix, delimiter, after: from, signal }), through))
    from = through
    more = through !== undefined
  }
}

async function * upTo (versions: AsyncIterable<Named>, through: string | undefined): AsyncIterable<Named> {
  for await (const named of versions) {
    if (through !== undefined && compareNames(named.name, through) > 0) return
    yield named
  }
}

async function * keysOfVersions (parts: ObjectParts, bucket: BucketRow, { prefix, delimiter, after, signal }: { prefix: string, delimiter: string, after: string | undefined, signal: AbortSignal | undefined }): AsyncIterable<Named> {
  const request = {
    table: tables.versions, scope: fromHex(bucket.id), prefix: versionPrefix(prefix), delimiter: delimiter === '' ? undefined : versionDelimiter(delimiter),
    after: after === undefined ? undefined : isRolled(after, { prefix, delimiter }) ? versionPrefix(after) : concat([versionsOfKey(after), Uint8Array.of(0xff)]),
  }
  let gathered: { name: string, isPrefix: false, versions: Map<string, VersionRow> } | undefined
  for await (const { entries, prefixes } of pages(parts, request, { signal })) {
    const rows = inOrder([...entries.map(({ name, summary }) => ({ name: keyOfVersionRow(name), isPrefix: false, row: decodeVersionRow(summary) })), ...prefixes.map((name) => ({ name: unescapedText(name), isPrefix: true, row: undefined }))])
    for (const { name, row } of rows) {
      if (gathered !== undefined && gathered.name !== name) { yield gathered; gathered = undefined }
      if (row === undefined) { yield { name, isPrefix: true }; continue }
      gathered ??= { name, isPrefix: false, versions: new Map() }
      gathered.versions.set(hexOf(row.version.salt), row)
    }
  }
  if (gathered !== undefined) yield gathered
}

/** Not what is outside the prefix, nor what is rolled up, be it an object of the name of a common prefix. */
const isShownItself = (key: string, { prefix, delimiter }: { prefix: string, delimiter: string }): boolean => key.startsWith(prefix) && (delimiter === '' || !key.includes(delimiter, prefix.length))

/** Whether a page ended with a common prefix of that name. */
function isRolled (key: string, { prefix, delimiter }: { prefix: string, delimiter: string }): boolean {
  const at = delimiter === '' || !key.startsWith(prefix) ? -1 : key.indexOf(delimiter, prefix.length)
  return at >= 0 && at === key.length - delimiter.length
}

async function * pages ({ registers }: ObjectParts, request: Omit<ListRequest, 'limit'>, wait: { signal?: AbortSignal }): AsyncIterable<ListPage> {
  for (let after = request.after, more = true; more;) {
    const page = await registers.list({ ...request, after, limit: listLimits.maxPage }, wait)
    yield page
    after = page.next
    more = after !== undefined
  }
}

const inOrder = <N extends { readonly name: string }>(names: readonly N[]): N[] => names.toSorted((a, b) => compareNames(a.name, b.name))
const compareNames = (a: string, b: string): number => compareBytes(utf8(a), utf8(b))

/** Two sequences of names, each in order, as one; what both have is one. */
async function * merged (objects: readonly Named[], versions: AsyncIterable<Named>): AsyncIterable<Named> {
  let at = 0
  for await (const named of versions) {
    for (; at < objects.length && compareNames((objects[at] as Named).name, named.name) < 0; at++) yield objects[at] as Named
    if (objects[at]?.name === named.name) yield { ...objects[at++], ...named }
    else yield named
  }
  yield * objects.slice(at)
}
