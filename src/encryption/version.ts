import { hash, keyedHash } from '../base/hash.ts'
import type { Random } from '../base/random.ts'
import type { ClusterKeys } from './keys.ts'

/** The name of one version of one object, and what its publication as dead looks like (docs/FORMAT.md, "Versions"). */
export interface VersionKey {
  /** H(del), 32 bytes: stands in references, public. */
  readonly id: Uint8Array
  /** 16 bytes. */
  readonly salt: Uint8Array
  readonly epoch: number
}

/** A version that nobody had before. */
export function freshVersion (keys: ClusterKeys, random: Random): VersionKey {
  const salt = random.bytes(16)
  const epoch = keys.currentEpoch
  return { id: versionIdOf(keys, { salt, epoch }), salt, epoch }
}

export const versionIdOf = (keys: ClusterKeys, version: Pick<VersionKey, 'salt' | 'epoch'>): Uint8Array => hash(deathProof(keys, version))

/** del: publishing these 32 bytes proves to nodes without keys that a member declared the version dead, for H(del) is its id. */
export const deathProof = (keys: ClusterKeys, { salt, epoch }: Pick<VersionKey, 'salt' | 'epoch'>): Uint8Array => keyedHash(keys.epoch(epoch).delete, salt)
