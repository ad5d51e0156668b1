import { equals, MalformedBytes } from '../../base/bytes.ts'
import { Corrupt, Unavailable } from '../../base/errors.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { clearRowKey } from '../../cluster/clear-row.ts'
import { allVotersOf, type Assignment, type Certificate, clusterRowKeys, describeMember, encodeLayout, encodeMemberRow, type Era, hashOfStatement, isEraByRight, type Layout, parseEra, parseInviteRow, parseLayout, parseMemberRow, replicasOf, survivorsOf, verdictOf, versionOfLayout } from '../../cluster/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import type { RowCodecParts } from '../../tables/codec.ts'
import { type Electorate, votersBy } from '../../tables/electorate.ts'
import { decodeEnvelope, type Envelope } from '../../tables/envelope.ts'
import { isClear, type Registers, type RowAddress, type TableNumber, tables, type Voters } from '../../tables/index.ts'
import type { LayoutGuard } from '../../tables/replica.ts'
import type { TablePeers } from '../../tables/registers.ts'
import { type ClusterState, follows } from '../state.ts'

export const clusterAddress = (table: TableNumber, key: Uint8Array): RowAddress => ({ table, scope: clusterRowKeys.scope, key })
export const layoutAddress = clusterAddress(tables.layout, clusterRowKeys.layout)

/** Who decides, by the layout this node knows; asked afresh for every operation. */
export const votersIn = (state: ClusterState): Voters => votersBy({
  version: () => state.layout.version,
  groupsOf: (partition) => groupsAt(state.layout, partition),
})

/** The old ones and the new ones while it changes; once, where they are the same. After the loss of a majority each of the old ones that is left, and the new ones. */
function groupsAt (layout: Layout, partition: number): Electorate['groups'] {
  const at = (assignment: Assignment): readonly PeerId[] => partition === clearPartition ? allVotersOf(assignment) : replicasOf(assignment, partition)
  const present = at(layout)
  if (layout.next === undefined) return [present]
  const next = at(layout.next)
  if (layout.recovery !== undefined) return [...survivorsOf(layout, at).map((peer) => [peer]), next]
  return present.length === next.length && next.every((peer) => present.includes(peer)) ? [present] : [present, next]
}

/** As `votersIn`, for what this node accepts: while the layout closes, everybody takes the clear rows that they will decide about once it is settled. */
export function acceptorsBy (state: ClusterState, self: PeerId, voters: Voters = votersIn(state)): Voters {
  return {
    get version () { return voters.version },
    electorate: (partition) => voters.electorate(partition),
    of: (table, rowKey) => isClear(table) && state.layout.state === 'closing' ? [...new Set([...voters.of(table, rowKey), self])] : voters.of(table, rowKey),
    ofPartition: (partition) => voters.ofPartition(partition),
  }
}

/**
 * The layout that messages must name. One that a peer names and this node does not know is asked of that peer, checked, and on disk before any answer. Members are believed: who holds the data key
 * could do worse. What others say is asked of the members, one question at a time however many messages say it.
 */
export function layoutGuard (state: ClusterState, peers: () => TablePeers): LayoutGuard & { heard (encoded: Uint8Array, from: PeerId): Promise<void> } {
  const asking = new Map<PeerId, Promise<void>>()
  const ask = async (version: bigint, from: PeerId): Promise<void> => {
    const members = [from, ...peers().reachable()].filter((peer) => state.isMember(peer))
    for (const peer of new Set(members)) {
      if (state.layout.version >= version) return
      // a question under the old layout is answered with the new one
      const answer = await peers().ask(peer, { version: state.layout.version, kind: 'digest', partitions: [] }, {}).catch((error: unknown) => { if (peer === from) throw error })
      if (answer?.kind === 'staleLayout') await state.adoptLayout(answer.layout, { isChosen: true })
    }
  }
  const asked = async (version: bigint, from: PeerId): Promise<void> => {
    const begun = asking.get(from) ?? ask(version, from).finally(() => { asking.delete(from) })
    asking.set(from, begun)
    await begun
  }
  const guard: ReturnType<typeof layoutGuard> = {
    get version () { return state.layout.version },
    get isChanging () { return state.layout.next !== undefined },
    encoded: () => state.encodedLayout,
    async adopt (version, from) {
      await asked(version, from)
      // what was under way may have been for a lower one
      if (state.layout.version < version) await asked(version, from)
      if (state.layout.version < version) throw new Unavailable(`layout ${version} could not be had from ${from}`)
    },
    async heard (encoded, from) {
      const version = versionOfLayout(encoded)
      if (version > state.layout.version) await guard.adopt(version, from)
    },
  }
  return guard
}

/**
 * What a voter demands of clear rows beyond their signature: a proposer who belongs, and the table's own rule. It is asked of rows that stand, too, so age
 * is no offence: a certificate that has lapsed, or an era or a layout that has been followed by others, makes nobody a member and changes no mind.
 * `unknown` hears of a proposer of whom nothing is known here. @throws Corrupt
 */
export function clearRowRule (state: ClusterState, unknown: (proposer: Uint8Array) => void): RowCodecParts['checkClear'] {
  return ({ table, rowKey, proposer, content }) => {
    const peer = peerIdOf(proposer)
    if (!state.members.has(peer)) unknown(proposer)
    if (!state.wasMember(peer)) throw new Corrupt('a clear row was proposed by somebody who is no member here')
    try {
      const envelope = decodeEnvelope(content.body)
      // nobody erases a clear row; where there was none, an identity round says so
      const isRight = content.isTombstone ? envelope.operations.length === 0 : isAllowed(state, { table, rowKey }, envelope)
      if (!isRight) throw new Corrupt(`a row of table ${table} says what it may not`)
    } catch (cause) {
      if (cause instanceof MalformedBytes) throw new Corrupt('a clear row is not well-formed', { cause })
      throw cause
    }
  }
}

/** Whether this is what the members row of a peer may say, whoever proposed it. @throws MalformedBytes */
export function isMemberRowAt ({ clusterId, authority, era }: Pick<ClusterState, 'clusterId' | 'authority' | 'era'>, rowKey: Uint8Array, value: Uint8Array): boolean {
  const { certificate } = parseMemberRow(value)
  return equals(rowKey, clearRowKey(tables.members, certificate.member.subject)) && verdictOf(certificate, { clusterId, authority, era: eraThen(era, certificate), memberRowHash: 'unchecked' }).isValid
}

function isAllowed (state: ClusterState, { table, rowKey }: { table: TableNumber, rowKey: Uint8Array }, { operations, value }: Envelope): boolean {
  const { clusterId, authority, layout: known } = state
  const isAt = (key: Uint8Array): boolean => equals(rowKey, clearRowKey(table, key))
  switch (table) {
    case tables.members: return isMemberRowAt(state, rowKey, value)
    case tables.invites:
      parseInviteRow(value)
      // absent → used or revoked, and nothing after that
      return operations.length === 1
    case tables.layout: {
      const layout = parseLayout(value)
      return isAt(clusterRowKeys.layout) && layout.recovery === undefined && (layout.version <= known.version || follows(known, layout))
    }
    // that it follows from the one before is asked when it is proposed: `eraSuccession`
    case tables.era: return isAt(clusterRowKeys.era) && isEraByRight(parseEra(value), { clusterId, authority })
    default: return false
  }
}

/** The era that a certificate was made in, for one that may have lapsed: who was an admin then need not be one now. Whom the era of now lists counts for nothing: what is taken is to be read for ever. */
function eraThen (era: Era, { admin, member }: Certificate): Era {
  const stood = admin === undefined || admin.era > member.era ? [] : [{ subject: admin.subject, statementHash: hashOfStatement(admin) }]
  return { ...era, number: Math.min(era.number, member.era), listed: stood }
}

/**
 * H of the member statement of a peer: as this node knows it, else as the voters do; what is learned is kept. Of one that is known and does not belong they are asked again: it may have come back by
 * another invite. `unknown` hears of one of whom they could not be asked: it may be one of those without whom there is no majority.
 */
export async function memberRowHash (state: ClusterState, registers: () => Registers, key: Uint8Array, unknown: (key: Uint8Array) => void = () => {}): Promise<Uint8Array | undefined> {
  const known = state.memberHash(peerIdOf(key))
  if (known !== undefined && state.belongs(peerIdOf(key))) return known
  let value: Uint8Array | undefined
  try { value = await registers().read(clusterAddress(tables.members, key)) } catch (error) {
    if (error instanceof Unavailable) unknown(key)
    if (known === undefined || !(error instanceof Unavailable)) throw error
    return known
  }
  if (value === undefined) return undefined
  const row = parseMemberRow(value)
  await state.remember(row)
  return hashOfStatement(row.certificate.member)
}

/** What init wrote to the founder's disk becomes rows: its members row and the first layout. Does nothing where they stand, as they do once the layout is not open any more: that stands in a row first. */
export async function writeFoundation (state: ClusterState, registers: Registers, self: PeerId): Promise<void> {
  const row = state.members.get(self)
  if (state.layout.state !== 'open' || row === undefined || !state.layout.members.some(({ peerId }) => peerId === self)) return
  const ifAbsent = (value: Uint8Array) => (current: Uint8Array | undefined): { kind: 'write', value: Uint8Array, result: void } | { kind: 'keep', result: void } =>
    current === undefined ? { kind: 'write', value, result: undefined } : { kind: 'keep', result: undefined }
  await registers.change(clusterAddress(tables.members, keyOf(self)), ifAbsent(encodeMemberRow(row)))
  await registers.change(layoutAddress, ifAbsent(encodeLayout(state.layout)))
}

/** Addresses of members, as their rows and the invite have them. */
export const addressesIn = (state: ClusterState): ReadonlyMap<PeerId, readonly Uint8Array[]> =>
  new Map([...state.members.values()].map((row) => [describeMember(row).peerId, row.addresses] as const).filter(([peer]) => state.belongs(peer)))

