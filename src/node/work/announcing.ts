import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { AnnounceReport } from '../../node.ts'
import { Announcing, type ObjectParts } from '../../objects/index.ts'
import type { RowCodec, RowStore } from '../../tables/index.ts'
import type { TableEngine } from '../rows/table-engine.ts'
import type { ClusterState } from '../state.ts'
import type { BlockStores } from '../stores.ts'
import { type Background, runInBackground } from './background.ts'
import { type Steering, steeringOf } from './steering.ts'
import type { UserActivity } from './user-activity.ts'

export interface AnnounceWorkParts {
  readonly state: ClusterState
  readonly network: Pick<Network, 'peerId' | 'gossip' | 'providers'>
  readonly tables: Pick<TableEngine, 'voters' | 'peers'>
  readonly stores: Pick<BlockStores, 'inventory'>
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly users: UserActivity
  readonly clock: Clock
  readonly random: Random
  readonly warn: (message: string, cause: unknown) => void
}

/** What says again what is stored, as work behind. A node without keys cannot: which blocks are roots, and of what, stands in sealed rows. */
export interface AnnounceWork {
  /** From now on, on a member, until what it gives is disposed. */
  begin (content: ObjectParts['content']): AsyncDisposable
  /** Undefined: a node without keys. */
  status (): AnnounceReport | undefined
  readonly door: Steering<AnnounceReport>
}

const taskName = 're-announce'

export function announceWorkOf ({ state, network, tables, stores: { inventory }, rows, codec, users, clock, random, warn }: AnnounceWorkParts): AnnounceWork {
  let begun: { readonly announcing: Announcing, readonly background: Background } | undefined
  const door = steeringOf(taskName, {
    background: () => begun?.background,
    refusal: () => 'this node has no data key: it announces nothing. Ask a member',
    report: ({ state: now, phase, doneShare, etaMs, failure }): AnnounceReport => ({ state: now, phase, doneShare, etaMs, failure, total: (begun as NonNullable<typeof begun>).announcing.status().total }),
  })
  return {
    begin (content) {
      const announcing = new Announcing({
        self: network.peerId, store: rows, codec, voters: tables.voters, content, clock, random, warn,
        isMember: (peer) => state.isMember(peer), reachable: () => tables.peers.reachable(),
        isHeld: async (cid) => { const { isHere, shards } = await inventory.find(cid); return isHere || shards.length > 0 },
        announce: (of) => { network.gossip.announce(of, { isAgain: true }) },
        provide: async (root, wait) => network.providers.provideNow(root, wait),
      })
      const background = runInBackground([{ name: taskName, step: async (wait) => announcing.step(wait), long: { progress: () => announcing.status(), now: () => { announcing.now() } } }], { clock, warn, users })
      begun = { announcing, background }
      return background
    },
    status: () => begun === undefined ? undefined : door.status(),
    door,
  }
}
