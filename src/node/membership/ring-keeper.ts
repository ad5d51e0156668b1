import { Refused } from '../../base/errors.ts'
import type { RingKeeper } from '../../protocols/ring.ts'
import type { Epochs } from './epochs.ts'
import type { Retag } from './retag.ts'

/** What a member answers about rings. */
export const ringOf = (epochs: Epochs, retag: Retag): RingKeeper => ({
  keep: async (peer, offer) => epochs.keep(peer, offer),
  give: (peer, era) => epochs.give(peer, era),
  votedFrom: (epoch) => retag.demand(epoch),
})

/** A node without keys has none to keep or give; as a witness it votes. */
export const keylessRing = (retag: Retag): RingKeeper => ({
  keep: async () => { throw new Refused('this node holds no keys') },
  give: () => { throw new Refused('this node holds no keys') },
  votedFrom: (epoch) => retag.demand(epoch),
})
