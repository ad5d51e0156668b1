import { concat, hexOf } from '../../src/base/bytes.ts'
import { objectStore } from '../../src/objects/index.ts'
import { detailsOf } from '../../src/objects/change-object.ts'
import { type BucketRow, decodeBucketRow } from '../../src/objects/buckets/bucket-row.ts'
import { type CurrentVersion, keptOf, type ObjectRow } from '../../src/objects/object-row.ts'
import { withStored } from '../../src/objects/versions/history.ts'
import { blocksOf } from '../../src/objects/versions/stored.ts'
import { isSameVersion } from '../../src/objects/versions/version.ts'
import { decodeVersionRow } from '../../src/objects/versions/version-row.ts'
import { tables } from '../../src/tables/index.ts'
import { placeOf } from './object-actions.ts'
import { idOf, type ObjectStage } from './object-stage.ts'

/** What does not hold, while nothing is under way; empty: all does. */
export async function violationsOf (stage: ObjectStage, { hasFaults, buckets }: { hasFaults: boolean, buckets: readonly string[] }): Promise<readonly string[]> {
  return [
    ...await idViolations(stage), ...stage.rows.flatMap(orphans), ...removedViolations(stage),
    ...(await Promise.all(buckets.map(async (bucket) => readingViolations(stage, bucket)))).flat(),
    // where a row could not be had, what was written for it, or stands in it, may be left (docs/LIMITS.md)
    ...hasFaults ? [] : debris(stage),
  ]
}

const standingIn = (row: ObjectRow): ReadonlyArray<Pick<CurrentVersion, 'salt'>> => [...row.current === undefined ? [] : [row.current], ...keptOf(row)]

/** Every id for which blocks were recorded stands in one place until it is dead, and what lives is recorded, and not dead. */
async function idViolations (stage: ObjectStage): Promise<readonly string[]> {
  const { ledger: { recorded, dead }, rows, world: { parts } } = stage
  const violations: string[] = []
  const places = new Map<string, string>()
  const stands = (id: string, where: string): void => {
    const before = places.get(id)
    if (before !== undefined) violations.push(`${id} is ${where}, and ${before}`)
    places.set(id, where)
  }
  for (const row of rows) {
    for (const version of row.pending) stands(idOf(version), 'pending')
    for (const version of row.dropped) stands(idOf(version), 'dropped')
    for (const version of await livingIn(stage, row)) {
      if (!version.hasBlocks) continue
      const id = idOf(blocksOf(version))
      stands(id, 'living')
      if (dead.has(id)) violations.push(`${id} lives, and is dead`)
      for await (const { cid } of parts.content.blocksOf(version.content, { get: async () => Promise.resolve(new Uint8Array()) })) {
        if (recorded.get(id)?.has(cid) !== true) violations.push(`${id} lives, and not all that hold its blocks record it`)
      }
    }
  }
  for (const id of recorded.keys()) if (!places.has(id) && !dead.has(id)) violations.push(`${id} has blocks, and is lost`)
  return violations
}

async function livingIn ({ world: { parts } }: ObjectStage, row: ObjectRow): Promise<readonly CurrentVersion[]> {
  const living: CurrentVersion[] = row.current === undefined ? [] : [row.current]
  for (const kept of keptOf(row)) {
    const details = await detailsOf(parts, placeOf(row), kept, {})
    if (details !== undefined && !kept.isDeleteMarker) living.push(withStored(details.version, kept.stored))
  }
  return living
}

/** What was begun of a conversion goes with its version. */
function orphans (row: ObjectRow): readonly string[] {
  return row.pending.filter(({ converts }) => converts !== undefined && !standingIn(row).some((version) => isSameVersion(version, converts))).map((version) => `${idOf(version)} is for a version that is gone`)
}

const standingBuckets = ({ world: { registers } }: ObjectStage): readonly BucketRow[] => registers.valuesOf(tables.buckets).map(decodeBucketRow).filter(({ state }) => state !== 'removed')

/** In a bucket that is gone there is nothing that was acknowledged. */
function removedViolations (stage: ObjectStage): readonly string[] {
  const [standing, { made }] = [new Set(standingBuckets(stage).map(({ id }) => id)), stage.ledger]
  return stage.rows.filter(({ bucketId }) => !standing.has(hexOf(bucketId))).flatMap((row) => standingIn(row).map(idOf).filter((id) => made.has(id)).map((id) => `${id} was acknowledged, and its bucket is gone`))
}

/** What is listed is read as it was put, with the tags that were acknowledged last, and was not removed. */
async function readingViolations (stage: ObjectStage, bucket: string): Promise<readonly string[]> {
  if (!standingBuckets(stage).some(({ name, state }) => name === bucket && state === 'active')) return []
  const { world, ledger: { made, removed, tags } } = stage
  const calm = objectStore(world.parts)
  const violations: string[] = []
  for (const { key, versionId, sizeBytes, isDeleteMarker } of (await calm.listVersions(bucket)).versions) {
    if (isDeleteMarker) continue
    const { info, body } = await calm.get({ bucket, key }, { versionId })
    const pieces: Uint8Array[] = []
    for await (const piece of body) pieces.push(piece)
    const text = Buffer.from(concat(pieces)).toString()
    const expected = made.get(versionId)?.text ?? text
    if (text !== expected || text.length !== sizeBytes) violations.push(`${versionId} reads as "${text}" of ${sizeBytes}, and is "${expected}"`)
    const [tag, given] = [info.attributes.tags?.[0]?.[1], tags.get(versionId)]
    if (given !== undefined && tag !== given) violations.push(`${versionId} has the tag "${tag}", and was given "${given}"`)
    if (removed.has(versionId)) violations.push(`${versionId} was removed, and is listed`)
  }
  return violations
}

/** Rows of versions that no object's row names: nothing would ever take them away. */
function debris ({ world: { registers }, rows }: ObjectStage): readonly string[] {
  const named = new Set(rows.flatMap(standingIn).map(idOf))
  return registers.valuesOf(tables.versions).map((value) => idOf(decodeVersionRow(value).version)).filter((id) => !named.has(id)).map((id) => `a row of ${id} is left`)
}
