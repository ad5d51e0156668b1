import { equals } from '../../base/bytes.ts'
import { InvalidInput, Refused, Unavailable } from '../../base/errors.ts'
import { peerIdOf } from '../../base/peer-id.ts'
import type { Random } from '../../base/random.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { adminsOf, encodeToken, type InviteStatement, roles, signStatement } from '../../cluster/index.ts'
import type { Keyring } from '../../encryption/index.ts'
import type { InviteOptions } from '../../node.ts'
import { signerOf } from './era-change.ts'
import type { ClusterState } from '../state.ts'

export interface InviteParts {
  readonly state: ClusterState
  readonly keyring: Keyring
  readonly random: Random
  /** Binary multiaddrs under which joiners reach this node. */
  readonly addresses: readonly Uint8Array[]
  /** Whether it is set to listen at all. */
  readonly listens: boolean
  readonly wanted: InviteOptions
}

const maxUses = 100
const maxAddresses = 16

/** Tokens, each for one node: a key of its own, signed by the authority. @throws Refused where joining is closed, or the authority's key is not here; Unavailable where nothing listens now */
export function makeInvites ({ state, keyring, random, addresses, listens, wanted: { uses = 1, role = 'member', notAfterMs, zone = '' } }: InviteParts): readonly string[] {
  if (!Number.isInteger(uses) || uses < 1 || uses > maxUses) throw new InvalidInput('uses', `uses is ${uses}; it takes 1 to ${maxUses}`)
  if (state.layout.state === 'closing') throw new Refused('the first bucket is being made, and with it the layout settles: invite when it is there')
  if (addresses.length === 0 && !listens) throw new Refused('this node listens on no address that others could reach; set listen')
  if (addresses.length === 0) throw new Unavailable('the node does not listen now: no network interface of it has an address; try again when one has')
  const signer = signerOf({ state, keyring, self: peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey) })
  // undefined where the authority itself signs
  const admin = adminsOf(state.era, state).find(({ subject }) => equals(subject, signer.publicKey))
  return Array.from({ length: uses }, () => {
    const seed = random.bytes(32)
    const invite = signStatement(signer, {
      clusterId: state.clusterId, era: state.era.number, subject: signingKeyOf(seed).publicKey,
      kind: 'invite', roles: roles[role], peer: undefined, notAfterMs, zone,
    }) as InviteStatement
    return encodeToken({ clusterId: state.clusterId, authority: state.authority, seed, admin, invite, addresses: addresses.slice(0, maxAddresses) })
  })
}
