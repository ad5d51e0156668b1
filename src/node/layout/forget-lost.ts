import { type Clock, deadline } from '../../base/clock.ts'
import { hexOf, partitionCount, partitionOf, textOf } from '../../base/bytes.ts'
import { InvalidInput, Refused, Unavailable } from '../../base/errors.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { allVotersOf, blockHoldersOf, declaredBy, describeMember, encodeLayout, type Layout, type LayoutMember, lostOf, recovering, roles } from '../../cluster/index.ts'
import type { LossReport } from '../../node.ts'
import { type BucketRow, decodeBucketRow } from '../../objects/buckets/bucket-row.ts'
import { clusterScope } from '../../objects/describe.ts'
import { redundancyOf, redundancyText } from '../../objects/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { type Electorate, isMajority } from '../../tables/electorate.ts'
import { tables } from '../../tables/index.ts'
import { listingIndexLimits, type ListingIndex } from '../../tables/listing-index.ts'
import type { AskReplica } from '../membership/clear-rows.ts'
import { changeEra, type EraChangeParts, signerOf } from '../membership/era-change.ts'
import { memoryOf, type Remembers } from '../membership/memory.ts'

export interface ForgetParts extends EraChangeParts {
  readonly ask: AskReplica
  readonly clock: Clock
  readonly index: ListingIndex
  /** The row store that a node has shown, in its last greeting. */
  readonly storeOf: (peer: PeerId) => Uint8Array | undefined
  /** Whether a connection to this peer can be made now. */
  readonly answers: (peer: PeerId, wait: { signal: AbortSignal }) => Promise<boolean>
  readonly loud: (fields: object, message: string) => void
}

export const forgetLimits = {
  /** For a connection to one that is said to be lost. */
  dialMs: 3_000,
  /** For all survivors to go by the new layout. */
  adoptMs: 30_000,
  /** Names in a report. */
  maxExamples: 100,
} as const

/**
 * The way back when a majority is gone for good (docs/decisions/0025-forget-lost.md). A person names the dead; whoever of the layout is not named has to
 * answer, and nobody who is named may. Then a layout is declared in which the survivors alone decide, each with all that any of them has, and an era begins
 * without the lost. Cut off anywhere, it is repeated.
 * @throws InvalidInput, Refused (a majority answers, or one that is named), Unavailable (one that is not named does not; or repeat it)
 */
export async function forgetLost (parts: ForgetParts, { lost, isDryRun }: { readonly lost: readonly PeerId[], readonly isDryRun: boolean }, wait: { signal?: AbortSignal } = {}): Promise<LossReport> {
  const { state, self } = parts
  const signer = signerOf(parts)
  const { layout } = state
  if (layout.state === 'open' || layout.state === 'closing') throw new Refused('nothing is held yet: there is nothing to bring back. Make the cluster anew')
  const before = new Set(lostOf(layout))
  const named = new Set(lost)
  demandNames(layout, named, { self, away: membersOf(layout).filter(({ peerId }) => peerId !== self && !parts.reachable().has(peerId)).map(({ peerId }) => peerId), wasMember: (peer) => state.members.has(peer) })
  const left = membersOf(layout).filter(({ peerId }) => !named.has(peerId) && !before.has(peerId))
  const counted = new Set(membersOf(layout).map(({ peerId }) => peerId))
  // cut off around the era, and the layout has settled without them since: no layout tells of them any more, and they are members yet, or are put out
  const isBegun = [...named].every((peer) => before.has(peer) || !counted.has(peer))
  await demandSilence(parts, { layout, named, left }, wait)
  const { remembers, isAnyLost } = await memoryOf(parts, left.filter(({ storeId }) => storeId !== undefined).map(({ peerId }) => peerId), wait)
  const report = await reportOf(parts, { layout, lost: [...named], left, remembers })
  if (!isBegun && report.rows.stale + report.rows.gone === 0 && isMajority(parts.voters.electorate(clearPartition), (peer) => remembers(peer, clearPartition))) {
    throw new Refused('a majority of everything answers, so nothing needs to be given up: "dfs node remove PEER" puts out who is dead, one after the other')
  }
  if (isDryRun) return report
  const isOver = isBegun && ![...named].some((peer) => state.belongs(peer))
  if (!isOver) parts.loud({ lost: report.lost, survivors: report.survivors, rows: report.rows, blocks: report.blocks }, 'a majority is given up as lost: what its nodes alone had is gone')
  // what a survivor has lost since it was declared comes back under none but another version
  if (!isBegun || (layout.recovery !== undefined && layout.next !== undefined && isAnyLost)) {
    const members = left.map((member) => ({ ...member, storeId: member.storeId === undefined ? undefined : parts.storeOf(member.peerId) ?? member.storeId }))
    await state.adoptLayout(encodeLayout(declaredBy(signer, state.clusterId, recovering(layout, members))))
  }
  await adoptedByAll(parts, left, wait)
  const era = await changeEra(parts, ({ rows, admins }) => {
    const leaving = rows.filter((row) => named.has(describeMember(row).peerId))
    if (leaving.length === 0) return undefined
    const isOfLost = (key: Uint8Array): boolean => leaving.some((row) => hexOf(describeMember(row).peerKey) === hexOf(key))
    return {
      rows: rows.filter((row) => !leaving.includes(row)), admins: admins.filter(({ subject }) => !isOfLost(subject)),
      isNewEpoch: leaving.some((row) => describeMember(row).role === roles.member), keepsInvites: false,
    }
  }, wait)
  return { ...report, isDone: true, era: era.number, epoch: parts.epochs.newest, layoutVersion: String(state.layout.version) }
}

/** Everybody of the layout, of what is to follow too, as it is to be. */
function membersOf (layout: Layout): readonly LayoutMember[] {
  return [...new Map([...layout.members, ...layout.next?.members ?? []].map((member) => [member.peerId, member])).values()]
}

function demandNames (layout: Layout, named: ReadonlySet<PeerId>, { self, away, wasMember }: { self: PeerId, away: readonly PeerId[], wasMember: (peer: PeerId) => boolean }): void {
  const todo = away.length === 0 ? 'everybody answers' : `these do not answer now: ${away.join(', ')}`
  if (named.size === 0) throw new InvalidInput('lost', `name the nodes that are gone for good; ${todo}`)
  if (named.has(self)) throw new InvalidInput('lost', 'this very node is named, and it answers')
  const known = new Set([...lostOf(layout), ...membersOf(layout).map(({ peerId }) => peerId)])
  // put out already, they are those of a repetition: it was cut off after the era
  for (const peer of named) if (!known.has(peer) && !wasMember(peer)) throw new InvalidInput('lost', `${peer} is no member of this cluster, and never was; ${todo}`)
}

/** Who is named answers nobody who is left; who is not named answers. */
async function demandSilence ({ self, reachable, answers, ask, clock }: ForgetParts, { layout, named, left }: { layout: Layout, named: ReadonlySet<PeerId>, left: readonly LayoutMember[] }, wait: { signal?: AbortSignal }): Promise<void> {
  const answering = reachable()
  const silent = left.map(({ peerId }) => peerId).filter((peer) => peer !== self && !answering.has(peer))
  if (silent.length > 0) throw new Unavailable(`${silent.join(', ')} ${silent.length === 1 ? 'does' : 'do'} not answer and ${silent.length === 1 ? 'is' : 'are'} not named: start ${silent.length === 1 ? 'it, or name it' : 'them, or name them'} too, if lost for good`)
  await Promise.all([...named].map(async (peer) => {
    using limit = deadline(clock, forgetLimits.dialMs, { signal: wait.signal, what: 'a connection to a lost node' })
    if (answering.has(peer) || await answers(peer, { signal: limit.signal })) throw new Refused(`${peer} answers: it is not lost. Nothing has changed`)
  }))
  const counted = new Set(membersOf(layout).map(({ peerId }) => peerId))
  for (const peer of left.filter(({ peerId, storeId }) => peerId !== self && storeId !== undefined).map(({ peerId }) => peerId)) {
    const answer = await ask(peer, { kind: 'progress' }, wait)
    if (answer.kind !== 'progress') throw new Unavailable(`${peer} goes by another layout yet: try again in some seconds`)
    const missed = new Set(answer.away.map(({ peer: key }) => hexOf(key)))
    const reached = [...named].find((one) => counted.has(one) && !lostOf(layout).includes(one) && !missed.has(hexOf(keyOf(one))))
    if (reached !== undefined) throw new Refused(`${reached} answers ${peer}: it is not lost. Nothing has changed`)
  }
}

async function reportOf (parts: ForgetParts, { layout, lost, left, remembers }: { layout: Layout, lost: readonly PeerId[], left: readonly LayoutMember[], remembers: Remembers }): Promise<LossReport> {
  const alive = new Set(left.map(({ peerId }) => peerId))
  const rows = { whole: 0, stale: 0, gone: 0 }
  const blocks = { whole: 0, fewer: 0, gone: 0 }
  const isStale: boolean[] = []
  for (let partition = 0; partition < partitionCount; partition++) {
    const kind = kindOf(parts.voters.electorate(partition), (peer) => remembers(peer, partition))
    rows[kind]++
    isStale.push(kind !== 'whole')
    const holders = blockHoldersOf(layout, partition).slice(0, copiesCounted)
    const survivors = holders.filter((peer) => alive.has(peer)).length
    blocks[survivors === holders.length ? 'whole' : survivors > 0 ? 'fewer' : 'gone']++
  }
  const buckets = await knownBuckets(parts.index)
  return { lost, survivors: [...alive], rows, blocks, forms: formsOf(layout, buckets, alive), objects: await knownObjects(parts.index, { buckets, isStale }), isDone: false }
}

function formsOf (layout: Layout, buckets: readonly BucketRow[], alive: ReadonlySet<PeerId>): LossReport['forms'] {
  const forms = new Map(buckets.map((bucket) => [redundancyText(bucket), redundancyOf(bucket).large]))
  const partitions = Array.from({ length: partitionCount }, (_, partition) => blockHoldersOf(layout, partition))
  return [...forms].map(([redundancy, { k, m }]) => ({ redundancy, readable: partitions.filter((holders) => holders.slice(0, k + m).filter((peer) => alive.has(peer)).length >= k).length }))
}

/** Those of rf:3. */
const copiesCounted = 3

function kindOf (electorate: Electorate, remembers: (peer: PeerId) => boolean): 'whole' | 'stale' | 'gone' {
  if (isMajority(electorate, remembers)) return 'whole'
  return electorate.groups.flat().some(remembers) ? 'stale' : 'gone'
}

/** As the listing of this node has them, without asking anybody. */
async function knownBuckets (index: ListingIndex): Promise<readonly BucketRow[]> {
  const buckets: BucketRow[] = []
  for await (const { summary } of entriesOf(index, tables.buckets, clusterScope)) buckets.push(decodeBucketRow(summary))
  return buckets
}

async function knownObjects (index: ListingIndex, { buckets, isStale }: { buckets: readonly BucketRow[], isStale: readonly boolean[] }): Promise<LossReport['objects']> {
  const names = new Map(buckets.map(({ id, name }) => [id, name]))
  let [known, possiblyStale] = [0, 0]
  const examples: string[] = []
  for (const scope of await index.scopes(tables.objects)) {
    for await (const { name, rowKey } of entriesOf(index, tables.objects, scope)) {
      known++
      if (isStale[partitionOf(rowKey)] !== true) continue
      possiblyStale++
      if (examples.length < forgetLimits.maxExamples) examples.push(`${names.get(hexOf(scope)) ?? hexOf(scope)}/${textOf(name)}`)
    }
  }
  return { known, possiblyStale, examples }
}

async function * entriesOf (index: ListingIndex, table: Parameters<ListingIndex['scopes']>[0], scope: Uint8Array): AsyncIterable<{ readonly name: Uint8Array, readonly rowKey: Uint8Array, readonly summary: Uint8Array }> {
  for (let after: Uint8Array | undefined, isLast = false; !isLast;) {
    const page = await index.page({ table, scope, prefix: new Uint8Array(0), after, limit: listingIndexLimits.maxPageEntries })
    for (const { name, rowKey, summary } of page.entries) if (summary !== undefined) yield { name, rowKey, summary }
    after = page.entries.at(-1)?.name
    isLast = !page.truncated
  }
}

/** Each that is left goes by the declared layout, on its disk: from then on none answers under an older one. @throws Unavailable */
async function adoptedByAll ({ self, state, ask, spread, clock }: ForgetParts, left: readonly LayoutMember[], wait: { signal?: AbortSignal }): Promise<void> {
  using limit = deadline(clock, forgetLimits.adoptMs, { signal: wait.signal, what: 'the new layout on every survivor' })
  const voters = new Set(allVotersOf(state.layout.next ?? state.layout))
  let missing = left.map(({ peerId }) => peerId).filter((peer) => peer !== self && voters.has(peer))
  await spread()
  while (missing.length > 0) {
    const answers = await Promise.all(missing.map(async (peer) => ask(peer, { kind: 'progress' }, { signal: limit.signal }).catch(() => undefined))) // who fails is asked again, until the limit
    wait.signal?.throwIfAborted()
    missing = missing.filter((_, i) => answers[i]?.kind !== 'progress')
    if (limit.signal.aborted) throw new Unavailable(`${missing.join(', ')} could not be told of the new layout: repeat the command`)
    if (missing.length > 0) await clock.sleep(200, { signal: limit.signal }).catch(() => {}) // the limit is told above
  }
}
