import { empty, equals, hexOf, partitionCount } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Unavailable } from '../../base/errors.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { allVotersOf, type Assignment, type AssignmentAlgorithm, assigned, changed, changing, describeMember, encodeLayout, encodeMemberRow, fittingMembers, type Layout, type LayoutMember, layoutMemberOf, type MemberRow, newestAlgorithm, parseLayout, parseMemberRow, replicasOf, roles } from '../../cluster/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { isMajority, majorityOf, mayMiss } from '../../tables/electorate.ts'
import { type Registers, tables } from '../../tables/index.ts'
import type { VoterProgress } from '../../tables/messages.ts'
import type { AskReplica } from '../membership/clear-rows.ts'
import { clusterAddress, layoutAddress } from '../membership/membership.ts'
import type { ClusterState } from '../state.ts'

export interface LayoutKeeperParts {
  readonly self: PeerId
  readonly state: Pick<ClusterState, 'layout' | 'belongs' | 'isMember' | 'adoptLayout'>
  readonly registers: Registers
  readonly ask: AskReplica
  readonly clock: Clock
  readonly memberRows: (wait: { signal?: AbortSignal }) => Promise<readonly MemberRow[]>
  /** Nodes that answer now, this one too. */
  readonly reachable: () => ReadonlySet<PeerId>
  /** The row store that a node has shown, in its last greeting. */
  readonly storeOf: (peer: PeerId) => Uint8Array | undefined
  /** A member of the layout that is away for longer is left out of the next. */
  readonly evictAfterMs: number
  /** The newest algorithm of assignment that a node has said to know; 1 for one that has said nothing. Default: everybody's is ours. */
  readonly algorithmOf?: (peer: PeerId) => number
  readonly onChange: (layout: Layout, why: string) => void
}

export const layoutKeeperLimits = {
  everyMs: 3_000,
  /** While it changes, or is about to. */
  everyMsWhileChanging: 500,
  /** Members rows that have not changed here. */
  rereadMs: 15_000,
  /** Who has joined, or come back, is waited for as long: others may follow. */
  settlingMs: 1_000,
  /** Who is not in the layout and has gone again has to answer for `settlingMs` before it is taken in, and each time twice as long, up to this; if it stays, or stays away, for as long, that is forgotten. */
  longestComingMs: 3_600_000,
  /** Between two changes for nothing but memory that was lost; for one voter twice as long after each that brought nothing back, up to the longest. */
  restoringMs: 30_000,
  longestRestoringMs: 3_600_000,
  /** Of what a voter had lost; where less comes back, nothing has. */
  leastRestoredShare: 1 / 16,
  /** It had all back, and says within the longest such time that it has lost some again: so much longer it waits than before. */
  againFactor: 1.25,
  /** Who comes first and for so long has not reached a majority, answered, or managed to look at the layout is passed over; and is asked again after as long. */
  cutOffMs: 15_000,
} as const

/**
 * Keeps the layout what the members rows say it should be. Every member does, but of those that answer only the first that reaches a majority moves, so that they do not outbid
 * each other; were two to move at once, the register has one of them win. What is to be is read off the rows, never remembered: a keeper that dies half way
 * leaves nothing but a layout that changes, which the next one finishes.
 */
export class LayoutKeeper {
  readonly #parts: LayoutKeeperParts
  #lookedMs = -Infinity
  #wanted: { readonly name: string, readonly sinceMs: number } = { name: '', sinceMs: 0 }
  /** When the last change for memory that was lost was proposed; of each voter for whose it was, how much that had lost then, and how long it waits for the next. */
  #restoringMs = -Infinity
  readonly #restoring = new Map<PeerId, { readonly atMs: number, readonly lost: number, readonly restMs: number, readonly hasAllBack: boolean }>()
  /** Of those that are not in the layout and have answered: whether they do, since when, and for how long they have to. */
  readonly #comers = new Map<PeerId, { readonly isUp: boolean, readonly sinceMs: number, readonly waitMs: number }>()
  /** When the row of a node was last given another row store, and how long that node waits for the next. */
  readonly #stores = new Map<PeerId, { readonly atMs: number, readonly restMs: number }>()
  /** When the first look began since the last that came to its end. */
  #vainSinceMs: number | undefined
  #changing: { readonly version: bigint, readonly sinceMs: number } | undefined
  #rows: { readonly rows: readonly MemberRow[], readonly digest: string, readonly readMs: number } | undefined
  #trouble: string | undefined
  /** Of those who come first, whether they could do nothing when they were last asked, and since when they have not answered. */
  readonly #cutOff = new Map<PeerId, { readonly is: boolean, readonly askedMs: number, readonly silentSinceMs: number | undefined }>()
  /** Why nobody is left out who is away for long enough, as it was when it was last looked at. */
  #kept: string | undefined

  constructor (parts: LayoutKeeperParts) { this.#parts = parts }

  /** What stands in the way of the change that is due, if something does. */
  get trouble (): string | undefined { return this.#trouble ?? this.#kept }

  /** For how long every look has failed here, or not come to its end, as on a disk that hangs or is full. Those that come behind are told, and wait for this one no longer. */
  get vainMs (): number { return this.#vainSinceMs === undefined ? 0 : this.#parts.clock.monotonicMs() - this.#vainSinceMs }

  /**
   * The layout that would follow if the rows of members were these: what this or another keeper would propose, as far as is known now. By the same rules, so that what is said beforehand is
   * what happens. @throws Refused, for rows that no layout can hold or that `change` refuses; Unavailable
   */
  async foreseen (change: (rows: readonly MemberRow[]) => readonly MemberRow[], { arriving = new Set(), signal }: { arriving?: ReadonlySet<PeerId>, signal?: AbortSignal } = {}): Promise<{ readonly layout: Layout, readonly rows: readonly MemberRow[], readonly members: readonly LayoutMember[], readonly next: Assignment }> {
    const { state, memberRows, reachable } = this.#parts
    const { layout } = state
    const [standing, voters] = await Promise.all([memberRows({ signal }), this.#progressOf(layout, { signal })])
    const rows = change(standing.filter((row) => state.belongs(describeMember(row).peerId)))
    const members = wantedMembers({ layout, rows, reachable: new Set([...reachable(), ...arriving]), evicted: this.#evicted(layout, voters).evicted })
    const present = layout.next ?? layout
    return { layout, rows, members, next: isSame(members, present.members) ? present : assigned(layout, members, this.#algorithmFor(layout, members.filter(({ peerId }) => !arriving.has(peerId)))) }
  }

  /** Of every voter that answers. */
  async progress (wait: { signal?: AbortSignal } = {}): Promise<ReadonlyMap<PeerId, VoterProgress>> { return this.#progressOf(this.#parts.state.layout, wait) }

  async step (wait: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { state, clock } = this.#parts
    const { layout } = state
    if (layout.state === 'open' || layout.state === 'closing' || !await this.#isFirst(layout, wait)) {
      this.#trouble = this.#kept = this.#vainSinceMs = undefined
      return 'idle'
    }
    const isMoving = layout.state === 'changing' || this.#wanted.name !== ''
    if (clock.monotonicMs() - this.#lookedMs < (isMoving ? layoutKeeperLimits.everyMsWhileChanging : layoutKeeperLimits.everyMs)) return 'idle'
    this.#lookedMs = clock.monotonicMs()
    this.#vainSinceMs ??= clock.monotonicMs()
    await this.#look(layout, wait)
    this.#vainSinceMs = undefined
    return 'busy'
  }

  async #isFirst (layout: Layout, wait: { signal?: AbortSignal }): Promise<boolean> {
    const { self, state, reachable } = this.#parts
    const answering = reachable()
    for (const peer of layout.members.map(({ peerId }) => peerId).filter((one) => answering.has(one) && state.isMember(one)).toSorted()) {
      if (peer === self) return true
      if (!await this.#isCutOff(peer, layout, wait)) return false
    }
    return false
  }

  /** Who is connected to this node and can do nothing, for it reaches too few others or its disk hangs: all that come behind would wait for it. */
  async #isCutOff (peer: PeerId, layout: Layout, wait: { signal?: AbortSignal }): Promise<boolean> {
    const { ask, clock } = this.#parts
    const { cutOffMs } = layoutKeeperLimits
    const known = this.#cutOff.get(peer)
    if (known !== undefined && clock.monotonicMs() - known.askedMs < cutOffMs) return known.is
    const askedMs = clock.monotonicMs()
    const answer = await ask(peer, { kind: 'progress' }, wait).catch(() => { wait.signal?.throwIfAborted() }) // that it does not answer once is not held against it
    const silentSinceMs = answer === undefined ? known?.silentSinceMs ?? askedMs : undefined
    const away = answer?.kind === 'progress' ? new Set(answer.away.filter(({ seconds }) => seconds * 1000 >= cutOffMs).map(({ peer: one }) => peerIdOf(one))) : new Set<PeerId>()
    const isSilent = silentSinceMs !== undefined && askedMs - silentSinceMs >= cutOffMs
    const is = isSilent || away.has(peer) || !isMajority({ version: layout.version, groups: [layout, ...layout.next === undefined ? [] : [layout.next]].map(allVotersOf) }, (voter) => !away.has(voter))
    this.#cutOff.set(peer, { is, askedMs: clock.monotonicMs(), silentSinceMs })
    return is
  }

  async #look (layout: Layout, wait: { signal?: AbortSignal }): Promise<void> {
    const { reachable, clock } = this.#parts
    // nothing else changes before what survived a loss is put together
    if (layout.recovery !== undefined && layout.next !== undefined) { await this.#finishRecovery(layout, layout.next, wait); return }
    const voters = await this.#progressOf(layout, wait)
    const rows = await this.#rowsUnlessLost(voters, wait)
    const { evicted, kept } = this.#evicted(layout, voters)
    this.#kept = kept
    const wanted = rows === undefined ? (layout.next ?? layout).members : wantedMembers({ layout, rows, reachable: this.#staying(layout, reachable()), evicted })
    if (!isSame(wanted, (layout.next ?? layout).members)) {
      const name = wanted.map(({ peerId, storeId, zone, capacityBytes }) => `${peerId} ${hexOf(storeId ?? empty)} ${zone} ${capacityBytes}`).join()
      if (this.#wanted.name !== name) this.#wanted = { name, sinceMs: clock.monotonicMs() }
      if (clock.monotonicMs() - this.#wanted.sinceMs < layoutKeeperLimits.settlingMs) return
      // rows that were read before are looked at again: somebody may have joined whose row has not come here
      if (this.#rows !== undefined && this.#rows.readMs <= this.#wanted.sinceMs) this.#rows = undefined
      else await this.#propose(layout, (current) => changing(current, wanted, this.#algorithmFor(current, wanted)), 'its members have changed', wait)
      return
    }
    this.#wanted = { name: '', sinceMs: 0 }
    if (layout.next !== undefined) {
      const late = this.#late(layout, layout.next, voters, evicted)
      this.#trouble = late.length === 0 ? undefined : `the layout changes, and waits for ${late.join(', ')} to take over`
      // of what was lost since the change began nothing comes back under its version
      const forgetful = new Map([...voters].filter(([peer]) => late.includes(peer)))
      if (late.length === 0) await this.#propose(layout, changed, 'all has been taken over', wait)
      else if (this.#isRestoringDue(forgetful)) await this.#propose(layout, (current) => changing(current, wanted), 'memory of rows was lost while it was taken over', wait)
    } else if (this.#isRestoringDue(voters)) {
      await this.#propose(layout, (current) => changing(current, wanted), 'memory of rows that was lost is to be taken over', wait)
    }
  }

  /** Who answers, without those whose coming and going would have the layout change for them time after time, and for nobody else. One that is being taken in has come: a moment's silence has nothing begin anew. */
  #staying ({ members, next }: Layout, answering: ReadonlySet<PeerId>): ReadonlySet<PeerId> {
    const { settlingMs, longestComingMs } = layoutKeeperLimits
    const nowMs = this.#parts.clock.monotonicMs()
    for (const { peerId } of members) this.#comers.delete(peerId)
    const outside = new Set(answering).difference(new Set(members.map(({ peerId }) => peerId)))
    for (const peer of new Set([...outside, ...this.#comers.keys()])) {
      const known = this.#comers.get(peer)
      const isUp = outside.has(peer)
      if (known?.isUp === isUp) continue
      const before = known === undefined || nowMs - known.sinceMs >= longestComingMs ? 0 : known.waitMs
      this.#comers.set(peer, { isUp, sinceMs: nowMs, waitMs: isUp ? before : Math.min(longestComingMs, Math.max(settlingMs, 2 * before)) })
    }
    const coming = new Set(next?.members.map(({ peerId }) => peerId))
    return new Set([...answering].filter((peer) => { const known = this.#comers.get(peer); return known === undefined || coming.has(peer) || nowMs - known.sinceMs >= known.waitMs }))
  }

  async #finishRecovery (layout: Layout, next: Assignment, wait: { signal?: AbortSignal }): Promise<void> {
    const voters = await this.#progressOf(layout, wait)
    const late = allVotersOf(next).filter((peer) => voters.get(peer)?.remaining !== 0)
    this.#trouble = late.length === 0 ? undefined : `what survived the loss of a majority is put together, and waits for ${late.join(', ')}; who of them is lost too has to be given up as well; has one lost rows since, repeat "dfs cluster forget --lost"`
    if (late.length === 0) await this.#propose(layout, changed, 'what survived the loss of a majority has been put together', wait)
  }

  /**
   * Who has forgotten something is given it back by a change; one that gives nothing back is not made again and again. Each voter by itself: one that says for ever that it has lost something, or now and
   * then, would else have those wait that have.
   */
  #isRestoringDue (voters: ReadonlyMap<PeerId, Pick<VoterProgress, 'lost' | 'remaining'>>): boolean {
    const { restoringMs, longestRestoringMs, leastRestoredShare, againFactor } = layoutKeeperLimits
    const nowMs = this.#parts.clock.monotonicMs()
    for (const [peer, { lost, remaining }] of voters) {
      const before = this.#restoring.get(peer)
      if (lost + remaining === 0 && before !== undefined) this.#restoring.set(peer, { ...before, hasAllBack: true })
    }
    const due = [...voters].filter(([peer, { lost }]) => {
      const before = this.#restoring.get(peer)
      return lost > 0 && (before === undefined || nowMs - before.atMs >= before.restMs)
    })
    if (due.length === 0 || nowMs - this.#restoringMs < restoringMs) return false
    this.#restoringMs = nowMs
    for (const [peer, { lost }] of due) {
      const known = this.#restoring.get(peer)
      const before = known !== undefined && nowMs - known.atMs < known.restMs + longestRestoringMs ? known : undefined
      const factor = before?.hasAllBack === true ? againFactor : before !== undefined && lost > before.lost * (1 - leastRestoredShare) ? 2 : 1
      this.#restoring.set(peer, { atMs: nowMs, lost, restMs: Math.min(factor * (before?.restMs ?? restoringMs), longestRestoringMs), hasAllBack: false })
    }
    return true
  }

  /** The newest that all know who are to read it; who is away may be of any age. */
  #algorithmFor (layout: Layout, wanted: readonly LayoutMember[]): AssignmentAlgorithm {
    const { self, algorithmOf, reachable } = this.#parts
    const readers = new Set([...layout.members, ...layout.next?.members ?? [], ...wanted].map(({ peerId }) => peerId))
    const isKnown = (peer: PeerId): boolean => peer === self || algorithmOf === undefined || (reachable().has(peer) && algorithmOf(peer) >= newestAlgorithm)
    return [...readers].every(isKnown) ? newestAlgorithm : layout.algorithm
  }

  /** Undefined: so many voters have lost rows that nobody can tell. They have them back by a change to the same members, and by none else. */
  async #rowsUnlessLost (voters: ReadonlyMap<PeerId, VoterProgress>, wait: { signal?: AbortSignal }): Promise<readonly MemberRow[] | undefined> {
    try {
      const rows = (await this.#memberRows(wait)).filter((row) => this.#parts.state.belongs(describeMember(row).peerId))
      return await Promise.all(rows.map(async (row) => this.#withShownStore(row, wait)))
    } catch (error) {
      if (error instanceof Unavailable && [...voters.values()].some(({ lost, remaining }) => lost + remaining > 0)) return undefined
      throw error
    }
  }

  /** Read again when a row of the cluster has changed here, and now and then, for it may have changed elsewhere alone. */
  async #memberRows (wait: { signal?: AbortSignal }): Promise<readonly MemberRow[]> {
    const { self, ask, clock, memberRows } = this.#parts
    const answer = await ask(self, { kind: 'digest', partitions: [clearPartition] }, wait)
    const digest = answer.kind === 'digests' ? hexOf(answer.digests[0]?.digest ?? empty) : ''
    if (this.#rows === undefined || digest === '' || this.#rows.digest !== digest || clock.monotonicMs() - this.#rows.readMs > layoutKeeperLimits.rereadMs) {
      this.#rows = { rows: await memberRows(wait), digest, readMs: clock.monotonicMs() }
    }
    return this.#rows.rows
  }

  /** Who takes something over, however long it takes; and who has something back that it lost, for a while: what is left of that comes with the next change. */
  #late (layout: Layout, next: Assignment, voters: ReadonlyMap<PeerId, VoterProgress>, evicted: ReadonlySet<PeerId>): readonly PeerId[] {
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#changing?.version !== layout.version) this.#changing = { version: layout.version, sinceMs: nowMs }
    // who goes may be the only one to know what another has lost, before or meanwhile, and as long as it answers that is got back
    const isLeaving = allVotersOf(layout).some((peer) => voters.has(peer) && !allVotersOf(next).includes(peer))
    const isWaitedFor = ({ remaining, lost }: VoterProgress): boolean => isLeaving ? remaining + lost > 0 : remaining > 0
    const restoring = isLeaving || nowMs - this.#changing.sinceMs < layoutKeeperLimits.restoringMs ? [...voters].filter(([peer, told]) => isWaitedFor(told) && (told.remaining > 0 || allVotersOf(next).includes(peer))).map(([peer]) => peer) : []
    const late = takingOver(layout, next, (peer) => voters.get(peer)?.remaining === 0).filter((peer) => voters.get(peer)?.remaining !== 0)
    // who is left out for being away may be the only one to know what another has lost as it heard of this, and forgets it on coming back
    const gone = leavingOf(layout, evicted)
    const forgetful = gone.size === 0 || isKnownWithout(gone, layout, voters, { countsRemaining: true }) ? [] : [...voters].filter(([, { remaining }]) => remaining > 0).map(([peer]) => peer)
    return [...new Set([...late, ...restoring, ...forgetful])]
  }

  async #propose (layout: Layout, next: (layout: Layout) => Layout, why: string, wait: { signal?: AbortSignal }): Promise<void> {
    const { registers, state, onChange } = this.#parts
    const chosen = await registers.change<Layout>(layoutAddress, (value) => {
      const current = value === undefined ? layout : parseLayout(value)
      // another was quicker, or this one missed what was chosen; one that was declared after a loss never stood in the row
      const isBefore = layout.recovery !== undefined && current.version < layout.version
      if (current.version !== layout.version && !isBefore) return { kind: 'keep', result: current }
      const result = next(layout)
      return { kind: 'write', value: encodeLayout(result), result }
    }, wait)
    await state.adoptLayout(encodeLayout(chosen), { isChosen: true })
    this.#wanted = { name: '', sinceMs: 0 }
    this.#trouble = undefined
    onChange(chosen, why)
  }

  /** Of every voter that answers, under the layout as it is: whoever does has adopted it. */
  async #progressOf (layout: Layout, wait: { signal?: AbortSignal }): Promise<ReadonlyMap<PeerId, VoterProgress>> {
    const { ask, reachable } = this.#parts
    const answering = reachable()
    const voters = [...new Set([...allVotersOf(layout), ...layout.next === undefined ? [] : allVotersOf(layout.next)])].filter((peer) => answering.has(peer))
    const answers = await Promise.allSettled(voters.map(async (peer) => ask(peer, { kind: 'progress' }, wait)))
    wait.signal?.throwIfAborted()
    return new Map(answers.flatMap((answer, i) => answer.status === 'fulfilled' && answer.value.kind === 'progress' ? [[voters[i] as PeerId, answer.value]] : []))
  }

  /** A store that was lost, or put back from a copy, is another one: what its node shows is what stands in its row. One that shows another time after time has nobody take it over as often. */
  async #withShownStore (row: MemberRow, wait: { signal?: AbortSignal }): Promise<MemberRow> {
    const { registers, storeOf, reachable } = this.#parts
    const { peerId, peerKey, role } = describeMember(row)
    const shown = storeOf(peerId)
    if (role === roles.storage || shown === undefined || row.storeId === undefined || equals(shown, row.storeId) || !reachable().has(peerId)) return row
    const { restoringMs, longestRestoringMs, againFactor } = layoutKeeperLimits
    const nowMs = this.#parts.clock.monotonicMs()
    const known = this.#stores.get(peerId)
    if (known !== undefined && nowMs - known.atMs < known.restMs) return row
    const written = await registers.change<MemberRow>(clusterAddress(tables.members, peerKey), (value) => {
      const current = value === undefined ? row : parseMemberRow(value)
      const result = { ...current, storeId: shown }
      return { kind: 'write', value: encodeMemberRow(result), result }
    }, wait)
    const isAgain = known !== undefined && nowMs - known.atMs < known.restMs + longestRestoringMs
    this.#stores.set(peerId, { atMs: nowMs, restMs: isAgain ? Math.min(againFactor * known.restMs, longestRestoringMs) : restoringMs })
    return written
  }

  /** Away for the grace by the clocks of a majority of voters, where every partition has a majority without them that remembers it. */
  #evicted (layout: Layout, voters: ReadonlyMap<PeerId, VoterProgress>): { readonly evicted: ReadonlySet<PeerId>, readonly kept: string | undefined } {
    const missing = new Map<PeerId, Set<PeerId>>()
    for (const [voter, { away }] of voters) {
      for (const { peer, seconds } of away) {
        if (seconds * 1000 < this.#parts.evictAfterMs) continue
        const id = peerIdOf(peer)
        missing.set(id, (missing.get(id) ?? new Set()).add(voter))
      }
    }
    const electorate = { version: layout.version, groups: [allVotersOf(layout)] }
    const evicted = new Set([...missing].filter(([peer, by]) => !this.#parts.reachable().has(peer) && isMajority(electorate, (voter) => by.has(voter))).map(([peer]) => peer))
    const leaving = leavingOf(layout, evicted)
    // where they are being left out already, what is still to be taken over is taken over for that: to have them back in would begin it anew, for ever
    if (evicted.size === 0 || isKnownWithout(evicted, layout, voters, { countsRemaining: leaving.size < evicted.size })) return { evicted, kept: undefined }
    // who has gone away since is left out when that is done
    if (leaving.size > 0 && leaving.size < evicted.size && isKnownWithout(leaving, layout, voters, { countsRemaining: false })) return { evicted: leaving, kept: undefined }
    const forgetful = [...voters].filter(([, { lost, remaining }]) => lost + remaining > 0).map(([peer]) => peer)
    const lacking = forgetful.length === 0 ? '' : `: ${forgetful.join(', ')} ha${forgetful.length === 1 ? 's' : 've'} lost some, or not taken all over`
    return { evicted: new Set(), kept: `${[...evicted].join(', ')} stay in the layout though away: without them some rows would have no majority of those who know them${lacking}` }
  }
}

/** Whom of these the layout is leaving out. */
const leavingOf = ({ next }: Layout, peers: ReadonlySet<PeerId>): ReadonlySet<PeerId> => new Set([...peers].filter((peer) => next?.members.some(({ peerId }) => peerId === peer) === false))

/** Whether every partition has a majority without these, of those who remember all of it; who has still to take something over may have it to get back. */
function isKnownWithout (gone: ReadonlySet<PeerId>, layout: Layout, voters: ReadonlyMap<PeerId, VoterProgress>, { countsRemaining }: { countsRemaining: boolean }): boolean {
  const remembersAll = (peer: PeerId): boolean => { const told = voters.get(peer); return told !== undefined && told.lost + (countsRemaining ? told.remaining : 0) === 0 }
  return Array.from({ length: partitionCount }, (_, partition) => replicasOf(layout, partition)).every((group) => isMajority({ version: layout.version, groups: [group] }, (peer) => remembersAll(peer) && !gone.has(peer)))
}

export interface Standing {
  readonly layout: Layout
  /** Of those who belong. */
  readonly rows: readonly MemberRow[]
  readonly reachable: ReadonlySet<PeerId>
  readonly evicted: ReadonlySet<PeerId>
}

/** Whom the layout should have. Pure. */
export function wantedMembers ({ layout, rows, reachable, evicted }: Standing): readonly LayoutMember[] {
  const present = new Map(layout.members.map((member) => [member.peerId, member]))
  const holding = rows.filter((row) => row.isDraining !== true).filter((row) => {
    const { peerId } = describeMember(row)
    return !evicted.has(peerId) && (present.has(peerId) || reachable.has(peerId))
  })
  const wanted = holding.filter((row) => heirOf(row, holding) === undefined).map(layoutMemberOf)
    // a store that has not been shown yet cannot take over
    .map((member) => reachable.has(member.peerId) ? member : present.get(member.peerId) ?? member)
  return fittingMembers(layout, wanted).fitting
}

/**
 * Who of these is to take the place of a member, by its key or by the invite that it has joined with. Both changes are one: then the one that comes gets nearly
 * all that the other had, and nothing else moves.
 */
export function heirOf ({ heir, certificate }: MemberRow, rows: readonly MemberRow[]): MemberRow | undefined {
  if (heir === undefined) return undefined
  return rows.find((row) => !equals(row.certificate.member.subject, certificate.member.subject) && (equals(row.certificate.member.subject, heir) || (row.certificate.invite !== undefined && equals(row.certificate.invite.subject, heir))))
}

/**
 * Who takes over something that it had not, and so has to say that it has; and who may have missed something, where so many have not taken it over yet that they are a majority: as long as one
 * of each majority has, the others come by it as any replica does that was away.
 */
function takingOver (present: Assignment, next: Assignment, hasTakenOver: (peer: PeerId) => boolean): readonly PeerId[] {
  const before = new Map(present.members.map((member) => [member.peerId, member]))
  const isNewStore = ({ peerId, storeId }: LayoutMember): boolean => {
    const old = before.get(peerId)?.storeId
    return old === undefined || storeId === undefined || !equals(old, storeId)
  }
  const peers = new Set<PeerId>(next.members.filter((member) => member.storeId !== undefined && isNewStore(member)).map(({ peerId }) => peerId))
  for (let partition = 0; partition <= clearPartition; partition++) {
    const [old, after] = [present, next].map((assignment) => partition === clearPartition ? allVotersOf(assignment) : replicasOf(assignment, partition)) as [readonly PeerId[], readonly PeerId[]]
    const missing = mayMiss(old, after) ? after.filter((peer) => old.includes(peer) && !hasTakenOver(peer)) : []
    const areTooMany = missing.length >= majorityOf(after.length)
    for (const peer of after) if (!old.includes(peer) || (areTooMany && missing.includes(peer))) peers.add(peer)
  }
  return [...peers].filter((peer) => allVotersOf(next).includes(peer))
}

function isSame (wanted: readonly LayoutMember[], members: readonly LayoutMember[]): boolean {
  if (wanted.length !== members.length) return false
  const byPeer = new Map(members.map((member) => [member.peerId, member]))
  return wanted.every(({ peerId, role, zone, capacityBytes, storeId }) => {
    const member = byPeer.get(peerId)
    return member !== undefined && member.role === role && member.zone === zone && member.capacityBytes === capacityBytes && (storeId === undefined ? member.storeId === undefined : member.storeId !== undefined && equals(member.storeId, storeId))
  })
}
