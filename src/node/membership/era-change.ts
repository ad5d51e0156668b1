import { equals } from '../../base/bytes.ts'
import { Refused, Unavailable } from '../../base/errors.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { type SigningKey, signingKeyOf } from '../../base/signature.ts'
import { adminsOf, type AdminStatement, describeMember, encodeEra, type Era, eraAfter, hashOfStatement, isSameEra, type MemberRow, mergedEra, parseEra, roles, verdictOf } from '../../cluster/index.ts'
import type { Keyring } from '../../encryption/index.ts'
import type { RingPeers } from '../../protocols/ring.ts'
import type { Registers, Voters } from '../../tables/index.ts'
import { majorityOf } from '../../tables/electorate.ts'
import type { Epochs } from './epochs.ts'
import { eraAddress, type Eras } from './eras.ts'
import type { Latecomers } from './latecomers.ts'
import type { Remembers } from './memory.ts'
import type { ClusterState } from '../state.ts'

export interface EraChangeParts {
  readonly self: PeerId
  readonly state: ClusterState
  readonly keyring: Pick<Keyring, 'authoritySeed' | 'nodeSeed'>
  readonly eras: Eras
  readonly epochs: Epochs
  readonly latecomers: Latecomers
  readonly registers: Registers
  readonly peers: Pick<RingPeers, 'offer'>
  /** Every members row, as a majority has it. */
  readonly memberRows: (wait: { signal?: AbortSignal }) => Promise<readonly MemberRow[]>
  readonly voters: Voters
  /** Nodes that answer now; this one need not be among them. */
  readonly reachable: () => ReadonlySet<PeerId>
  /** Whether the row store of a node, this one too, is the one that votes, and has not forgotten anything: one that came with another is heard, and not asked. */
  readonly remembers: (peer: PeerId) => boolean
  /** Who of these voters has what of a partition, as they say. */
  readonly memoryOf: (voters: readonly PeerId[], wait: { signal?: AbortSignal }) => Promise<Remembers>
  readonly warn: (message: string, cause: unknown) => void
  /** Greets everybody who is connected, so that they hear of the era now and not within ten seconds. */
  readonly spread: () => Promise<void>
}

/** What the next era is to say, given who belongs now. Undefined: it is so already. */
export type EraPlan = (standing: { readonly era: Era, readonly rows: readonly MemberRow[], readonly admins: readonly AdminStatement[] }) => PlannedEra | undefined
export interface PlannedEra {
  readonly rows: readonly MemberRow[]
  readonly admins: readonly AdminStatement[]
  /** Whoever goes could read: an epoch begins. */
  readonly isNewEpoch: boolean
  readonly floor?: number
  /** Nobody is put out, and no key may be in wrong hands: unused invites stay good, whoever made them. */
  readonly keepsInvites: boolean
}

const maxRounds = 4

/**
 * The way from one era to the next, by compare-and-set in the row that a majority of voters has: look who belongs, prepare the secret of a new epoch where one
 * is needed, have it on the disks of a majority of those that remain, and only then propose the era. Each step can be the last, or be done again:
 *
 * - before the era is proposed nothing has changed; what was prepared is never used, and the next attempt makes a secret of its own, for whoever prepared the
 *   old one may be the next to go;
 * - proposed and not known to be chosen, it may be: whoever reads the row next finds out (`Eras.ask`), and a repetition finds it done;
 * - chosen, it spreads by itself, and each member takes from its own disk, or asks the others for, the secret that it demands.
 *
 * Whoever joins while the members are being looked at is not in the era that follows, though its sponsor said yes: so they are looked at again, and one
 * more era lists it.
 * @throws Refused, Unavailable (nothing happened), UnknownOutcome (it may have: repeat it)
 */
export async function changeEra (parts: EraChangeParts, plan: EraPlan, wait: { signal?: AbortSignal } = {}): Promise<Era> {
  const { state, eras } = parts
  signerOf(parts)
  await parts.latecomers.settle(wait)
  for (let round = 0; round < maxRounds; round++) {
    await eras.ask(wait)
    // the era that came between may have taken the right away
    const signer = signerOf(parts)
    // new keys go out with all that there are
    await parts.epochs.complete(wait)
    const before = state.era
    const standing = await belonging(parts, before, wait)
    const planned = plan({ era: before, ...standing })
    if (planned === undefined) {
      // what is read while the layout closes the founder alone may know (closing-registers.ts)
      await parts.registers.change<void>(eraAddress, () => ({ kind: 'keep', result: undefined }), wait)
      return before
    }
    const seen = new Set(standing.rows.map((row) => describeMember(row).peerId))
    const proposal = { before, seen, planned, signer }
    const outcome = await proposed(parts, proposal, wait, (next) => { parts.latecomers.owe(async (later) => listLatecomersIfChosen(parts, { ...proposal, after: next }, later)) })
    if (outcome === 'moved') continue
    await eras.adopt(outcome)
    await parts.epochs.step(wait)
    await parts.spread()
    const after = state.era
    await parts.latecomers.look(async (later) => listLatecomers(parts, { ...proposal, after }, later), wait)
    return state.era
  }
  throw new Unavailable('others change the era at the same time; try again')
}

/** Whoever may sign eras here. @throws Refused on a node that may not */
export function signerOf ({ state, keyring, self }: Pick<EraChangeParts, 'state' | 'keyring' | 'self'>): SigningKey {
  if (keyring.authoritySeed !== undefined) return signingKeyOf(keyring.authoritySeed)
  const isAdmin = adminsOf(state.era, state).some(({ subject }) => equals(subject, keyOf(self)))
  if (!isAdmin) throw new Refused('this node may neither invite nor remove: the node that made the cluster may, and those it has made admins ("dfs admin add PEER" there)')
  return signingKeyOf(keyring.nodeSeed)
}

export function maySign (parts: Pick<EraChangeParts, 'state' | 'keyring' | 'self'>): boolean {
  try { signerOf(parts) } catch (error) {
    if (error instanceof Refused) return false
    throw error
  }
  return true
}

/** Those whom the era has, as their rows show. */
async function belonging ({ state, memberRows }: EraChangeParts, era: Era, wait: { signal?: AbortSignal }): Promise<{ rows: readonly MemberRow[], admins: readonly AdminStatement[] }> {
  const rows = await memberRows(wait)
  return { rows: rows.filter((row) => isValidIn(state, era, row)), admins: adminsOf(era, state) }
}

const isValidIn = ({ clusterId, authority }: ClusterState, era: Era, { certificate }: MemberRow): boolean =>
  verdictOf(certificate, { clusterId, authority, era, memberRowHash: hashOfStatement(certificate.member) }).isValid

interface Proposal {
  readonly before: Era
  /** Whom the era before had, when they were looked at. */
  readonly seen: ReadonlySet<PeerId>
  readonly planned: PlannedEra
  readonly signer: SigningKey
}

/** `untold`: it may be chosen, and was not told. */
async function proposed (parts: EraChangeParts, { before, planned, signer }: Proposal, wait: { signal?: AbortSignal }, untold: (next: Era) => void = () => {}): Promise<Era | 'moved'> {
  const { rows, admins, isNewEpoch, floor, keepsInvites } = planned
  const listed = [...rows.map(({ certificate }) => certificate.member), ...admins]
  const prepared = isNewEpoch ? await parts.epochs.prepare() : undefined
  const next = eraAfter(before, { signer, listed, newEpoch: prepared, floor, keepsInvites })
  try {
    if (prepared !== undefined) await haveItHeld(parts, { rows, prepared, era: next.number }, wait)
  } catch (error) {
    // who has heard of another era by now keeps no keys for this one
    await parts.eras.ask(wait).catch(() => {}) // without a majority it failed of that
    if (!isSameEra(parts.state.era, before)) return 'moved'
    throw error
  }
  return parts.registers.change<Era | 'moved'>(eraAddress, (value) => {
    const standing = value === undefined ? before : parseEra(value)
    // ours already: its answer got lost
    if (isSameEra(standing, next)) return { kind: 'keep', result: next }
    const isKnown = standing.number === before.number && isSameEra(mergedEra(before, standing), before)
    return isKnown ? { kind: 'write', value: encodeEra(next), result: next } : { kind: 'keep', result: 'moved' }
  }, wait).catch((error: unknown) => {
    if (!(error instanceof Unavailable)) untold(next)
    throw error
  })
}

/** On the disks of a majority of the members that remain, this one among them. @throws Unavailable */
async function haveItHeld ({ self, epochs, peers }: EraChangeParts, { rows, prepared, era }: { rows: readonly MemberRow[], prepared: { epoch: number, secret: Uint8Array }, era: number }, wait: { signal?: AbortSignal }): Promise<void> {
  const members = rows.map((row) => describeMember(row)).filter(({ role }) => role === roles.member)
  const failures: string[] = []
  await Promise.all(members.map(async ({ peerId, kx }) => {
    if (peerId === self) return
    try { await peers.offer(peerId, { era, box: epochs.boxOf(prepared, { kx, era }) }, wait) } catch (error) {
      failures.push(`${peerId}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }))
  if (members.length - failures.length < majorityOf(members.length)) {
    throw new Unavailable(`new keys must be with a majority of the ${members.length} members that remain before anybody is removed (${failures.join('; ')})`)
  }
}

/** Where it is not, nobody was left out; and what has followed it since may be the era of somebody else, who looks for them. */
async function listLatecomersIfChosen (parts: EraChangeParts, proposal: Proposal & { readonly after: Era }, wait: { signal?: AbortSignal }): Promise<void> {
  await parts.eras.ask(wait)
  if (isSameEra(parts.state.era, proposal.after)) await listLatecomers(parts, proposal, wait)
}

/** Who has joined by an invite of the era before since the members were looked at, and was left out. Whom that era had, and a later one has not, was put out since. */
async function listLatecomers (parts: EraChangeParts, { before, after, seen, signer }: Proposal & { readonly after: Era }, wait: { signal?: AbortSignal }): Promise<void> {
  const { state, eras, memberRows } = parts
  const everybody = await memberRows(wait)
  const standing = state.era
  const late = everybody.filter((row) => isValidIn(state, before, row) && !seen.has(describeMember(row).peerId) && !isValidIn(state, after, row) && !isValidIn(state, standing, row))
  if (late.length === 0) return
  if (!maySign(parts)) {
    parts.warn('who joined while an era began must be invited anew: this node may make no eras any more', new Refused(late.map((row) => describeMember(row).peerId).join(', ')))
    return
  }
  const { rows, admins } = await belonging(parts, standing, wait)
  // of the era that they were looked at in: over a later one it would take back whom that has put out
  const next = await proposed(parts, { before: standing, seen, planned: { rows: [...rows, ...late], admins, isNewEpoch: false, keepsInvites: true }, signer }, wait)
  if (next === 'moved') {
    await eras.ask(wait)
    throw new Unavailable('others change the era at the same time')
  }
  await eras.adopt(next)
  await parts.spread()
}
