import { concat, equals, utf8 } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import type { PeerId } from '../base/peer-id.ts'
import { isSignedBy, type SigningKey } from '../base/signature.ts'
import { adminsOf, type Era } from './era.ts'
import { type Assignment, assigned, type Layout, type LayoutMember, replicasOf } from './layout.ts'
import { encodeDeclared, encodedMembers, encodedTables } from './layout-codec.ts'

/**
 * The way back when a majority is gone for good: a layout that no electorate chose, but the authority or an admin declared, signed. In it decide together *each*
 * replica of before that is left and a majority of those that are to follow; so whatever a survivor still has of what was chosen is seen, and lost is only
 * what no survivor has. It is finished like any layout that changes, when each that follows has all that any survivor has.
 *
 * A majority of the survivors would not do: of five of whom three are dead, what was chosen may be with one of the two alone.
 */
export interface Recovery {
  /** Layouts that were to follow the present one, and do not: who took over under them may have what was chosen, too. */
  readonly abandoned: readonly Assignment[]
  /** Ed25519 key of the authority, or of an admin that stands in the era of whoever is to believe it. */
  readonly issuer: Uint8Array
  /** 64 bytes over "dfs/v1/recovery" 00 clusterId, all before. */
  readonly signature: Uint8Array
}

export const recoveryLimits = {
  /** Losses while what survived the one before is put together. */
  maxAbandoned: 5,
  /** Versions that the lost ones may have decided without anybody else knowing, or may yet decide: far fewer. */
  versionJump: 2n ** 32n,
} as const

const domain = concat([utf8('dfs/v1/recovery'), Uint8Array.of(0)])

/**
 * `members`, who are left, are to hold and decide. Not signed yet. Two that are declared at once for different survivors have different versions, so that
 * who hears of both goes by one. @throws Refused unless settled or changing; for one who was in no layout
 */
export function recovering (previous: Layout, members: readonly LayoutMember[]): Omit<Layout, 'recovery'> & { readonly recovery: Pick<Recovery, 'abandoned'> } {
  if (previous.state !== 'settled' && previous.state !== 'changing') throw new Refused(`nothing is held under a layout that is ${previous.state}`)
  const abandoned = [...previous.recovery?.abandoned ?? [], ...previous.next === undefined ? [] : [previous.next]]
  if (abandoned.length > recoveryLimits.maxAbandoned) throw new Refused('too many losses before what survived the first was put together')
  const known = new Set([previous, ...abandoned].flatMap((assignment) => assignment.members.map(({ peerId }) => peerId)))
  if (members.some(({ peerId }) => !known.has(peerId))) throw new Refused('who was in no layout has survived nothing')
  const { rowHolders, blockHolders, algorithm } = previous
  const next = assigned(previous, members, algorithm)
  const fingerprint = hash(encodedTables(previous), ...abandoned.map((one) => encodedMembers(one.members)), encodedMembers(next.members))
  const version = previous.version + recoveryLimits.versionJump + BigInt(new DataView(fingerprint.buffer, fingerprint.byteOffset).getUint32(0) >>> 1)
  return { version, state: 'changing', algorithm, members: previous.members, rowHolders, blockHolders, next, recovery: { abandoned } }
}

/** Signed: whoever trusts `signer` adopts it, whatever it knew before. */
export function declaredBy (signer: SigningKey, clusterId: Uint8Array, layout: ReturnType<typeof recovering>): Layout {
  return { ...layout, recovery: { ...layout.recovery, issuer: signer.publicKey, signature: signer.sign(domain, clusterId, encodeDeclared(layout)) } }
}

/** Whether the authority, or an admin that stands in `era`, has declared it. */
export function isDeclaredByRight (layout: Layout, { clusterId, authority, era }: { readonly clusterId: Uint8Array, readonly authority: Uint8Array, readonly era: Era }): boolean {
  const { recovery } = layout
  if (recovery === undefined) return false
  const { issuer, signature } = recovery
  const mayDeclare = equals(issuer, authority) || adminsOf(era, { clusterId, authority }).some(({ subject }) => equals(subject, issuer))
  return mayDeclare && isSignedBy(issuer, signature, domain, clusterId, encodeDeclared(layout))
}

/** Whom it gives up. */
export function lostOf (layout: Layout): readonly PeerId[] {
  if (layout.recovery === undefined) return []
  const left = new Set(layout.next?.members.map(({ peerId }) => peerId))
  return [...new Set([layout, ...layout.recovery.abandoned].flatMap(({ members }) => members.map(({ peerId }) => peerId)))].filter((peer) => !left.has(peer))
}

/** Those of `pick` before that are left, with the store that they had: another one remembers nothing. */
export function survivorsOf (layout: Layout, pick: (assignment: Assignment) => readonly PeerId[]): readonly PeerId[] {
  const left = new Map(layout.next?.members.map((member) => [member.peerId, member]))
  const isLeft = (assignment: Assignment, peer: PeerId): boolean => {
    const [before, now] = [assignment.members.find(({ peerId }) => peerId === peer)?.storeId, left.get(peer)?.storeId]
    return before !== undefined && now !== undefined && equals(before, now)
  }
  return [...new Set([layout, ...layout.recovery?.abandoned ?? []].flatMap((assignment) => pick(assignment).filter((peer) => isLeft(assignment, peer))))]
}

/** The replicas of a partition that are left. */
export const survivingReplicasOf = (layout: Layout, partition: number): readonly PeerId[] => survivorsOf(layout, (assignment) => replicasOf(assignment, partition))
