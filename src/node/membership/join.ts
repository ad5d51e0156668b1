import { hexOf } from '../../base/bytes.ts'
import { type Clock, deadline, systemClock } from '../../base/clock.ts'
import { Refused, Unavailable } from '../../base/errors.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { type Random, systemRandom } from '../../base/random.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { type InviteToken, parseToken, type Role, roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import { lockFolder } from '../../disk/folder-lock.ts'
import type { Files } from '../../disk/index.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import { exchangeKeyOf, type Keyring, type KeyringKey, openRing, type Ring, ringPurpose } from '../../encryption/index.ts'
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
/** Where one has refused already, which most often all would. */
const dialRefusedTimeoutMs = 2_000

/**
 * Makes this node a member of the cluster that the token invites to, by the first of its sponsors that takes it; all are looked for at once. Cut off at any point it can be run again
 * with the same token. @throws Refused (with the sponsors' reasons), Unavailable (no sponsor answers), InvalidInput (the token)
 */
export async function joinCluster (config: Config, secrets: Secrets, text: string): Promise<{ clusterId: string, peerId: PeerId }> {
  const token = parseToken(text)
  const files = nodeFiles(config.data)
  await files.ensureFolder('.')
  await using _lock = await lockFolder(config.data)
  if (await readFacts(files) !== undefined) throw new Refused(`${config.data} is a node's already; choose another --data`)
  const random = systemRandom
  const key = await keyringKeyOf(secrets, { make: true, random })
  return await joinOnDisk({ files, key, random }, token, async (keyring) => {
    await using rows = await openRows({ data: config.data, files, random, ballotOf: looseBallotOf, onLost: () => {} })
    return await joinedBy({ keyring, token, storeId: rows.storeId, capacityBytes: await capacityOf(config, files), zone: config.zone, addresses: reachableAddresses(config) })
  })
}

/** A join as it follows, step by step, on the disk of a folder that is no node's yet: cut off after any of them, it goes on as the same peer. `ask` gets what the cluster gives to this keyring. */
export async function joinOnDisk ({ files, key, random }: { readonly files: Files, readonly key: KeyringKey, readonly random: Random }, token: InviteToken, ask: (keyring: Keyring) => Promise<Joined<Ring>>): Promise<{ clusterId: string, peerId: PeerId }> {
  const keyring = await readKeyring(files, key, { joining: true }) ?? freshKeyring(token, random)
  await writeKeyring(files, keyring, key, { random, joining: true })
  const { certificate, era, layout, members, ring } = await ask(keyring)
  await writeKeyring(files, { ...keyring, ring }, key, { random, isJoined: false })
  await writeKnownPeers(files, sponsorsIn(token))
  await writeFacts(files, { clusterId: token.clusterId, authority: token.authority, certificate, era, layout, members })
  await endJoin(files)
  return { clusterId: hexOf(token.clusterId), peerId: peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey) }
}

function sponsorsIn (token: InviteToken): ReadonlyMap<string, readonly string[]> {
  const addresses = token.addresses.map(addressText)
  return new Map(Object.entries(Object.groupBy(addresses, (address) => peerInAddress(address) ?? '')).map(([peer, of]) => [peer, of ?? []]))
}

function freshKeyring ({ clusterId }: InviteToken, random: Random): Keyring {
  const [nodeSeed, exchangeSeed, diskKey] = Array.from({ length: 3 }, () => random.bytes(32)) as [Uint8Array, Uint8Array, Uint8Array]
  return { nodeSeed, exchangeSeed, diskKey, clusterId, ring: undefined, authoritySeed: undefined }
}

/** What a node brings to its join. */
export interface Joining {
  readonly keyring: Keyring
  readonly token: InviteToken
  readonly storeId: Uint8Array
  readonly capacityBytes: number
  readonly zone: string
  /** Multiaddrs under which it will be reached. */
  readonly addresses: readonly string[]
}

async function joinedBy (joining: Joining): Promise<Joined<Ring>> {
  const quiet = { debug: () => {}, info: () => {}, warn: () => {} }
  await using network = await startNetwork({
    seed: joining.keyring.nodeSeed, listen: [], announce: [], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom, greet: undefined, isMember: () => false, log: quiet,
  })
  await network.listen()
  return await joinOver({ network, clock: systemClock, sponsors: answeringFirst(joining.token.addresses.map(addressText)) }, joining)
}

/** By the first of these sponsors (multiaddrs) that takes it: one that refuses may wait for its keys itself, reach no majority, or lie. @throws Refused (with the sponsors' reasons), Unavailable (none answers) */
export async function joinOver (over: { readonly network: Pick<Network, 'peerId' | 'dial' | 'requests'>, readonly clock: Clock, readonly sponsors: Iterable<string> | AsyncIterable<string> }, joining: Joining): Promise<Joined<Ring>> {
  const failures: string[] = []
  const refusals: Array<RequestRefused | Refused> = []
  const refusing = new Set<string | undefined>()
  for await (const address of over.sponsors) {
    if (refusing.has(peerInAddress(address))) continue
    try {
      return await joinAt(over, address, joining, { isRefused: refusals.length > 0 })
    } catch (error) {
      failures.push(`${address}: ${error instanceof Error ? error.message : String(error)}`)
      if (!(error instanceof RequestRefused || error instanceof Refused)) continue
      refusals.push(error)
      refusing.add(peerInAddress(address))
    }
  }
  if (refusals.length > 0) throw new Refused(`the cluster refuses: ${[...new Set(refusals.map(({ message }) => message))].join('; ')}`, { cause: refusals[0] })
  throw new Unavailable(`no member named in the invite could be reached (${failures.join('; ') || 'it names no address'})`)
}

async function joinAt ({ network, clock }: Pick<Parameters<typeof joinOver>[0], 'network' | 'clock'>, address: string, { keyring, token, storeId, capacityBytes, zone, addresses }: Joining, { isRefused }: { isRefused: boolean }): Promise<Joined<Ring>> {
  using dialing = deadline(clock, isRefused ? dialRefusedTimeoutMs : dialTimeoutMs, { what: 'connecting' })
  const sponsor = await network.dial([address], { signal: dialing.signal })
  using limit = deadline(clock, joinTimeoutMs, { what: 'joining' })
  const role = roleOf(token)
  return await joinBy(network.requests, sponsor, {
    peer: network.peerId,
    token,
    role,
    kx: exchangeKeyOf(keyring.exchangeSeed),
    zone,
    capacityBytes: role === roles.witness ? 0 : capacityBytes,
    addresses: addresses.map(addressBytes),
    storeId: role === roles.storage ? undefined : storeId,
    openRing: (box, era) => checkedRing(openRing(box, { seed: keyring.exchangeSeed, clusterId: token.clusterId, purpose: ringPurpose(era.number) }), token.clusterId, era),
  }, { signal: limit.signal })
}

/** What can be said before listening: an address of all interfaces names none. */
const reachableAddresses = ({ announce, listen }: Config): readonly string[] =>
  announce.length > 0 ? announce : listen.filter((address) => !/^\/ip[46]\/(0\.0\.0\.0|::)\//.test(address) && !address.endsWith('/tcp/0'))

/** The richest role the invite allows. */
const roleOf = ({ invite }: InviteToken): Role => [roles.member, roles.witness, roles.storage].find((role) => (invite.roles & role) !== 0) ?? roles.storage

