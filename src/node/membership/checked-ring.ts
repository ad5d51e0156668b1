import { equals } from '../../base/bytes.ts'
import { Corrupt } from '../../base/errors.ts'
import type { Era } from '../../cluster/index.ts'
import { ClusterKeys, type Ring } from '../../encryption/index.ts'

/**
 * The ring of exactly the epochs that the era has: whoever hands on wrong keys would split the cluster, so each secret is held against what was signed, and
 * what no signature vouches for is left out. @throws Corrupt
 */
export function checkedRing (ring: Ring, clusterId: Uint8Array, era: Pick<Era, 'checkN' | 'checks'>): Ring {
  const keys = new ClusterKeys({ clusterId, ...ring })
  const isRight = equals(keys.checkNames, era.checkN) && era.checks.every(({ epoch, check }) => ring.epochs.has(epoch) && equals(keys.epoch(epoch).check, check))
  if (!isRight) throw new Corrupt('the keys that came are not the cluster\'s')
  return { names: ring.names, epochs: new Map(era.checks.map(({ epoch }) => [epoch, ring.epochs.get(epoch) as Uint8Array])) }
}

/** check_e of a secret: what an era says of the epoch that it begins. */
export const checkOf = (secret: Uint8Array, { clusterId, names, epoch }: { clusterId: Uint8Array, names: Uint8Array, epoch: number }): Uint8Array =>
  new ClusterKeys({ clusterId, names, epochs: new Map([[epoch, secret]]) }).epoch(epoch).check
