import { equals } from '../../base/bytes.ts'
import { NotFound, Refused } from '../../base/errors.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { adminsOf, type AdminStatement, describeMember, roles, signStatement } from '../../cluster/index.ts'
import { changeEra, type EraChangeParts } from './era-change.ts'

/**
 * Admins invite and remove as the authority does, each by its own node's key. They stand in the era, which carries their statements: whoever knows the era
 * knows them, and the era that leaves one out takes its right away.
 */
export const listAdmins = ({ state }: Pick<EraChangeParts, 'state'>): readonly PeerId[] => adminsOf(state.era, state).map(({ subject }) => peerIdOf(subject))

/** Only the authority makes admins. @throws Refused elsewhere, NotFound, Unavailable, UnknownOutcome */
export async function addAdmin (parts: EraChangeParts, peer: PeerId, wait: { signal?: AbortSignal } = {}): Promise<void> {
  const { authoritySeed } = parts.keyring
  if (authoritySeed === undefined) throw new Refused('only the node that made the cluster has the authority\'s key, and makes admins')
  await changeEra(parts, ({ era, rows, admins }) => {
    const row = rows.find((of) => describeMember(of).peerId === peer)
    if (row === undefined) throw new NotFound(`${peer} is no member of this cluster; "dfs status" shows the members`)
    if (describeMember(row).role !== roles.member) throw new Refused('an admin has the data key: only a node of role member can be one')
    if (admins.some(({ subject }) => equals(subject, keyOf(peer)))) return undefined
    const admin = signStatement(signingKeyOf(authoritySeed), { clusterId: parts.state.clusterId, era: era.number + 1, subject: keyOf(peer), kind: 'admin' }) as AdminStatement
    return { rows, admins: [...admins, admin], isNewEpoch: false, keepsInvites: true }
  }, wait)
}

/** By the authority or any admin; it stays a member. @throws Refused, Unavailable, UnknownOutcome */
export async function removeAdmin (parts: EraChangeParts, peer: PeerId, wait: { signal?: AbortSignal } = {}): Promise<void> {
  await changeEra(parts, ({ rows, admins }) => {
    const remaining = admins.filter(({ subject }) => !equals(subject, keyOf(peer)))
    // those of the one that goes fall with its statement
    return remaining.length === admins.length ? undefined : { rows, admins: remaining, isNewEpoch: false, keepsInvites: true }
  }, wait)
}
