import type { KadDHT } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'

export const whereaboutsLimits = { findTimeoutMs: 5000 } as const

/**
 * Where a peer listens, as those who are connected to it say, over Kademlia: two nodes that joined through a third have not met, and neither's row need say
 * where it is (a node that listens on all interfaces, or on any port, cannot tell before it runs). Whoever answers there has yet to prove who it is. None: nobody knew.
 */
export async function whereaboutsOf (peer: PeerId, { dht, clock, signal }: { dht: KadDHT, clock: Clock, signal: AbortSignal }): Promise<readonly string[]> {
  using limit = deadline(clock, whereaboutsLimits.findTimeoutMs, { signal, what: 'finding a peer' })
  try {
    for await (const event of dht.findPeer(peerIdFromString(peer), { signal: limit.signal, useCache: false })) {
      if (event.name === 'FINAL_PEER') return event.peer.multiaddrs.map(String)
    }
  } catch (error) {
    // thrown at the end of a search in which nobody knew the peer
    if (!(error instanceof Error) || error.name !== 'NotFoundError') throw error
  }
  return []
}
