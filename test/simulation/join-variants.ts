import { encodeMemberRow } from '../../src/cluster/index.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { Eras } from '../../src/node/membership/eras.ts'
import type { UnknownPeers } from '../../src/node/membership/unknown-peers.ts'
import { tables } from '../../src/tables/index.ts'
import { objectWith, replaced } from './layout-variants.ts'
import type { WorldVariant } from './world.ts'

const nobodyIsAsked = (): WorldVariant => ({ unknown: (unknown) => objectWith<UnknownPeers>(unknown, { note: () => {} }) })
const beginsAnew = (): WorldVariant => ({ joiningFiles: (files) => ({ ...files, size: async (path) => path === 'keyring.joining' ? undefined : files.size(path) }) })

/** Rules of membership, each taken out: `join-histories.ts` finds them. */
export const joinVariants: Readonly<Record<string, () => WorldVariant>> = {
  'who joined while one was away, and changed its own row, is not asked of others': nobodyIsAsked,
  'of those who have joined while one was away they themselves are asked': () => ({ meeting: (parts) => ({ ...parts, unknown: { note: () => {} } }) }),
  'a row that a newcomer proposed is refused by those who have not met it': nobodyIsAsked,
  'the era of an admin is believed of nobody but a majority that can be asked': () => ({ undo: replaced(Eras.prototype, 'hear', async function (this: Eras) { await this.ask() }) }),
  'a join that was cut off begins as another': beginsAnew,
  'an invite that its sponsor died over is used': beginsAnew,
  'who was put out and is back is taken for what it was': () => ({
    meeting: (parts) => ({
      ...parts,
      registers: () => ({
        ...parts.registers(),
        read: async (address, wait) => {
          const known = address.table === tables.members ? parts.state.members.get(peerIdOf(address.key)) : undefined
          return known === undefined ? parts.registers().read(address, wait) : encodeMemberRow(known)
        },
      }),
    }),
  }),
}
