import { hexOf } from '../../base/bytes.ts'
import { deadline, systemClock } from '../../base/clock.ts'
import { Refused, Unavailable } from '../../base/errors.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { systemRandom } from '../../base/random.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { type InviteToken, parseToken, type Role, roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import { lockFolder } from '../../disk/folder-lock.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import { exchangeKeyOf, type Keyring, openRing, type Ring, ringPurpose } from '../../encryption/index.ts'
import { addressBytes, addressText } from '../../network/addresses.ts'
import { RequestRefused } from '../../network/index.ts'
import { type Network, startNetwork } from '../../network/libp2p-network.ts'
import { answeringFirst } from '../../network/reach.ts'
import type { Secrets } from '../../node.ts'
import { type Joined, joinCluster as joinBy } from '../../protocols/join.ts'
import { capacityOf } from '../layout/capacity.ts'
import { peerInAddress, writeKnownPeers } from './known-peers.ts'
import { endJoin, keyringKeyOf, readKeyring, writeKeyring } from './keys.ts'
import { checkedRing } from './checked-ring.ts'
import { looseBallotOf } from '../records.ts'
import { readFacts, writeFacts } from '../state.ts'
import { openRows } from '../stores.ts'

const joinTimeoutMs = 60_000
const dialTimeoutMs = 10_000

/**
 * Makes this node a member of the cluster that the token invites to, by the first of its sponsors that answers; all are looked for at once. Cut off at any point it can be run again
 * with the same token. @throws Refused (with the sponsor's reason), Unavailable (no sponsor answers), InvalidInput (the token)
 */
export async function joinCluster (config: Config, secrets: Secrets, text: string): Promise<{ clusterId: string, peerId: PeerId }> {
  const token = parseToken(text)
  const files = nodeFiles(config.data)
  await files.ensureFolder('.')
  await using _lock = await lockFolder(config.data)
  if (await readFacts(files) !== undefined) throw new Refused(`${config.data} is a node's already; choose another --data`)
  const random = systemRandom
  const key = await keyringKeyOf(secrets, { make: true, random })
  const keyring = await readKeyring(files, key, { joining: true }) ?? freshKeyring(token)
  await writeKeyring(files, keyring, key, { random, joining: true })
  await using rows = await openRows({ data: config.data, files, random, ballotOf: looseBallotOf, onLost: () => {} })
  const { joined } = await joinedBy(config, { keyring, token, storeId: rows.storeId, capacityBytes: await capacityOf(config, files) })
  await writeKeyring(files, { ...keyring, ring: joined.ring }, key, { random, isJoined: false })
  const { certificate, era, layout, members } = joined
  await writeKnownPeers(files, sponsorsIn(token))
  await writeFacts(files, { clusterId: token.clusterId, authority: token.authority, certificate, era, layout, members })
  await endJoin(files)
  return { clusterId: hexOf(token.clusterId), peerId: peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey) }
}

function sponsorsIn (token: InviteToken): ReadonlyMap<string, readonly string[]> {
  const addresses = token.addresses.map(addressText)
  return new Map(Object.entries(Object.groupBy(addresses, (address) => peerInAddress(address) ?? '')).map(([peer, of]) => [peer, of ?? []]))
}

function freshKeyring ({ clusterId }: InviteToken): Keyring {
  const [nodeSeed, exchangeSeed, diskKey] = Array.from({ length: 3 }, () => systemRandom.bytes(32)) as [Uint8Array, Uint8Array, Uint8Array]
  return { nodeSeed, exchangeSeed, diskKey, clusterId, ring: undefined, authoritySeed: undefined }
}

interface Joining { readonly keyring: Keyring, readonly token: InviteToken, readonly storeId: Uint8Array, readonly capacityBytes: number }

async function joinedBy (config: Config, joining: Joining): Promise<{ joined: Joined<Ring> }> {
  const quiet = { debug: () => {}, info: () => {}, warn: () => {} }
  await using network = await startNetwork({
    seed: joining.keyring.nodeSeed, listen: [], announce: [], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom, greet: undefined, isMember: () => false, log: quiet,
  })
  await network.listen()
  const failures: string[] = []
  for await (const address of answeringFirst(joining.token.addresses.map(addressText))) {
    try {
      return { joined: await joinAt(network, address, config, joining) }
    } catch (error) {
      if (error instanceof RequestRefused || error instanceof Refused) throw new Refused(`the cluster refuses: ${error.message}`, { cause: error })
      failures.push(`${address}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new Unavailable(`no member named in the invite could be reached (${failures.join('; ') || 'it names no address'})`)
}

async function joinAt (network: Network, address: string, config: Config, { keyring, token, storeId, capacityBytes }: Joining): Promise<Joined<Ring>> {
  using dialing = deadline(systemClock, dialTimeoutMs, { what: 'connecting' })
  const sponsor = await network.dial([address], { signal: dialing.signal })
  using limit = deadline(systemClock, joinTimeoutMs, { what: 'joining' })
  const role = roleOf(token)
  return await joinBy(network.requests, sponsor, {
    peer: network.peerId,
    token,
    role,
    kx: exchangeKeyOf(keyring.exchangeSeed),
    zone: config.zone,
    capacityBytes: role === roles.witness ? 0 : capacityBytes,
    addresses: reachableAddresses(config).map(addressBytes),
    storeId: role === roles.storage ? undefined : storeId,
    openRing: (box, era) => checkedRing(openRing(box, { seed: keyring.exchangeSeed, clusterId: token.clusterId, purpose: ringPurpose(era.number) }), token.clusterId, era),
  }, { signal: limit.signal })
}

/** What can be said before listening: an address of all interfaces names none. */
const reachableAddresses = ({ announce, listen }: Config): readonly string[] =>
  announce.length > 0 ? announce : listen.filter((address) => !/^\/ip[46]\/(0\.0\.0\.0|::)\//.test(address) && !address.endsWith('/tcp/0'))

/** The richest role the invite allows. */
const roleOf = ({ invite }: InviteToken): Role => [roles.member, roles.witness, roles.storage].find((role) => (invite.roles & role) !== 0) ?? roles.storage

