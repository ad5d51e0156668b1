import { hexOf } from '../../base/bytes.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { BlockStats } from '../../blockstore/disk-blocks.ts'
import { allVotersOf, describeMember, nameOfRole, roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import type { LevelDamage } from '../../disk/level-damage.ts'
import type { ChangeProgress, AnnounceReport, CollectReport, CompareReport, ConvertReport, NodeStatus, RepairReport, ScrubReport } from '../../node.ts'
import type { RowStore } from '../../tables/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { isMajority } from '../../tables/electorate.ts'
import type { AtRisk } from './cluster-health.ts'
import { votersIn } from '../membership/membership.ts'
import type { ClusterState } from '../state.ts'

export interface StatusFacts {
  readonly config: Config
  readonly state: ClusterState
  readonly peerId: PeerId
  readonly addresses: readonly string[]
  readonly uptimeMs: number
  readonly reachable: readonly PeerId[]
  /** Of those, whose row store has forgotten: they are not asked for rows. */
  readonly forgetful?: readonly PeerId[]
  readonly blocks: BlockStats
  readonly cache: { readonly bytes: number, readonly limitBytes: number }
  readonly freeBytes: number
  /** Nodes that were given up as lost with a majority, of whose loss nobody has looked at the outcome. */
  readonly givenUp?: readonly PeerId[]
  /** Nodes that do not answer and were left out of the layout, of what only they had nobody knows. */
  readonly leftOut?: readonly PeerId[]
  /** What keeps the layout from changing as it should. */
  readonly layoutTrouble?: string | undefined
  /** Undefined: a witness. */
  readonly repair: RepairReport | undefined
  readonly collect?: CollectReport | undefined
  readonly convert?: ConvertReport | undefined
  readonly scrub?: ScrubReport | undefined
  readonly compare?: CompareReport | undefined
  readonly announce?: AnnounceReport | undefined
  readonly atRisk?: AtRisk
  /** Files of the index of blocks that were found damaged at the start. */
  readonly indexDamage?: readonly LevelDamage[]
  /** Bytes of blocks that are taken; undefined: what the disk has. */
  readonly limitBytes?: number | undefined
  /** Why what this node offers is not what the cluster counts on. */
  readonly capacityTrouble?: string | undefined
  readonly change?: ChangeProgress | undefined
  /** Of the rows, whose names are in the listing index; default: all. */
  readonly listedShare?: number
  readonly rows: Pick<RowStore, 'lostPartitions'> & Partial<Pick<RowStore, 'readOnlyReason'>>
}

export const version = '0.1.0'

export const hasMajority = ({ state, peerId, reachable, forgetful = [] }: StatusFacts): boolean =>
  isMajority(votersIn(state).electorate(clearPartition), (voter) => voter === peerId || (reachable.includes(voter) && !forgetful.includes(voter)))

/** Fails closed: a node with a failing disk may still serve through others, but should not be the one that is asked. */
const isReady = (facts: StatusFacts): boolean =>
  hasMajority(facts) && !facts.blocks.isReadOnly && facts.rows.readOnlyReason === undefined && facts.rows.lostPartitions().size === 0

/** What this node sees counts before the others have told. */
function atRiskOf ({ atRisk, repair }: StatusFacts): AtRisk {
  const { objectsAtRisk = 0, isAtLeast = false } = repair?.found ?? {}
  if (atRisk === undefined) return { objects: objectsAtRisk, isAtLeast, silent: [] }
  return { ...atRisk, objects: Math.max(atRisk.objects, objectsAtRisk) }
}

const awayOf = ({ state, peerId, reachable }: StatusFacts): number => state.layout.members.filter(({ peerId: member }) => member !== peerId && !reachable.includes(member)).length

/** Fewer copies, of blocks or of rows, than there should be. */
const isDegraded = (facts: StatusFacts): boolean =>
  atRiskOf(facts).objects > 0 || (facts.repair?.found?.shortBlocks ?? 0) > 0 || (facts.repair?.found?.narrowBlocks ?? 0) > 0 || awayOf(facts) > 0 || (facts.leftOut ?? []).length > 0 || (facts.forgetful ?? []).length > 0 || facts.rows.lostPartitions().size > 0

export function statusOf (facts: StatusFacts): NodeStatus {
  const { config, state, peerId, reachable, blocks, cache, freeBytes, rows } = facts
  const { role, zone: firstZone } = state.certificate.member
  // as it was set since; a row may have changed elsewhere alone
  const placed = new Map((state.layout.next ?? state.layout).members.map((member) => [member.peerId, member]))
  const members = [...state.members.values()].map((row) => describeMember(row)).filter((member) => state.belongs(member.peerId))
  return {
    peerId,
    clusterId: hexOf(state.clusterId),
    version,
    role: nameOfRole(role),
    zone: placed.get(peerId)?.zone ?? firstZone,
    addresses: facts.addresses,
    uptimeMs: facts.uptimeMs,
    layout: { version: String(state.layout.version), state: state.layout.state, members: state.layout.members.length, voters: allVotersOf(state.layout).length },
    members: members.map((member) => ({ peerId: member.peerId, role: nameOfRole(member.role), zone: placed.get(member.peerId)?.zone ?? member.zone, capacityBytes: placed.get(member.peerId)?.capacityBytes, isConnected: member.peerId === peerId || reachable.includes(member.peerId) })),
    blocks: { ...blocks, quotaBytes: 'limitBytes' in facts ? facts.limitBytes : config.capacityBytes, freeBytes },
    cache: { bytes: cache.bytes, limitBytes: cache.limitBytes },
    rows: { lostPartitions: rows.lostPartitions().size, isReadOnly: rows.readOnlyReason !== undefined },
    change: changeOf(facts.change, state.layout),
    repair: facts.repair,
    collect: facts.collect,
    ...(facts.convert === undefined ? {} : { convert: facts.convert }),
    scrub: facts.scrub,
    ...(facts.compare === undefined ? {} : { compare: facts.compare }),
    ...(facts.announce === undefined ? {} : { announce: facts.announce }),
    atRisk: atRiskOf(facts),
    isDegraded: isDegraded(facts),
    isReady: isReady(facts),
    health: healthOf(facts),
  }
}

function changeOf (change: ChangeProgress | undefined, { version }: Pick<ClusterState['layout'], 'version'>): NodeStatus['change'] {
  if (change === undefined) return undefined
  // of the layout before: what was in its place then is not now, and who could be switched off may be needed again
  if (change.layout.version !== String(version)) return { isDone: false, isWhole: false, leftBytes: 0, rowPartitionsLeft: 0, waitingFor: ['the layout has just changed, and how far it is has not been looked at yet'], mayBeSwitchedOff: [] }
  const { isDone, isWhole, leftBytes, rowPartitionsLeft, waitingFor, nodes } = change
  return { isDone, isWhole, leftBytes, rowPartitionsLeft, waitingFor, mayBeSwitchedOff: nodes.filter((node) => node.mayBeSwitchedOff).map(({ peerId }) => peerId) }
}

/** What a person should know, each line with what to do; empty when all is well. */
function healthOf (facts: StatusFacts): readonly string[] {
  const { state, config, blocks, freeBytes, rows, peerId, forgetful = [] } = facts
  const lostPartitions = rows.lostPartitions().size
  const voters = allVotersOf(state.layout)
  const away = awayOf(facts)
  return [
    ...(state.belongs(peerId) ? [] : ['this node has been removed from the cluster, or given up as lost while it was away: the others let it in no more']),
    ...givenUpHealthOf(facts),
    ...leftOutHealthOf(facts),
    ...(hasMajority(facts) ? [] : [`fewer than a majority of the ${voters.length} voters answer: writes and reads fail until more are back; if they are gone for good, "dfs cluster forget --lost"`]),
    ...(facts.layoutTrouble === undefined ? [] : [facts.layoutTrouble]),
    ...(facts.capacityTrouble === undefined ? [] : [facts.capacityTrouble]),
    ...(away > 0 ? [`${away} of ${state.layout.members.length} members do not answer: what they hold has fewer copies now`] : []),
    ...forgetful.map((peer) => `the row store of ${peer} was emptied, put back from a copy or damaged: it does not vote`),
    ...(state.layout.state === 'settled' && voters.length < 3 ? [`${voters.length} voters: the death of one stops writes; three or more survive it`] : []),
    ...keysHealthOf(facts),
    ...(blocks.isReadOnly ? [`the block store takes no writes: ${blocks.readOnlyReason}`] : []),
    ...(rows.readOnlyReason === undefined ? [] : [`this node does not vote: ${rows.readOnlyReason}`]),
    ...(lostPartitions > 0 ? [`the memory of ${lostPartitions} partitions of rows was lost or changed: this node does not vote for them`] : []),
    ...listingHealthOf(facts),
    ...(blocks.corrupt > 0 ? [`${blocks.corrupt} blocks were corrupt and are set aside in blocks/corrupt: the disk may be failing`] : []),
    ...riskHealthOf(facts),
    ...repairHealthOf(facts.repair),
    ...collectHealthOf(facts.collect),
    ...convertHealthOf(facts.convert),
    ...scrubHealthOf(facts),
    ...compareHealthOf(facts.compare),
    ...(freeBytes <= config.reserveBytes ? [`the disk has no more free than the reserve of ${config.reserveBytes} bytes: this node takes no more blocks`] : []),
  ]
}

function givenUpHealthOf ({ givenUp = [] }: StatusFacts): readonly string[] {
  return givenUp.length === 0 ? [] : [`a majority was lost, and ${givenUp.length} nodes given up (${givenUp.join(', ')}): what was written last may be older than what was acknowledged, and some may be gone; "dfs verify" says what`]
}

function leftOutHealthOf ({ leftOut = [] }: StatusFacts): readonly string[] {
  return leftOut.length === 0 ? [] : [`${leftOut.length} nodes were left out of the layout before all that they had was known to be on others (${leftOut.join(', ')}): what they alone had is missing; start them, or "dfs verify" says what it is`]
}

function keysHealthOf ({ state }: StatusFacts): readonly string[] {
  const belonging = [...state.members.values()].map((row) => describeMember(row)).filter(({ peerId }) => state.belongs(peerId))
  const readers = belonging.filter(({ role }) => role === roles.member)
  return belonging.length > 1 && readers.length === 1 ? [`one node alone has the keys (${readers[0]?.peerId}): if its keyring is lost nobody can ever read anything; back it up, or let another node join as a member`] : []
}

function listingHealthOf ({ listedShare = 1 }: StatusFacts): readonly string[] {
  // never 100 before it is done
  return listedShare === 1 ? [] : [`the listing index is made anew since the start, ${Math.floor(listedShare * 100)} % are there: until it is whole listings are answered by other members, and fail where there are too few`]
}

function riskHealthOf (facts: StatusFacts): readonly string[] {
  const { objects, isAtLeast } = atRiskOf(facts)
  const { shortBlocks = 0, goneBlocks = 0, narrowBlocks = 0 } = facts.repair?.found ?? {}
  if (objects === 0 && shortBlocks === 0 && narrowBlocks === 0) return []
  const known = [
    ...shortBlocks === 0 ? [] : [`${shortBlocks} blocks have fewer copies than they should${goneBlocks === 0 ? '' : `, and of ${goneBlocks} too few are known to be left to read them`}`],
    ...narrowBlocks === 0 ? [] : [`${narrowBlocks} blocks are to be on more nodes than there are that hold blocks: add nodes, or "dfs bucket set NAME --redundancy" to what these can hold`],
  ]
  return [`${isAtLeast ? 'at least ' : ''}${objects} objects at risk: ${known.length === 0 ? 'other nodes know of blocks that have fewer copies than they should' : known.join('; ')}`]
}

function repairHealthOf (repair: RepairReport | undefined): readonly string[] {
  if (repair === undefined) return []
  const { full, failure, state } = repair
  return [
    ...full.map((peer) => `${peer} has no room for blocks that belong to it`),
    ...(state === 'paused' ? ['repair is paused: missing copies are not made anew until "dfs repair resume"'] : []),
    ...(failure === undefined ? [] : [`repair fails: ${failure}`]),
  ]
}

function collectHealthOf (collect: CollectReport | undefined): readonly string[] {
  if (collect === undefined) return []
  const { state, failure, found, publishing } = collect
  return [
    ...((found?.heldUpBlocks ?? 0) === 0 ? [] : [`${found?.heldUpBlocks} blocks that nobody is known to need stay: too few of the nodes that may need them answer`]),
    ...(publishing?.failure === undefined ? [] : [`the space of what was overwritten or deleted does not come back: ${publishing.failure}`]),
    ...(state === 'paused' ? ['collection is paused: space does not come back until "dfs collect resume"'] : []),
    ...(failure === undefined ? [] : [`collection fails: ${failure}`]),
  ]
}

function convertHealthOf (convert: ConvertReport | undefined): readonly string[] {
  if (convert === undefined) return []
  const { state, failure, found } = convert
  const left = found?.versions ?? 0
  return [
    ...(state === 'paused' ? ['conversion is paused: objects keep the redundancy they were put with until "dfs convert resume"'] : []),
    // while none is known it has only not looked, which other lines explain
    ...(failure === undefined || left === 0 ? [] : [`${left} objects have not the redundancy of their bucket yet: ${failure}`]),
  ]
}

function compareHealthOf (compare: CompareReport | undefined): readonly string[] {
  return compare?.state === 'paused' ? ['rows are not compared with their other replicas: what one of those missed it gets when it is read, until POST /v1/compare {"action":"resume"}, or the next start'] : []
}

function scrubHealthOf ({ scrub, indexDamage = [] }: StatusFacts): readonly string[] {
  const { damagedFiles = 0, wrongReferences = 0 } = scrub?.found ?? {}
  return [
    ...(indexDamage.length === 0 || scrub?.phase === 'waiting' ? [] : [`the index of blocks was damaged when the node started (${indexDamage.map(({ file }) => file).join(', ')}): what it lost is looked for, and fetched anew`]),
    ...(damagedFiles === 0 ? [] : [`${damagedFiles} files of the indexes or the journal were not what was written; copies are in evidence/: the disk may be failing`]),
    ...(wrongReferences === 0 ? [] : [`${wrongReferences} references to blocks were not what was written and are set aside: the disk may be failing`]),
    ...(scrub?.state === 'paused' ? ['scrub is paused: rot is found only in what is read, until "dfs scrub resume"'] : []),
    ...(scrub?.failure === undefined ? [] : [`scrub fails: ${scrub.failure}`]),
  ]
}
