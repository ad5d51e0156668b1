import { hexOf, utf8 } from '../../src/base/bytes.ts'
import type { ObjectName } from '../../src/objects/index.ts'
import { detailsOf, objectAddress, type ObjectPlace } from '../../src/objects/change-object.ts'
import { type CurrentVersion, decodeObjectRow, encodeObjectRow, isVacant, keptOf, type ObjectRow, withAbandoned, withoutDropped } from '../../src/objects/object-row.ts'
import { withStored } from '../../src/objects/versions/history.ts'
import { VersionConversion } from '../../src/objects/work/version-conversion.ts'
import { idOf, type ObjectStage } from './object-stage.ts'

/** What clients and background work do to objects. */
export type ObjectAction = (stage: ObjectStage, at: ObjectName) => Promise<void>

export const placeOf = (row: ObjectRow): ObjectPlace => ({ bucketId: hexOf(row.bucketId), key: row.key })

/** The source of a put broke, or whoever converted stopped. */
export class Broken extends Error { override name = 'Broken' }

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }

async function put (stage: ObjectStage, at: ObjectName): Promise<void> {
  const text = stage.text()
  stage.told(await stage.node.put(at, bytesOf(text), stage.below(4) === 0 ? { ifNoneMatch: '*' } : {}), at, text)
}

async function brokenPut (stage: ObjectStage, at: ObjectName): Promise<void> {
  const source = async function * (): AsyncIterable<Uint8Array> { yield utf8(stage.text()); await stage.pause(); throw new Broken() }
  await stage.node.put(at, source())
}

async function remove (stage: ObjectStage, at: ObjectName): Promise<void> { await stage.node.remove(at) }

/** Some version that was acknowledged, whether it is still there or not. */
const anyMade = (stage: ObjectStage): ObjectName & { readonly versionId: string, readonly text: string | undefined } | undefined => {
  const [versionId, made] = stage.of([...stage.ledger.made]) ?? []
  return versionId === undefined || made === undefined ? undefined : { ...made, versionId }
}

async function removeVersion (stage: ObjectStage): Promise<void> {
  const of = anyMade(stage)
  if (of === undefined) return
  await stage.node.remove(of, { versionId: of.versionId })
  stage.ledger.removed.add(of.versionId)
}

async function copy (stage: ObjectStage, at: ObjectName): Promise<void> {
  const of = anyMade(stage)
  if (of === undefined) return
  const { versionId, text, ...source } = of
  const isNamed = stage.below(2) === 0
  stage.told(await stage.node.copy(isNamed ? { ...source, versionId } : source, at, { replace: { metadata: { copied: stage.text() } } }), at, isNamed ? text : undefined)
}

function newestOf ({ bucket, key }: ObjectName, made: ObjectStage['ledger']['made']): ObjectName & { readonly versionId: string } | undefined {
  const [versionId] = [...made].findLast(([, of]) => of.bucket === bucket && of.key === key) ?? []
  return versionId === undefined ? undefined : { bucket, key, versionId }
}

/** Changed, and often changed back. */
async function tag (stage: ObjectStage, at: ObjectName): Promise<void> {
  const { tagging, ledger: { made, tags } } = stage
  const [of, value] = [stage.below(2) === 0 ? anyMade(stage) : newestOf(at, made), `${stage.below(2)}`]
  // of two at once either may be the last
  if (of === undefined || tagging.has(of.versionId)) return
  tagging.add(of.versionId)
  tags.delete(of.versionId)
  try {
    await stage.node.setAttributes(of, { tags: [['n', value]] })
    tags.set(of.versionId, value)
  } finally {
    tagging.delete(of.versionId)
  }
}

async function setVersioning (stage: ObjectStage, { bucket }: ObjectName): Promise<void> { await stage.node.setBucketSettings(bucket, { versioning: stage.below(3) === 0 ? 'suspended' : 'enabled' }) }

async function setRedundancy (stage: ObjectStage, { bucket }: ObjectName): Promise<void> {
  await stage.node.setRedundancy(bucket, stage.of([{ copies: 1 }, { copies: 2 }, { copies: 3 }, { shards: '2+1' }, { shards: '3+2' }]) ?? { copies: 1 })
}

/** Some version, as some node has read it: to the end, or until its node stops. */
async function convert (stage: ObjectStage): Promise<void> {
  const row = stage.of(stage.rows)
  if (row === undefined) return
  const place = placeOf(row)
  const versions: CurrentVersion[] = row.current?.hasBlocks === true ? [row.current] : []
  for (const kept of keptOf(row)) {
    const details = kept.hasBlocks ? await detailsOf(stage.parts, place, kept, {}) : undefined
    if (details !== undefined) versions.push(withStored(details.version, kept.stored))
  }
  const version = stage.of(versions)
  if (version === undefined) return
  using conversion = new VersionConversion(stage.parts, { place, version, to: stage.of([{ copies: 1 }, { copies: 2 }, { copies: 3 }, { copies: 2, redundancy: { k: 2, m: 1 } }]) ?? { copies: 1 } })
  const stopping = new AbortController()
  if (stage.below(2) === 0) void stage.pause(8).then(() => { stopping.abort(new Broken()) })
  while (await conversion.step({ atOnce: 2, signal: stopping.signal }) === 'busy');
}

async function beginUpload (stage: ObjectStage, at: ObjectName): Promise<void> { stage.uploads.push({ at, uploadId: (await stage.node.uploads.create(at)).uploadId }) }

async function append (stage: ObjectStage): Promise<void> {
  const { at, uploadId } = stage.of(stage.uploads) ?? {}
  if (at === undefined || uploadId === undefined) return
  const { offset } = await stage.node.uploads.offset(at, uploadId)
  await stage.node.uploads.append(at, uploadId, offset, bytesOf(stage.text()))
}

async function finishUpload (stage: ObjectStage): Promise<void> {
  const { at, uploadId } = stage.of(stage.uploads) ?? {}
  if (at !== undefined && uploadId !== undefined) stage.told(await stage.node.uploads.finish(at, uploadId), at)
}

async function abortUpload (stage: ObjectStage): Promise<void> {
  const { at, uploadId } = stage.of(stage.uploads) ?? {}
  if (at !== undefined && uploadId !== undefined) await stage.node.uploads.abort(at, uploadId)
}

/** As the undertaker does with what stands still, but for that it does not wait. */
async function giveUp (stage: ObjectStage): Promise<void> {
  const row = stage.of(stage.rows)
  const version = stage.of(row?.pending ?? [])
  if (row === undefined || version === undefined) return
  await changeRow(stage, placeOf(row), (now) => withAbandoned(now, version))
  if (stage.below(2) === 0) await publishDeathsOf(stage, placeOf(row))
}

async function publishDeaths (stage: ObjectStage): Promise<void> {
  const row = stage.of(stage.rows)
  if (row !== undefined) await publishDeathsOf(stage, placeOf(row))
}

/** As the undertaker: what is dropped is dead, and then the row owes it nothing any more. */
async function publishDeathsOf (stage: ObjectStage, place: ObjectPlace): Promise<void> {
  const value = await stage.parts.registers.read(objectAddress(place))
  const { dropped } = value === undefined ? { dropped: [] } : decodeObjectRow(value)
  for (const version of dropped) stage.ledger.dead.add(idOf(version))
  await changeRow(stage, place, (now) => withoutDropped(now, dropped))
}

async function changeRow ({ parts }: ObjectStage, place: ObjectPlace, to: (now: ObjectRow) => ObjectRow | undefined): Promise<void> {
  await parts.registers.change<void>(objectAddress(place), (value) => {
    const now = value === undefined ? undefined : decodeObjectRow(value)
    const next = now === undefined ? undefined : to(now)
    if (next === undefined || next === now) return { kind: 'keep', result: undefined }
    return isVacant(next) ? { kind: 'erase', result: undefined } : { kind: 'write', value: encodeObjectRow(next), result: undefined }
  })
}

async function removeBucket (stage: ObjectStage, { bucket }: ObjectName): Promise<void> { await stage.node.removeBucket(bucket) }

export async function createBucket (stage: ObjectStage, { bucket }: ObjectName): Promise<void> {
  await stage.node.createBucket(bucket, { dedup: 'cluster', ...(stage.below(2) === 0 ? { settings: { versioning: 'enabled' } } : {}) })
}

async function removeAll (stage: ObjectStage, { bucket }: ObjectName): Promise<void> {
  for (const { key } of (await stage.node.list(bucket)).objects) await stage.node.remove({ bucket, key })
}

async function removeAllVersions (stage: ObjectStage, { bucket }: ObjectName): Promise<void> {
  for (const { key, versionId } of (await stage.node.listVersions(bucket)).versions) {
    await stage.node.remove({ bucket, key }, { versionId })
    stage.ledger.removed.add(versionId)
  }
}

/** As often as they stand here. */
export const objectActions: readonly ObjectAction[] = [
  put, put, put, brokenPut, remove, removeVersion, copy, copy, tag, tag, setVersioning, setRedundancy, convert, convert, beginUpload, append, finishUpload, abortUpload, giveUp, publishDeaths,
]
export const bucketActions: readonly ObjectAction[] = [removeBucket, removeBucket, createBucket, createBucket, removeAll, removeAllVersions]
