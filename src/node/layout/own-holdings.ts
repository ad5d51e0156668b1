import type { Clock } from '../../base/clock.ts'
import { heldByPartition } from '../../blockstore/held-bytes.ts'
import { roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import type { Holdings } from '../../protocols/holdings.ts'
import type { FreeSpace } from './free-space.ts'
import type { OwnCapacity } from './own-capacity.ts'
import type { Repairing } from '../work/repairing.ts'
import type { ClusterState } from '../state.ts'
import type { BlockStores } from '../stores.ts'

export interface OwnHoldingsParts {
  readonly config: Pick<Config, 'reserveBytes'>
  readonly state: ClusterState
  readonly stores: BlockStores
  readonly space: FreeSpace
  readonly capacity: OwnCapacity
  readonly repairing: Pick<Repairing, 'status'>
  readonly clock: Clock
}

/** What this node has of blocks, and how far it is in bringing them where they belong. */
export async function ownHoldings ({ config, state, stores, space, capacity, repairing, clock }: OwnHoldingsParts, { byPartition, signal }: { byPartition: boolean, signal?: AbortSignal }): Promise<Holdings> {
  const { bytes } = stores.blocks.stats()
  const [repair, holdsBlocks] = [repairing.status(), state.certificate.member.role !== roles.witness]
  const found = repair?.found
  return {
    surveyedVersion: found === undefined ? 0n : BigInt(found.layoutVersion), holdsBlocks,
    isAtRest: repair === undefined || repair.phase === 'waiting', hasFailures: repair !== undefined && (repair.full.length > 0 || repair.failure !== undefined),
    heldBytes: bytes, limitBytes: holdsBlocks ? capacity.limitBytes : 0, roomBytes: Math.max(0, space.bytes - config.reserveBytes),
    misplacedBytes: found?.misplacedBytes ?? 0, leftBytes: repair?.phase === 'repairing' ? Math.max(0, repair.totalBytes - repair.doneBytes) : 0, shortBlocks: found?.shortBlocks ?? 0,
    partitions: byPartition ? await heldByPartition(stores.index, { clock, signal }) : new Map(),
  }
}
