import type { Budget } from '../base/budget.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Requests } from '../network/index.ts'
import type { BlockPeers } from '../replication/index.ts'
import { fetchFrom, fetchLimits } from './fetch.ts'
import { answerBytesOf, fetchShardFrom } from './fetch-shard.ts'
import { livingAt, presenceAt, shardPresenceAt, storeAt, storeShardAt, tellAt } from './store.ts'

/** Other nodes' blocks over /dfs/store and /dfs/fetch. `budget` bounds the bytes in flight to and from all of them. */
export function blockPeers ({ requests, reachable, budget }: { requests: Requests, reachable: () => readonly PeerId[], budget: Budget }): BlockPeers {
  return {
    reachable,
    async store (peer, block, options) {
      using _claim = await budget.claim(block.bytes.byteLength, options)
      return await storeAt(requests, peer, block, options)
    },
    async storeShard (peer, offer, options) {
      using _claim = await budget.claim(offer.shard.bytes.byteLength, options)
      return await storeShardAt(requests, peer, offer, options)
    },
    async fetchShard (peer, wanted, options) {
      using _claim = await budget.claim(answerBytesOf(wanted), options)
      return await fetchShardFrom(requests, peer, wanted, options)
    },
    presence: async (peer, cids, options) => presenceAt(requests, peer, cids, options),
    shardPresence: async (peer, wanted, options) => shardPresenceAt(requests, peer, wanted, options),
    living: async (peer, cids, options) => livingAt(requests, peer, cids, options),
    tell: async (peer, references, options) => tellAt(requests, peer, references, options),
    async fetch (peer, cid, { signal }) {
      using _claim = await budget.claim(fetchLimits.maxAnswerBytes, { signal })
      return await fetchFrom(requests, peer, cid, { signal })
    },
  }
}
