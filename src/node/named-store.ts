import type { PeerId } from '../base/peer-id.ts'
import type { ClusterState } from './state.ts'

/** The id of the row store by which the cluster knows a node: an acceptor is its store, not its name. Undefined: not known, or it votes on nothing. */
export const namedStoreOf = ({ layout, members }: Pick<ClusterState, 'layout' | 'members'>, peer: PeerId): Uint8Array | undefined =>
  (layout.members.find(({ peerId }) => peerId === peer) ?? members.get(peer))?.storeId
