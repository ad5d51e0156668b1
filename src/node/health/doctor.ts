import type { NodeStatus, PeerStatus } from '../../node.ts'
import type { PeerHealth } from './cluster-health.ts'
import { aNote, anError, aWarning, type Finding } from './findings.ts'

/** What a node that runs knows of itself and of the others. */
export interface DoctorFacts {
  readonly status: NodeStatus
  readonly peers: readonly PeerStatus[]
  /** By peer id. */
  readonly healthOfPeers: ReadonlyMap<string, PeerHealth>
  readonly hasMajority: boolean
  readonly belongs: boolean
  readonly layoutTrouble: string | undefined
  /** Nodes whose row store has forgotten. */
  readonly forgetful: readonly string[]
  /** Nodes that were given up as lost with a majority, of whose loss nobody has looked at the outcome. */
  readonly givenUp?: readonly string[]
  /** Nodes that do not answer and were left out of the layout, of what only they had nobody knows. */
  readonly leftOut?: readonly string[]
  /** Who may invite and remove. */
  readonly admins?: readonly string[]
  readonly reserveBytes: number
  readonly blocksReadOnlyReason: string | undefined
  readonly rowsReadOnlyReason: string | undefined
}

export const doctorLimits = {
  /** Clocks that differ by less are not told of. */
  clockMs: 30_000,
  /** A disk with less beside its reserve has no room for the longest block. */
  roomBytes: 2 * 1024 * 1024 + 1024,
  /** A node that runs for less may not have scrubbed yet. */
  scrubMs: 86_400_000,
} as const

/** Pure: what is to be said of these facts. */
export function findingsOf (facts: DoctorFacts): readonly Finding[] {
  return [...membership(facts), ...stores(facts), ...away(facts), ...redundancy(facts), ...behind(facts), ...collection(facts), ...conversion(facts), ...differences(facts)]
}

function * membership ({ status, belongs, hasMajority, layoutTrouble, forgetful, givenUp = [], leftOut = [], admins = [] }: DoctorFacts): Iterable<Finding> {
  const { layout, members } = status
  if (!belongs) yield anError('removed', 'this node has been removed from the cluster, or given up as lost while it was away', { means: 'the others let it in no more; what it holds is not counted', todo: 'stop it; to take it in again, "dfs invite" on a member and join with a fresh data folder' })
  if (!hasMajority) yield anError('quorum', `fewer than a majority of the ${layout.voters} voters answer`, { means: 'reads and writes fail until more are back; nothing that was acknowledged is lost by it', todo: 'start the nodes that are away; check the network between them. If they are gone for good: "dfs cluster forget --lost", on a node that may invite and remove (docs/OPERATIONS.md)' })
  if (givenUp.length > 0) yield aWarning('given-up', `a majority was lost, and ${givenUp.length} nodes were given up (${givenUp.join(', ')})`, { means: 'what was written last may be older than what was acknowledged, and some may be gone', todo: '"dfs verify" here names what is gone, and ends this' })
  if (leftOut.length > 0) yield aWarning('left-out', `${leftOut.length} nodes were left out of the layout before all that they had was known to be on others (${leftOut.join(', ')})`, { means: 'what they alone had, as of a bucket of one copy, cannot be read, and nobody else knows of it', todo: 'start them, but for those that were removed: what they have is brought where it belongs. If they are gone for good, "dfs verify" here names what is gone, and ends this' })
  if (layoutTrouble !== undefined) yield aWarning('layout-waits', layoutTrouble, { means: 'who holds and decides does not become what it should be', todo: 'start the nodes that it waits for; one that is away for longer than evict-after is left out, and one that answers and gets no further is waited for until it is removed ("dfs node remove"): its log may say why' })
  else if (layout.state === 'changing') yield aNote('layout-changes', 'the layout changes: others are to hold and decide, and take over now', { means: 'reads and writes go on', todo: 'nothing; "dfs status" says when it is done' })
  if (layout.state === 'open') yield aNote('layout-open', 'no bucket has been made yet', { means: 'who holds what is settled with the first bucket', todo: 'let the other nodes join first, then "dfs bucket create NAME"' })
  else if (layout.voters === 1) yield aWarning('one-node', 'this node is alone in the layout', { means: 'its disk has the only copy of everything', todo: 'dfs invite, and join on another machine' })
  else if (layout.voters < 3) yield aWarning('two-voters', `${layout.voters} voters`, { means: 'the death of one stops reads and writes', todo: 'add a third node; a witness on a small board will do ("dfs invite --role witness")' })
  const readers = members.filter(({ role }) => role === 'member')
  if (members.length > 1 && readers.length === 1) yield aWarning('one-member', 'one node alone has the keys', { means: 'if its keyring is lost nobody can ever read anything', todo: 'back up its keyring, or let another node join as a member' })
  if (admins.length === 1 && readers.length > 2) yield aNote('one-admin', `${admins[0]} alone may invite and remove`, { means: 'if it is gone for good no node is let in or put out any more, and a lost majority cannot be given up', todo: '"dfs admin add PEER" there, for a node on another machine' })
  for (const peer of forgetful) yield aWarning('row-store-forgot', `the row store of ${peer} was emptied, put back from a copy or damaged`, { means: 'it does not vote until it has taken over afresh from the others', todo: 'nothing, if it goes within minutes; else look at that node\'s log and disk' })
}

function * stores ({ status: { blocks, rows, cache, health }, blocksReadOnlyReason, rowsReadOnlyReason, reserveBytes }: DoctorFacts): Iterable<Finding> {
  if (blocksReadOnlyReason !== undefined) yield anError('blocks-read-only', `the block store takes no writes: ${blocksReadOnlyReason}`, { means: 'this node reads on, and others take what is written', todo: 'make room if the disk is full: it goes on by itself; else check the disk (dmesg), then start the node again' })
  if (rowsReadOnlyReason !== undefined) yield anError('rows-read-only', `the row store takes no writes: ${rowsReadOnlyReason}`, { means: 'this node does not vote', todo: 'make room if the disk is full: it goes on by itself; else check the disk (dmesg), then start the node again' })
  if (rows.lostPartitions > 0) yield aWarning('rows-lost', `the memory of ${rows.lostPartitions} of 4096 partitions of rows was lost or changed`, { means: 'this node does not vote for them until it has taken them over from the others', todo: 'nothing, if it goes within minutes; check the disk' })
  if (blocks.freeBytes < reserveBytes + doctorLimits.roomBytes) yield aWarning('disk-full', `the disk has ${blocks.freeBytes} bytes free, and ${reserveBytes} are kept in reserve`, { means: 'this node takes no more blocks; others are asked in its place', todo: `make room, or add a node${cache.bytes > 0 ? '; "dfs cache clear" frees what was fetched' : ''}` })
  else if (blocks.quotaBytes !== undefined && blocks.bytes >= blocks.quotaBytes * nearlyFull) yield aWarning('quota-full', `${blocks.bytes} of the ${blocks.quotaBytes} bytes that this node may hold are taken`, { means: 'it will take no more blocks', todo: 'raise "capacity", or add a node' })
  if (blocks.corrupt > 0) yield aWarning('rot', `${blocks.corrupt} blocks were corrupt and are set aside in blocks/corrupt`, { means: 'they are fetched anew from other nodes; the disk may be failing', todo: 'check the disk (smartctl, dmesg)' })
  const damage = health.find((line) => line.startsWith('the index of blocks was damaged'))
  if (damage !== undefined) yield aWarning('index-damaged', damage, { means: 'small blocks may be missing here; they are looked for', todo: 'check the disk; evidence/ has the file' })
}

const nearlyFull = 0.95

function * away ({ status: { members, peerId }, peers }: DoctorFacts): Iterable<Finding> {
  for (const { peerId: peer, isConnected, role, capacityBytes } of members) {
    if (isConnected || peer === peerId) continue
    if (capacityBytes === undefined) {
      yield aNote('peer-off', `${peer} (${role}) does not answer, and is not in the layout`, { means: 'it holds and decides nothing: it was drained, was left out while it was away, or joined before the first bucket', todo: `start it if it is wanted; if it is gone for good: "dfs node remove ${peer}"` })
      continue
    }
    const addresses = peers.find((known) => known.peerId === peer)?.addresses ?? []
    yield aWarning('peer-away', `${peer} (${role}) does not answer`, { means: 'what it holds has fewer copies now, and its vote is missing', todo: addresses.length === 0 ? 'start it; no address of it is known here, so it must dial this node (bootstrap)' : `start it, or open the way to ${addresses.join(' or ')}` })
  }
}

function * redundancy ({ status: { atRisk, repair }, healthOfPeers }: DoctorFacts): Iterable<Finding> {
  // of what is short every holder that has some of it knows: where one alone says so it may be wrong, or lie
  const telling = [...healthOfPeers].filter(([, { versionsAtRisk }]) => versionsAtRisk.length > 0).map(([peer]) => peer)
  const alone = (repair?.found?.objectsAtRisk ?? 0) === 0 && telling.length === 1 ? `, as ${telling[0]} alone says` : ''
  const gone = repair?.found?.goneBlocks ?? 0
  if (gone > 0) yield aWarning('blocks-gone', `of ${gone} blocks too few copies or shards are known to be left to read them`, { means: 'their objects cannot be read until a node that has them is back, and are lost if there is none; or they are of uploads that failed, whose rest goes by itself', todo: 'start the nodes that are away, drained ones too; "dfs verify" says whether an object is meant, and which' })
  const narrow = repair?.found?.narrowBlocks ?? 0
  if (narrow > 0) yield aWarning('too-few-holders', `${narrow} blocks are to be on more nodes than there are that hold blocks`, { means: 'they have fewer copies or shards than their buckets ask, and repair cannot bring more', todo: 'add nodes, or bring back those that were left out; or "dfs bucket set NAME --redundancy" to what these can hold' })
  if (atRisk.objects > 0) yield aWarning('at-risk', `${atRisk.isAtLeast ? 'at least ' : ''}${atRisk.objects} objects in the cluster have fewer copies than they should${alone}`, { means: 'the next loss may be the last', todo: 'bring nodes back; repair does the rest ("dfs repair status"). If it stays, look for nodes without room' })
  if (atRisk.silent.length > 0) yield aNote('silent', `${atRisk.silent.length} nodes that hold blocks have not told what is at risk (${atRisk.silent.join(', ')})`, { means: 'the number of objects at risk is at least so', todo: 'they are away, or run an older version' })
  if (repair === undefined) return
  if (repair.state === 'paused') yield aWarning('repair-paused', 'repair is paused', { means: 'missing copies are not made anew', todo: 'dfs repair resume' })
  if (repair.failure !== undefined) yield aWarning('repair-fails', `repair fails: ${repair.failure}`, { means: 'the last unit of work failed; it is tried again', todo: 'the log has more' })
  for (const peer of repair.full) yield aWarning('peer-full', `${peer} has no room for blocks that belong to it`, { means: 'they go to others, or stay short', todo: 'give it room, or add a node' })
}

function * behind ({ status: { scrub, uptimeMs } }: DoctorFacts): Iterable<Finding> {
  if (scrub === undefined) return
  const { last, state, failure, found: { wrongPieces, wrongReferences, damagedFiles, lostPartitions } } = scrub
  if (last === undefined && uptimeMs > doctorLimits.scrubMs) yield aNote('never-scrubbed', 'not everything on this disk has been read since it was written', { means: 'rot in what nobody reads is not known', todo: 'nothing, or "dfs scrub now"' })
  if (state === 'paused') yield aWarning('scrub-paused', 'scrub is paused', { means: 'rot in what nobody reads is not found', todo: 'dfs scrub resume' })
  if (failure !== undefined) yield aWarning('scrub-fails', `scrub fails: ${failure}`, { means: 'the last unit of work failed; it is tried again', todo: 'the log has more; check the disk' })
  if (wrongPieces + wrongReferences + damagedFiles + lostPartitions > 0) yield aWarning('scrub-found', `scrub found ${wrongPieces} blocks or shards, ${wrongReferences} references, ${lostPartitions} partitions of rows and ${damagedFiles} files that were not what was written`, { means: 'they are set aside or made anew; the disk may be failing', todo: 'check the disk; blocks/corrupt and evidence/ have what was found' })
}

function * collection ({ status: { collect } }: DoctorFacts): Iterable<Finding> {
  if (collect === undefined) return
  const { state, failure, found, publishing } = collect
  if (state === 'paused') yield aWarning('collect-paused', 'collection is paused', { means: 'the space of what was overwritten or deleted does not come back', todo: 'dfs collect resume' })
  if (failure !== undefined) yield aWarning('collect-fails', `collection fails: ${failure}`, { means: 'the last unit of work failed; it is tried again', todo: 'the log has more' })
  if (publishing?.failure !== undefined) yield aWarning('deaths-wait', `deaths of versions are not published: ${publishing.failure}`, { means: 'their space does not come back; it is tried again', todo: 'bring nodes back, so that a majority answers' })
  const { heldUpBlocks = 0, unreferencedBlocks = 0, unreferencedBytes = 0 } = found ?? {}
  if (heldUpBlocks > 0) yield aWarning('collect-held-up', `${heldUpBlocks} blocks that nobody is known to need stay`, { means: 'too few of the nodes that may need them answer', todo: 'bring nodes back; they go by themselves' })
  if (unreferencedBlocks > 0) yield aNote('unreferenced', `${unreferencedBlocks} blocks, ${unreferencedBytes} bytes, are recorded for no version`, { means: 'a crash left them so, or the index of blocks was damaged: they stay, for others may yet tell who needs them', todo: 'nothing' })
}

function * conversion ({ status: { convert } }: DoctorFacts): Iterable<Finding> {
  if (convert === undefined) return
  if (convert.state === 'paused') yield aWarning('convert-paused', 'conversion is paused', { means: 'objects keep the redundancy they were put with, whatever their bucket says now', todo: 'dfs convert resume' })
  if (convert.failure !== undefined) yield aWarning('convert-waits', `objects wait to be converted: ${convert.failure}`, { means: 'they are as durable as before; every copy or shard of the new form must be stored before the old one goes', todo: 'bring the nodes back that are away, or make room; it is tried again' })
}

function * differences ({ status: { version }, healthOfPeers }: DoctorFacts): Iterable<Finding> {
  const ahead = [...healthOfPeers].filter(([, { clockAheadMs }]) => Math.abs(clockAheadMs) > doctorLimits.clockMs)
  // if it differs from most of them it is this one that is wrong
  if (ahead.length > 1 && ahead.length > healthOfPeers.size / 2) yield aWarning('clock', `this node's clock differs from those of ${ahead.length} of ${healthOfPeers.size} others by ${ahead.map(([, { clockAheadMs }]) => secondsText(-clockAheadMs)).join(', ')}`, clockAdvice)
  else for (const [peer, { clockAheadMs }] of ahead) yield aWarning('clock', `the clock of ${peer} is ${secondsText(clockAheadMs)} of this node's`, clockAdvice)
  const others = [...healthOfPeers].filter(([, { softwareVersion }]) => softwareVersion !== version)
  if (others.length > 0) yield aNote('versions', `this node is dfs ${version}; ${others.map(([peer, { softwareVersion }]) => `${peer} is ${softwareVersion}`).join(', ')}`, { means: 'fine while nodes are being updated', todo: 'update the others' })
  const paused = [...healthOfPeers].filter(([, { isRepairPaused }]) => isRepairPaused)
  if (paused.length > 0) yield aWarning('repair-paused-elsewhere', `repair is paused on ${paused.map(([peer]) => peer).join(', ')}`, { means: 'what they alone have is not brought to others', todo: 'dfs repair resume, there' })
}

const clockAdvice = { means: 'no clock decides who wins, what lives or who is a member; dates in invites, shares, access keys and retention are judged by the clock of the node that is asked', todo: 'set the clocks (chrony, systemd-timesyncd)' }
const secondsText = (ms: number): string => `${Math.round(Math.abs(ms) / 1000)} s ${ms > 0 ? 'ahead' : 'behind'}`
