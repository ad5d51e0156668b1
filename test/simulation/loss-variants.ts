import type { PeerId } from '../../src/base/peer-id.ts'
import { declaredBy, encodeLayout, type Layout, parseLayout, replicasOf, survivorsOf } from '../../src/cluster/index.ts'
import { votersIn } from '../../src/node/membership/membership.ts'
import { ClusterState } from '../../src/node/state.ts'
import type { Takeovers } from '../../src/node/layout/takeover.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import type { Voters } from '../../src/tables/index.ts'
import { keyNamed } from '../support/cluster-identities.ts'
import { objectWith, replaced } from './layout-variants.ts'
import type { WorldVariant } from './world.ts'

/** After a majority was given up: of those that are left, these decide, beside a majority of those that follow. */
const deciding = (change: (left: readonly PeerId[]) => ReadonlyArray<readonly PeerId[]>) => (state: ClusterState): Voters => {
  const right = votersIn(state)
  return votersBy({
    version: () => state.layout.version,
    groupsOf: (partition) => {
      const { groups } = right.electorate(partition)
      return state.layout.recovery === undefined ? groups : [...change(groups.slice(0, -1).flat()), ...groups.slice(-1)]
    },
  })
}

const takingOverFrom = (change: (left: readonly PeerId[]) => readonly PeerId[]): WorldVariant['takeovers'] => (takeovers) => objectWith<Takeovers>(takeovers, {
  of: (layout: Layout) => {
    const takeover = takeovers.of(layout)
    return layout.recovery === undefined ? takeover : { ...takeover, from: (partition: number) => change(takeover.from(partition)) }
  },
})

const adoptLayout = Reflect.get(ClusterState.prototype, 'adoptLayout') as (...of: Parameters<ClusterState['adoptLayout']>) => Promise<void>

/** Rules of what is declared when a majority is gone for good, each taken out. */
export const lossVariants: Readonly<Record<string, () => WorldVariant>> = {
  'of those that are left a majority decides, and is taken over from': () => ({
    voters: deciding((left) => left.length === 0 ? [] : [left]),
    takeovers: takingOverFrom((left) => left.slice(0, Math.floor(left.length / 2) + 1)),
  }),
  'those that follow decide alone': () => ({ voters: deciding(() => []) }),
  'those that follow go on with what they have': () => ({ takeovers: (takeovers) => objectWith<Takeovers>(takeovers, { of: (layout: Layout) => layout.recovery === undefined ? takeovers.of(layout) : { ...takeovers.of(layout), partitions: [] } }) }),
  'who was to follow when the majority died is not asked': () => ({
    voters: (state) => {
      const right = votersIn(state)
      return votersBy({ version: () => state.layout.version, groupsOf: (partition) => {
        const { layout } = state
        const before = layout.recovery === undefined || partition < 0 ? undefined : survivorsOf({ ...layout, recovery: { ...layout.recovery, abandoned: [] } }, (assignment) => replicasOf(assignment, partition))
        return before === undefined ? right.electorate(partition).groups : [...before.map((peer) => [peer]), ...right.electorate(partition).groups.slice(-1)]
      } })
    },
    takeovers: (takeovers) => objectWith<Takeovers>(takeovers, { of: (layout: Layout) => takeovers.of(layout.recovery === undefined ? layout : { ...layout, recovery: { ...layout.recovery, abandoned: [] } }) }),
  }),
  'a declaration is believed whoever has signed it': () => ({
    // as if the authority had
    undo: replaced(ClusterState.prototype, 'adoptLayout', async function (this: ClusterState, encoded, options) {
      const layout = parseLayout(encoded)
      const { recovery } = layout
      await Reflect.apply(adoptLayout, this, [recovery === undefined ? encoded : encodeLayout(declaredBy(keyNamed('cluster authority'), this.clusterId, { ...layout, recovery })), options])
    }),
  }),
}
