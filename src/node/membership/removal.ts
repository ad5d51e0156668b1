import { equals, partitionCount } from '../../base/bytes.ts'
import { NotFound, Refused, Unavailable } from '../../base/errors.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { describeMember, type MemberRow, roles } from '../../cluster/index.ts'
import { majorityOf } from '../../tables/electorate.ts'
import { changeEra, type EraChangeParts, signerOf } from './era-change.ts'
import type { Remembers } from './memory.ts'

export interface Removal {
  /** The era that leaves it out. */
  readonly era: number
  /** Of what is sealed from now on; the removed node knows none of its secrets. */
  readonly epoch: number
}

/**
 * An era without this peer: whoever has heard of it closes its sessions and lets it in no more. If it could read, an epoch begins with it, so that it
 * learns nothing new; what it has read it may have kept. Done already, it says so again.
 * @throws Refused, NotFound, Unavailable (nothing happened), UnknownOutcome (repeat it)
 */
export async function removeMember (parts: EraChangeParts, subject: PeerId, wait: { signal?: AbortSignal } = {}): Promise<Removal> {
  demandRemovable(parts, subject)
  // of those who answer, one may have lost some rows, and have them back from nobody but this peer
  const voters = new Set(parts.voters.ofPartition(partitionCount))
  const remembers = await parts.memoryOf(answeringWithout(parts, subject).filter((peer) => voters.has(peer)), wait)
  await changeEra(parts, ({ rows, admins }) => {
    const leaving = rows.map((row) => describeMember(row)).find(({ peerId }) => peerId === subject)
    if (leaving === undefined) {
      demandKnown(parts, subject)
      return undefined
    }
    const remaining = rowsWithout(rows, subject)
    // another may have been put out since this was looked at first
    demandMajorityWithout(parts, subject, { belonging: new Set(rows.map((row) => describeMember(row).peerId)), remembers })
    return { rows: remaining, admins: admins.filter((admin) => !equals(admin.subject, keyOf(subject))), isNewEpoch: leaving.role === roles.member, keepsInvites: false }
  }, wait)
  return { era: parts.state.era.number, epoch: parts.epochs.newest }
}

/** What can be said of a removal before anybody is asked. @throws Refused, Unavailable */
export function demandRemovable (parts: EraChangeParts, subject: PeerId): void {
  if (subject === parts.self) throw new Refused('a node does not remove itself: ask another one')
  signerOf(parts)
  if (parts.state.belongs(subject)) demandMajorityWithout(parts, subject)
}

/** @throws NotFound */
export function demandKnown ({ state }: Pick<EraChangeParts, 'state'>, subject: PeerId): void {
  if (!state.members.has(subject)) throw new NotFound(`${subject} is no member of this cluster, and never was`)
}

/** The rows of those who remain. Pure. @throws Refused */
export function rowsWithout (rows: readonly MemberRow[], subject: PeerId): readonly MemberRow[] {
  const remaining = rows.filter((row) => describeMember(row).peerId !== subject)
  if (!remaining.some((row) => describeMember(row).role === roles.member)) throw new Refused('nobody would be left that can read: a cluster keeps one member')
  return remaining
}

/** Those whose row store votes. */
const answeringWithout = ({ self, reachable, remembers }: EraChangeParts, subject: PeerId): readonly PeerId[] => [...new Set([self, ...reachable()])].filter((peer) => peer !== subject && remembers(peer))

/** Put out, it votes no more, and until the layout has left it behind its place counts as a dead one. @throws Refused, Unavailable */
function demandMajorityWithout (parts: EraChangeParts, subject: PeerId, { belonging, remembers = () => true }: { belonging?: ReadonlySet<PeerId>, remembers?: Remembers } = {}): void {
  const answering = new Set(answeringWithout(parts, subject).filter((peer) => belonging?.has(peer) !== false))
  // the clear rows' voters stand behind the last partition
  for (let partition = 0; partition <= partitionCount; partition++) {
    for (const list of parts.voters.electorate(partition).groups) {
      if (!list.includes(subject)) continue
      if (list.length - 1 < majorityOf(list.length)) throw new Refused('rows could not be decided without it: let it leave the layout first ("dfs node drain")')
      if (list.filter((peer) => answering.has(peer) && remembers(peer, partition)).length < majorityOf(list.length)) throw new Unavailable('without it there is no majority now: bring others back first, and wait until who has lost rows has them back')
    }
  }
}
