import { Conflict, InvalidInput, NotFound, Refused, Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import type { ObjectName } from '../../src/objects/index.ts'
import { Broken, bucketActions, createBucket, type ObjectAction, objectActions } from './object-actions.ts'
import { violationsOf } from './object-invariants.ts'
import { ObjectStage, type ObjectVariant } from './object-stage.ts'

export interface ObjectHistory {
  /** The first that were seen; empty: all promises were kept. */
  readonly violations: readonly string[]
  readonly events: readonly string[]
  /** Versions that were acknowledged. */
  readonly acknowledged: number
}

const [buckets, keys, rounds] = [['photos', 'other'], ['k', 'l'], 25]

/** Rounds of what a seed decides, up to seven actions at once, between which everything is looked at. Every other seed has faults, and every third takes buckets away and makes them again. */
export async function objectHistory ({ seed, variant }: { seed: number, variant?: ObjectVariant }): Promise<ObjectHistory> {
  const hasFaults = seed % 2 === 0
  const actions = seed % 3 === 0 ? [...objectActions, ...bucketActions] : objectActions
  const stage = new ObjectStage({ seed, hasFaults, variant })
  const violations: string[] = []
  let count = 0
  const act = async (action: ObjectAction, named: Partial<ObjectName> = {}): Promise<void> => {
    const at = { bucket: stage.of(buckets) ?? '', key: stage.of(keys) ?? '', ...named }
    const name = `${++count} ${action.name}`
    await stage.pause()
    stage.say(`${name} ${at.bucket}/${at.key}`)
    const outcome = await action(stage, at).then(() => 'done', (error: unknown) => {
      if (!isTold(error)) violations.push(`${name}: ${String(error)}`)
      return String(error)
    })
    stage.say(`${name}: ${outcome}`)
  }
  try {
    for (const bucket of buckets) await act(createBucket, { bucket })
    for (let round = 0; round < rounds && violations.length === 0; round++) {
      await Promise.all(Array.from({ length: 1 + stage.below(7) }, async () => act(stage.of(actions) as ObjectAction)))
      violations.push(...await violationsOf(stage, { hasFaults, buckets }).catch((error: unknown) => [`what stands cannot be read: ${String(error)}`]))
    }
    if (!hasFaults) violations.push(...stage.world.warnings)
  } finally {
    variant?.undo?.()
  }
  return { violations, events: stage.events, acknowledged: stage.ledger.made.size }
}

/** What a client may be told. */
const isTold = (error: unknown): boolean => [Broken, Conflict, InvalidInput, NotFound, Refused, Unavailable, UnknownOutcome].some((kind) => error instanceof kind)
