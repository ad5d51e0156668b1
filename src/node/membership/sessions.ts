import type { PeerId } from '../../base/peer-id.ts'
import { hashOfStatement, newestAlgorithm, verdictOf } from '../../cluster/index.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { Greeting } from '../../protocols/hello.ts'
import type { ClusterState } from '../state.ts'

export interface SessionsParts {
  readonly state: Pick<ClusterState, 'clusterId' | 'authority' | 'era'>
  readonly greetings: Map<PeerId, Greeting>
  readonly network: Pick<Network, 'expel'>
  readonly warn: (message: string, cause: unknown) => void
}

/** Whom the era leaves out is put out now: before this returns no greeting of it counts any more. Gives who that was. */
export function endSessions ({ state: { clusterId, authority, era }, greetings, network, warn }: SessionsParts): readonly PeerId[] {
  const left = [...greetings].filter(([, { certificate }]) =>
    !verdictOf(certificate, { clusterId, authority, era, memberRowHash: hashOfStatement(certificate.member) }).isValid).map(([peer]) => peer)
  for (const peer of left) {
    greetings.delete(peer)
    network.expel(peer).catch((error: unknown) => { warn('a peer that belongs no more could not be forgotten', error) })
  }
  return left
}

const algorithmPrefix = 'layout:'

/** In a greeting's capabilities: the newest algorithm of assignment that this node can compute. */
export const algorithmCapability = `${algorithmPrefix}${newestAlgorithm}`

/** 1: it says nothing of it. */
export function algorithmIn ({ capabilities }: Pick<Greeting, 'capabilities'>): number {
  const told = capabilities.find((name) => name.startsWith(algorithmPrefix))
  return told === undefined ? 1 : Number(told.slice(algorithmPrefix.length))
}

const epochPrefix = 'epoch:'

/** In a greeting's capabilities: the newest epoch whose secret a member has. */
export const epochCapability = (epoch: number): string => `${epochPrefix}${epoch}`

export function epochIn ({ capabilities }: Pick<Greeting, 'capabilities'>): number {
  const told = capabilities.find((name) => name.startsWith(epochPrefix))
  return told === undefined ? 0 : Number(told.slice(epochPrefix.length))
}
