import { hash } from '../../base/hash.ts'
import { empty, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { NotFound, Refused, Unavailable } from '../../base/errors.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { type BucketNeed, type ChangePlan, changePlan, describeMember, type LayoutMember, type MemberRow, nameOfRole, type Role, roles, type ToldHoldings } from '../../cluster/index.ts'
import type { Requests } from '../../network/index.ts'
import type { ChangeForecast, ChangeProgress, NodeChange, NodeProgress, ReplaceState } from '../../node.ts'
import { type Holdings, holdingsAt } from '../../protocols/holdings.ts'
import type { VoterProgress } from '../../tables/messages.ts'
import { type EraChangeParts, signerOf } from '../membership/era-change.ts'
import { heirOf, type LayoutKeeper } from './layout-keeper.ts'
import { changeMember, demandHolders, demandSettled, demandZone, hasHolders, type MemberSettings, nobodyHolds, setMember, withSettings } from '../membership/member-settings.ts'
import { demandKnown, demandRemovable, removeMember, rowsWithout } from '../membership/removal.ts'

export interface ChangesParts {
  readonly eraParts: EraChangeParts
  readonly keeper: Pick<LayoutKeeper, 'foreseen' | 'progress'>
  readonly requests: Requests
  /** Of this node. */
  readonly own: (options: { byPartition: boolean, signal?: AbortSignal }) => Promise<Holdings>
  readonly buckets: (wait: { signal?: AbortSignal }) => Promise<readonly BucketNeed[]>
  /** Told of each look. */
  readonly looked?: (progress: ChangeProgress) => Promise<void>
  readonly clock: Clock
}

/** What people do to the nodes of a cluster: said beforehand, done, and followed until it is done. */
export class Changes {
  readonly #parts: ChangesParts
  constructor (parts: ChangesParts) { this.#parts = parts }

  /** What a change would move, and why it could not be: by the function that makes the layout, and by what each node says that it has. Nothing is changed. @throws Refused, InvalidInput, NotFound, Unavailable */
  async plan (change: NodeChange, wait: { signal?: AbortSignal } = {}): Promise<ChangeForecast> {
    const { eraParts } = this.#parts
    // what would hold up the change holds up its forecast
    if (change.kind === 'remove') demandRemovable(eraParts, change.peer)
    if (change.kind === 'replace') signerOf(eraParts)
    if (change.kind === 'set') demandSettled(eraParts.state, change.settings)
    const arriving = new Set(change.kind === 'join' || (change.kind === 'replace' && change.by === undefined) ? [toCome.peerId] : [])
    const [{ layout, rows, members, next }, told, buckets] = await Promise.all([
      this.#parts.keeper.foreseen((standing) => this.#rowsAfter(standing, change), { arriving, ...wait }), this.#holdings({ byPartition: true, ...wait }), this.#buckets(wait),
    ])
    const holdings = new Map<PeerId, ToldHoldings>([...told].map(([peer, one]) => [peer, { ...one, limitBytes: limitAfter(change, peer, one) }] as const))
    for (const peer of arriving) {
      const { capacityBytes = 0 } = members.find(({ peerId }) => peerId === peer) ?? {}
      holdings.set(peer, { partitions: new Map(), heldBytes: 0, limitBytes: capacityBytes, roomBytes: Number.MAX_SAFE_INTEGER })
    }
    const plan = changePlan({ present: layout, next, holdings, buckets, mostCopies: Math.max(1, ...(buckets ?? [{ copies: 3 }]).map(({ copies }) => copies)) })
    const refusals = [...change.kind === 'remove' && !hasHolders(rows) ? [nobodyHolds] : [], ...plan.refusals]
    // a stolen node must go: a removal is never held up
    const isPossible = change.kind === 'remove' || refusals.length === 0
    return { ...forecastOf(plan, { version: layout.version, state: layout.state, arriving }), refusals, isPossible, areBucketsKnown: buckets !== undefined }
  }

  /** @throws Refused where what is held would not fit any more, unless `isForced`; InvalidInput, Unavailable */
  async set (peer: PeerId, settings: MemberSettings, { isForced = false, signal }: { isForced?: boolean, signal?: AbortSignal } = {}): Promise<void> {
    if (!isForced && settings.isDraining !== false) await this.#demandPossible({ kind: 'set', peer, settings }, { signal })
    await setMember(this.#parts.eraParts, peer, settings, { signal })
  }

  /**
   * One step of a replacement, to be repeated until it is 'removed': `by` takes what `gone` had, by one change of the layout; then `gone` is put out of the cluster. One that answers stays in until
   * nothing lies on it any more that belongs elsewhere. @throws Refused (on a node that may not remove, too), NotFound, Unavailable, UnknownOutcome: repeat it
   */
  async replace (gone: PeerId, by: PeerId, { isForced = false, signal }: { isForced?: boolean, signal?: AbortSignal } = {}): Promise<ReplaceState> {
    const { eraParts } = this.#parts
    const { state } = eraParts
    signerOf(eraParts)
    if (!state.belongs(gone)) {
      if (!state.members.has(gone)) throw new NotFound(`${gone} is no member of this cluster, and never was`)
      return { state: 'removed' }
    }
    const rows = await this.#rows({ signal })
    const [old, fresh] = [rowOf(rows, gone), rowOf(rows, by)]
    if (old.heir === undefined || heirOf(old, rows) !== fresh || fresh.isDraining === true) {
      if (!isForced) await this.#demandPossible({ kind: 'replace', peer: gone, by }, { signal })
      // who is to go first: while the other drains this says nothing, and with the second row both are one change
      await changeMember(eraParts, gone, (row) => ({ ...row, heir: keyOf(by) }), { signal })
      await changeMember(eraParts, by, ({ isDraining: _, ...row }) => row, { signal })
    }
    return this.#putOut(gone, { signal })
  }

  /** An invite whose user takes the place of `gone` is to be made: its key, hexadecimal, stands in the row of `gone` from now on. @throws Refused, Unavailable */
  async bequeath (gone: PeerId, invite: Uint8Array, wait: { signal?: AbortSignal } = {}): Promise<void> {
    await changeMember(this.#parts.eraParts, gone, (row) => ({ ...row, heir: invite }), wait)
  }

  /** Who has joined to take the place of `gone`. Undefined: nobody yet. */
  async heir (gone: PeerId, wait: { signal?: AbortSignal } = {}): Promise<PeerId | undefined> {
    const rows = await this.#rows(wait)
    const heir = heirOf(rowOf(rows, gone), rows)
    return heir === undefined ? undefined : describeMember(heir).peerId
  }

  /** How far the change is that is under way, or due. @throws Unavailable */
  async progress (wait: { signal?: AbortSignal } = {}): Promise<ChangeProgress> {
    const { eraParts: { state, self, reachable }, keeper } = this.#parts
    const [{ layout, members }, told, voters] = await Promise.all([keeper.foreseen((rows) => rows, wait), this.#holdings({ byPartition: false, ...wait }), keeper.progress(wait)])
    const progress = progressOf({ layout, isDue: !isSameMembers(members, (layout.next ?? layout).members), told, voters, belonging: [...state.members.keys()].filter((peer) => state.belongs(peer)), answering: new Set([self, ...reachable()]) })
    await this.#parts.looked?.(progress)
    return progress
  }

  async #putOut (gone: PeerId, wait: { signal?: AbortSignal }): Promise<ReplaceState> {
    const { eraParts } = this.#parts
    if (eraParts.reachable().has(gone) || gone === eraParts.self) {
      const { nodes } = await this.progress(wait)
      if (nodes.find(({ peerId }) => peerId === gone)?.mayBeSwitchedOff !== true) return { state: 'moving', why: `${gone} answers, and goes when nothing lies on it any more that belongs elsewhere` }
    }
    try {
      await removeMember(eraParts, gone, wait)
      return { state: 'removed' }
    } catch (error) {
      // until the layout has left it behind its place counts as a dead one
      if (!(error instanceof Refused || error instanceof Unavailable) || !eraParts.state.layout.members.some(({ peerId }) => peerId === gone)) throw error
      return { state: 'moving', why: error.message }
    }
  }

  #rowsAfter (rows: readonly MemberRow[], change: NodeChange): readonly MemberRow[] {
    const { eraParts } = this.#parts
    if (change.kind !== 'remove' || eraParts.state.belongs(change.peer)) return changedRows(rows, change)
    // removed already, it is found done
    demandKnown(eraParts, change.peer)
    return rows
  }

  async #demandPossible (change: NodeChange, wait: { signal?: AbortSignal }): Promise<void> {
    const { refusals } = await this.plan(change, wait)
    if (refusals.length > 0) throw new Refused(`${refusals.join('; ')}. --force does it all the same`)
  }

  /** Undefined: too few that can read answer for a listing. Whether what is left can hold them is then not known. */
  async #buckets (wait: { signal?: AbortSignal }): Promise<readonly BucketNeed[] | undefined> {
    try { return await this.#parts.buckets(wait) } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      return undefined
    }
  }

  async #rows (wait: { signal?: AbortSignal }): Promise<readonly MemberRow[]> {
    const { memberRows, state } = this.#parts.eraParts
    return (await memberRows(wait)).filter((row) => state.belongs(describeMember(row).peerId))
  }

  /** Who does not tell is not in it. */
  async #holdings ({ byPartition, signal }: { byPartition: boolean, signal?: AbortSignal }): Promise<ReadonlyMap<PeerId, Holdings>> {
    const { eraParts: { self, reachable }, requests, own } = this.#parts
    const told = new Map([[self, await own({ byPartition, signal })]])
    await Promise.all([...reachable()].filter((peer) => peer !== self).map(async (peer) => {
      try { told.set(peer, await holdingsAt(requests, peer, { byPartition, signal })) } catch (error) {
        // one that is away, or of an older version: it is told as silent
        if (signal?.aborted === true) throw error
      }
    }))
    return told
  }
}

/** Stands for a node that has not joined: another key has other partitions, and as many of them. */
const toCome = { key: hash(utf8('a node that is to come')), get peerId (): PeerId { return peerIdOf(this.key) } }

const rowOf = (rows: readonly MemberRow[], peer: PeerId): MemberRow => {
  const row = rows.find((one) => describeMember(one).peerId === peer)
  if (row === undefined) throw new Refused(`${peer} is no member of this cluster; "dfs status" shows the members`)
  return row
}

/** The members rows of those who belong, as a change would leave them. Pure. @throws Refused, InvalidInput */
export function changedRows (rows: readonly MemberRow[], change: NodeChange): readonly MemberRow[] {
  const after = rowsAfter(rows, change)
  // a stolen node must go, whatever it holds
  if (change.kind !== 'remove') demandHolders(after)
  return after
}

function rowsAfter (rows: readonly MemberRow[], change: NodeChange): readonly MemberRow[] {
  switch (change.kind) {
    case 'set': return withSettings(rows, change.peer, change.settings)
    case 'remove': return rowsWithout(rows, describeMember(rowOf(rows, change.peer)).peerId)
    case 'join': {
      demandZone(change.zone)
      return [...rows, imaginaryRow(change)]
    }
    case 'replace': {
      const gone = rowOf(rows, change.peer)
      const { role, zone } = describeMember(gone)
      const others = rows.filter((row) => row !== gone)
      if (change.by === undefined) return [...others, imaginaryRow({ role: nameOfRole(role), zone, capacityBytes: gone.capacityBytes })]
      const fresh = rowOf(rows, change.by)
      if (fresh === gone) throw new Refused('a node does not take its own place; name the one that comes, or none for one that is to join')
      return others.map((row) => {
        if (row !== fresh) return row
        const { isDraining: _, ...holding } = row
        return holding
      })
    }
    default: return change satisfies never
  }
}

function imaginaryRow ({ role, zone, capacityBytes }: { role: 'member' | 'storage' | 'witness', zone: string, capacityBytes: number }): MemberRow {
  const { key } = toCome
  const member = { kind: 'member', clusterId: empty, era: 1, issuer: key, subject: key, bytes: empty, role: roles[role] as Role, kx: key, serial: 0, zone } as const
  return { certificate: { admin: undefined, invite: undefined, member }, capacityBytes: role === 'witness' ? 0 : capacityBytes, addresses: [], storeId: role === 'storage' ? undefined : key.subarray(0, 16) }
}

/** Bytes that a node takes in all, once its capacity is another. */
const limitAfter = (change: NodeChange, peer: PeerId, { limitBytes }: Pick<Holdings, 'limitBytes'>): number | undefined =>
  change.kind === 'set' && change.peer === peer && change.settings.capacityBytes !== undefined ? change.settings.capacityBytes : limitBytes

function forecastOf ({ nodes, movedBytes, countedPartitions, silent, refusals }: ChangePlan, { version, state, arriving }: { version: bigint, state: ChangeForecast['layout']['state'], arriving: ReadonlySet<PeerId> }): Omit<ChangeForecast, 'areBucketsKnown' | 'isPossible'> {
  return {
    refusals, movedBytes, countedPartitions, silent, layout: { version: String(version), state },
    nodes: nodes.map(({ member: { peerId, role, zone, capacityBytes }, ...rest }) => ({ peerId: arriving.has(peerId) ? undefined : peerId, role: nameOfRole(role), zone, capacityBytes, ...rest })),
  }
}

const isSameMembers = (a: readonly LayoutMember[], b: readonly LayoutMember[]): boolean =>
  a.length === b.length && a.every(({ peerId, zone, capacityBytes }) => b.some((other) => other.peerId === peerId && other.zone === zone && other.capacityBytes === capacityBytes))

export interface ProgressFacts {
  readonly layout: { readonly version: bigint, readonly state: ChangeProgress['layout']['state'], readonly members: readonly LayoutMember[] }
  /** The layout is to have other members than it has, and than it changes to. */
  readonly isDue: boolean
  readonly told: ReadonlyMap<PeerId, Holdings>
  readonly voters: ReadonlyMap<PeerId, VoterProgress>
  readonly belonging: readonly PeerId[]
  readonly answering: ReadonlySet<PeerId>
}

/** How far a change is, of what each node tells. Pure. */
export function progressOf ({ layout, isDue, told, voters, belonging, answering }: ProgressFacts): ChangeProgress {
  const members = new Set(layout.members.map(({ peerId }) => peerId))
  const isSettled = layout.state === 'settled' && !isDue
  const takingOver = [...voters].filter(([, { remaining }]) => remaining > 0).map(([peer]) => peer)
  const rowPartitionsLeft = [...voters.values()].reduce((sum, { remaining }) => sum + remaining, 0)
  const hasLooked = (of: Holdings): boolean => isSettled && (!of.holdsBlocks || of.surveyedVersion >= layout.version)
  const holders = [...told.values()]
  // what one alone has, the others need not know of: of it nobody says that all is well
  const silent = layout.members.filter((member) => holdsBlocks(member) && !told.has(member.peerId)).map(({ peerId }) => peerId)
  // whoever is to hold blocks answers, and sees no block of which there are fewer copies than there should be
  const isWhole = isSettled && silent.length === 0 && holders.every((of) => hasLooked(of) && of.shortBlocks === 0)
  const nodes = [...new Set([...belonging, ...members])].map((peerId): NodeProgress => {
    const of = told.get(peerId)
    const isEmpty = of !== undefined && hasLooked(of) && of.misplacedBytes === 0 && of.isAtRest
    return {
      peerId, isAnswering: answering.has(peerId), isInLayout: members.has(peerId), hasLooked: of === undefined ? undefined : hasLooked(of),
      heldBytes: of?.heldBytes, misplacedBytes: of?.misplacedBytes, leftBytes: of?.leftBytes, shortBlocks: of?.shortBlocks,
      // of one that does not answer never: its may be the only copy, of which it alone knows
      mayBeSwitchedOff: isSettled && !members.has(peerId) && answering.has(peerId) && isEmpty,
    }
  })
  const waitingFor = [
    ...isDue ? ['the layout is to change'] : [],
    ...layout.state === 'changing' ? [`rows are taken over: ${rowPartitionsLeft} partitions left${rowPartitionsLeft === 0 ? '' : `, on ${takingOver.join(', ')}`}`] : [],
    ...isSettled ? [...told].flatMap(([peer, of]) => waitingForOf(peer, of, { hasLooked: hasLooked(of), isInLayout: members.has(peer) })) : [],
    ...isSettled ? [...silent, ...belonging.filter((peer) => !members.has(peer) && !told.has(peer))].map((peer) => `${peer} does not answer: what it alone has is not known`) : [],
  ]
  return {
    layout: { version: String(layout.version), state: layout.state, members: members.size }, rowPartitionsLeft,
    leftBytes: holders.reduce((sum, { misplacedBytes, leftBytes }) => sum + Math.max(misplacedBytes, leftBytes), 0),
    isDone: isSettled && silent.length === 0 && holders.every((of) => hasLooked(of) && of.isAtRest && of.misplacedBytes === 0), isWhole, nodes, waitingFor,
  }
}

const holdsBlocks = ({ role, capacityBytes }: LayoutMember): boolean => role !== roles.witness && capacityBytes > 0

function waitingForOf (peer: PeerId, { misplacedBytes, leftBytes, isAtRest, hasFailures, shortBlocks }: Holdings, { hasLooked, isInLayout }: { hasLooked: boolean, isInLayout: boolean }): readonly string[] {
  if (!hasLooked) return [`${peer} has not looked at everything yet since the layout changed`]
  return [
    // it has nothing that it could do: then it waits for others, or there is no place
    ...misplacedBytes > 0 ? [`${misplacedBytes} bytes on ${peer} belong elsewhere${isInLayout || !isAtRest ? '' : noPlace}`] : [],
    ...!isAtRest && misplacedBytes === 0 ? [`${peer} has ${leftBytes} bytes to bring`] : [],
    ...shortBlocks > 0 ? [`${peer} sees ${shortBlocks} blocks with fewer copies than they should have`] : [],
    ...hasFailures ? [`${peer} could not bring all that it should: another has no room, or does not answer`] : [],
  ]
}

const noPlace = '; if they stay they have no place, for a bucket asks for shards on more nodes than hold blocks: add a node, or "dfs bucket set NAME --redundancy" to what these can hold'
