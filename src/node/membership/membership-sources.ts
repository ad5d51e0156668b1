import type { MembershipSources } from '../../protocols/membership.ts'
import type { Registers } from '../../tables/index.ts'
import type { ClusterState } from '../state.ts'
import type { Eras } from './eras.ts'
import { memberRowHash } from './membership.ts'
import type { UnknownPeers } from './unknown-peers.ts'

export interface MembershipSourcesParts {
  readonly state: ClusterState
  readonly eras: Pick<Eras, 'adopt' | 'hear'>
  readonly registers: () => Registers
  readonly unknown: Pick<UnknownPeers, 'note'>
}

/** By what a node finds out whether a peer belongs: what it knows, what voters have, and, where those cannot be asked, what they show and what members tell. */
export const membershipSources = ({ state, eras, registers, unknown }: MembershipSourcesParts): MembershipSources => ({
  clusterId: state.clusterId,
  authority: state.authority,
  era: () => state.era,
  adopt: async (era) => eras.adopt(era),
  askVoters: async (peer, shown) => eras.hear(peer, shown),
  memberRowHash: async (key) => memberRowHash(state, registers, key, (of) => { unknown.note(of) }),
})
