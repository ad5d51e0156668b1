import { Refused } from '../../base/errors.ts'
import { type BucketNeed, describeMember, nameOfRole, parseToken, type RoleName } from '../../cluster/index.ts'
import type { DfsNode } from '../../node.ts'
import { type Bucket, redundancyOf, redundancyText } from '../../objects/index.ts'
import type { Changes } from './changes.ts'
import type { Invites } from '../membership/invites.ts'
import type { ClusterState } from '../state.ts'

export interface ChangesDoorParts {
  /** Undefined: a node without keys. */
  readonly changes: Changes | undefined
  readonly invites: Pick<Invites, 'make'>
  readonly state: Pick<ClusterState, 'members' | 'belongs'>
  /** Of this node. */
  readonly role: RoleName
}

export function changesDoor ({ changes: known, invites, state, role }: ChangesDoorParts): DfsNode['changes'] {
  const changes = (): Changes => {
    if (known === undefined) throw new Refused(`this is a ${role} node: it changes nothing of the cluster. Ask a member`)
    return known
  }
  return {
    plan: async (change, wait) => changes().plan(change, wait),
    set: async (peer, settings, options) => changes().set(peer, settings, options),
    replace: async (gone, by, options) => changes().replace(gone, by, options),
    heir: async (gone, wait) => changes().heir(gone, wait),
    progress: async (wait) => changes().progress(wait),
    async inviteFor (gone, { zone, ...wait } = {}) {
      const row = state.members.get(gone)
      if (row === undefined || !state.belongs(gone)) throw new Refused(`${gone} is no member of this cluster; "dfs status" shows the members`)
      const known = describeMember(row)
      const [token = ''] = await invites.make({ role: nameOfRole(known.role), zone: zone ?? known.zone })
      await changes().bequeath(gone, parseToken(token).invite.subject, wait)
      return token
    },
  }
}

/** What a bucket asks of those who hold blocks. */
export function bucketNeed (bucket: Bucket): BucketNeed {
  const { large: { k, m } } = redundancyOf(bucket)
  return { name: bucket.name, redundancy: redundancyText(bucket), width: k + m, suffice: k, copies: bucket.copies }
}
