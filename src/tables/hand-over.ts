import { equals, MalformedBytes, partitionOf } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { ballotLimits, compareBallots, highestBallot, isSameBallot } from './ballot.ts'
import { clearPartition } from './clear-rows.ts'
import { enoughOthers, isMajority } from './electorate.ts'
import { type Ballot, isClear, type RowCodec, type RowStore, type StoredRow, type TableNumber } from './index.ts'
import type { RowSettler } from './late-delivery.ts'
import { getsOn, messageLimits, type PartitionDigest, type RowBallot, type TableAnswer, type TableQuestion } from './messages.ts'
import { nameOf } from './recent-rows.ts'
import type { TableReplica } from './replica.ts'

/** What this node has to take over under a version of the layout, before that version may be followed by the next. */
export interface Takeover {
  readonly version: bigint
  /** In ascending order; `clearPartition` is one. */
  readonly partitions: readonly number[]
  /** Of those, the ones whose memory here was lost before the version was adopted. */
  readonly restoring: ReadonlySet<number>
  /** Who decided about a partition before. */
  readonly from: (partition: number) => readonly PeerId[]
  /** From each of those, not from a majority: they are what is left after a loss. One whose memory of a partition is lost has nothing of it. */
  readonly isOfAll?: boolean
}

export const handOverLimits = {
  /** Rows of a partition that are fetched and saved side by side. */
  rowsAtOnce: 16,
  /** Records of partitions that come back together. */
  maxRestoredBytes: 8 * 1024 * 1024,
} as const

export interface HandOverPorts {
  readonly self: PeerId
  readonly store: Pick<RowStore, 'get' | 'clear' | 'fill' | 'restore' | 'raiseFloor' | 'lostPartitions' | 'nextCounter'>
  readonly replica: TableReplica
  readonly codec: Pick<RowCodec, 'ballotOf' | 'verify' | 'stored'>
  /** Asks another replica. */
  readonly ask: (peer: PeerId, request: TableQuestion & { readonly version: bigint }, options: { signal?: AbortSignal }) => Promise<TableAnswer>
  readonly takeover: () => Takeover
  /** Acts while this node goes by the layout of this version, and follows none meanwhile. False: it goes by another already, and nothing was done. */
  readonly whileAt: (version: bigint, act: () => Promise<void>) => Promise<boolean>
  /** An identity round. Undefined where the node has no keys to propose with. */
  readonly settle: RowSettler | undefined
  /** Whether a record of this peer may be stored here: who cannot check a vote tag takes sealed rows from members alone. */
  readonly isTakenFrom: (peer: PeerId, table: TableNumber) => boolean
  /** Holds the data key, so may propose. */
  readonly isMember: (peer: PeerId) => boolean
  readonly warn: (message: string, cause: unknown) => void
  /** These partitions are about to be in service again. */
  readonly restoring: (partitions: readonly number[]) => void
  /** The partition is in service again, filled behind the replica's back. */
  readonly restored: (partition: number) => Promise<void>
}

/**
 * A new replica takes over what the old ones have, partition by partition: from a majority of those that decided before, for only of a majority one is sure
 * to have what was chosen, and under the version by which they decide no more alone: who answers at that version has ended all it began before.
 *
 * The floor comes with the rows, and is raised last: those below it would be refused. What was buried before the rows were looked for is below the floor of then; and so is all that was promised under
 * older versions. For a promise does not only keep the rounds before it from winning, which under an older version none does: what one replica accepted in the round that it was given to, and nobody
 * else, is above whatever is chosen afterwards. So where those who promised have gone, others must not choose below.
 *
 * A row comes by late delivery, under its rule: where more was promised here already, an identity round decides what the row says. A partition that this node lost comes back the same way, but only under a version
 * adopted after the loss. Under an older one it may have promised what it now forgets.
 */
export class HandOver {
  readonly #ports: HandOverPorts
  #version = 0n
  #left: number[] = []
  /** Who has told all its clear rows, under this version. */
  #clearRows = new Map<PeerId, Told>()
  /** Who said that it has a row of a partition, and did not give it: not counted the next time, as who does not answer. */
  #withholding = new Map<number, Set<PeerId>>()
  /** The highest counter that this node and members have come to, as far as they have told it. */
  #knownCounter: bigint | undefined

  constructor (ports: HandOverPorts) { this.#ports = ports }

  /** Partitions not taken over yet, under this version; and how many are lost that do not come back under it. */
  remaining (): { readonly version: bigint, readonly partitions: number, readonly lost: number } {
    const { restoring } = this.#begin()
    const isComing = (partition: number): boolean => restoring.has(partition) && this.#left.includes(partition)
    return { version: this.#version, partitions: this.#left.length, lost: [...this.#ports.store.lostPartitions()].filter((partition) => !isComing(partition)).length }
  }

  /** Some partitions; those that cannot be had now stand at the end of the line. Idle: nothing to do, or nothing could be done. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const takeover = this.#begin()
    const { version } = takeover
    const taken = this.#left.slice(0, messageLimits.maxDigests)
    if (taken.length === 0) return 'idle'
    const done = new Set(await this.#take(takeover, taken, signal))
    if (this.#version !== version) return 'busy'
    this.#left = [...this.#left.slice(taken.length), ...taken.filter((partition) => !done.has(partition))]
    return done.size > 0 ? 'busy' : 'idle'
  }

  #begin (): Takeover {
    const takeover = this.#ports.takeover()
    if (takeover.version !== this.#version) {
      this.#version = takeover.version
      // the clear rows first: who may have proposed the others stands in them
      this.#left = [...takeover.partitions].sort((a, b) => Number(b === clearPartition) - Number(a === clearPartition) || a - b)
      this.#clearRows = new Map()
      this.#withholding = new Map()
    }
    return takeover
  }

  async #take (takeover: Takeover, partitions: readonly number[], signal: AbortSignal | undefined): Promise<readonly number[]> {
    const { self, store } = this.#ports
    // what has come back is in service, and promises: before a restart, say, or under the version before
    const restoring = new Set(partitions.filter((partition) => takeover.restoring.has(partition) && store.lostPartitions().has(partition)))
    const own = await this.#digestsAt(takeover, self, partitions.filter((partition) => !restoring.has(partition)), signal)
    const peers = new Set(partitions.flatMap((partition) => takeover.from(partition)))
    const told = new Map(await Promise.all([...peers].map(async (peer) => {
      const asked = partitions.filter((partition) => takeover.from(partition).includes(peer) && !(peer === self && restoring.has(partition)))
      return [peer, await this.#digestsAt(takeover, peer, asked, signal)] as const
    })))
    const done: number[] = []
    const floors: Array<readonly [partition: number, floor: Ballot]> = []
    const restorations = new Restorations(this.#ports, takeover.version)
    for (const partition of partitions) {
      const digests = await this.#likely(this.#counted(takeover.from(partition), partition).flatMap((peer) => { const digest = told.get(peer)?.digests.get(partition); return digest === undefined ? [] : [{ peer, digest }] }))
      // what one partition does not allow is no reason to leave the others
      const empty = takeover.isOfAll === true && partition !== clearPartition ? takeover.from(partition).filter((peer) => told.get(peer)?.lost.has(partition) === true || (peer === self && restoring.has(partition))) : []
      const isDone = await this.#takePartition(takeover, { partition, isRestoring: restoring.has(partition), digests, empty, own: own.digests.get(partition), restorations, floors }, signal).catch((error: unknown) => {
        signal?.throwIfAborted()
        this.#ports.warn('a partition could not be taken over now', error)
        return false
      })
      if (isDone === true) done.push(partition)
      if (restorations.isDue) done.push(...await restorations.carryOut())
    }
    if (floors.length > 0) await this.#ports.store.raiseFloor(...floors)
    return [...done, ...await restorations.carryOut()]
  }

  /** 'to be restored': what it is to have is known, and is carried out together with others; so are floors raised. */
  async #takePartition (takeover: Takeover, { partition, isRestoring, digests, empty, own, restorations, floors: toRaise }: { partition: number, isRestoring: boolean, digests: ReadonlyArray<{ peer: PeerId, digest: PartitionDigest }>, empty: readonly PeerId[], own: PartitionDigest | undefined, restorations: Restorations, floors: Array<readonly [partition: number, floor: Ballot]> }, signal: AbortSignal | undefined): Promise<boolean | 'to be restored'> {
    const isNothingNew = ({ digest }: { digest: PartitionDigest }): boolean => digest.count === 0 || (own !== undefined && own.count === digest.count && equals(own.digest, digest.digest))
    const heard = new Set([...empty, ...digests.filter(isNothingNew).map(({ peer }) => peer)])
    const held: Held[] = []
    const floors = digests.map(({ digest }) => digest.floor)
    const isHeard = (): boolean => isEnough(takeover, takeover.from(partition), heard, isRestoring ? this.#ports.self : undefined)
    for (const { peer, digest } of digests) {
      if (isNothingNew({ digest })) continue
      // members come first: where they have told enough, one that may take as long as it likes for each of its rows is not asked
      if (!this.#ports.isMember(peer) && isHeard()) break
      const ballots = await this.#ballotsAt(takeover, peer, partition, signal)
      // what it was proven to have its index may have lost since; rows only come while they are taken over
      if (ballots === undefined || ballots === 'lost' || ballots.held.length < digest.count || !await this.#isLikely(peer, ballots.floor)) continue
      heard.add(peer)
      floors.push(ballots.floor)
      held.push(...ballots.held.filter(({ table }) => isClear(table) === (partition === clearPartition)))
    }
    if (!isHeard()) return this.#countAll(partition)
    const floor = highestBallot(floors)
    if (isRestoring && takeover.isOfAll === true && digests.length === 0) {
      // nobody else is left who could tell: what of it is still intact is all that there is
      restorations.addIntact(partition)
      return 'to be restored'
    }
    if (isRestoring) {
      const lost = await this.#lostRows(takeover, { partition, held }, signal)
      if (lost === undefined) return false
      restorations.add({ partition, rows: lost.rows, floors: [[partition, floor], [clearPartition, lost.clearFloor]] })
      return 'to be restored'
    }
    if (!await this.#deliver(takeover, { partition, held }, signal)) return false
    if (floor !== undefined) toRaise.push([partition, floor])
    return true
  }

  #counted (peers: readonly PeerId[], partition: number): readonly PeerId[] {
    const withholding = this.#withholding.get(partition)
    return withholding === undefined ? peers : peers.filter((peer) => !withholding.has(peer))
  }

  #withholds (partition: number, peers: readonly PeerId[]): void { this.#withholding.set(partition, new Set([...this.#withholding.get(partition) ?? [], ...peers])) }

  /** Without those that withhold something there are too few: they are asked again. */
  #countAll (partition: number): false {
    this.#withholding.delete(partition)
    return false
  }

  /** Those whose floor may be one; members first, for the others' are held against theirs. */
  async #likely (digests: ReadonlyArray<{ readonly peer: PeerId, readonly digest: PartitionDigest }>): Promise<Array<{ peer: PeerId, digest: PartitionDigest }>> {
    const { isMember } = this.#ports
    const likely: Array<{ peer: PeerId, digest: PartitionDigest }> = []
    for (const told of digests.toSorted((a, b) => Number(isMember(b.peer)) - Number(isMember(a.peer)))) if (await this.#isLikely(told.peer, told.digest.floor)) likely.push(told)
    return likely
  }

  /**
   * Whether a peer may have promised so much. Only members propose, so whoever holds no key has promised nothing far beyond what they have come to; and raised to that, this node would refuse the rows of the
   * partition to everybody, for good.
   */
  async #isLikely (peer: PeerId, floor: Ballot | undefined): Promise<boolean> {
    const { self, store, isMember } = this.#ports
    if (floor === undefined) return true
    this.#knownCounter ??= await store.nextCounter(0n)
    const isOfMember = peer === self || isMember(peer)
    if (isOfMember && floor.counter > this.#knownCounter) this.#knownCounter = floor.counter
    return isOfMember || floor.counter <= this.#knownCounter + ballotLimits.maxCounterJump
  }

  /** Each row to the own replica, as the accept that got lost. Whether it has all of them now, or higher ones. */
  async #deliver (takeover: Takeover, { partition, held }: { readonly partition: number, readonly held: readonly Held[] }, signal: AbortSignal | undefined): Promise<boolean> {
    const { self, replica, settle, store, codec } = this.#ports
    const { version } = takeover
    const ownBallot = async ({ table, rowKey }: RowBallot): Promise<Ballot | undefined> => {
      const row = await store.get(table, rowKey)
      return row?.accepted === undefined ? undefined : codec.ballotOf(table, row.accepted)
    }
    const waiting = highestEach(held).values()
    let isWhole = true
    // side by side, so that those that are saved share syncs of the disk
    await Promise.all(Array.from({ length: handOverLimits.rowsAtOnce }, async () => {
      for (const row of waiting) {
        const { table, rowKey, ballot } = row
        const isThere = (own: Ballot | undefined): boolean => own !== undefined && compareBallots(own, ballot) >= 0
        if (isThere(await ownBallot(row))) continue
        // who has not given one of them is not asked for the others: it may have made up any number
        const record = await this.#recordOf(takeover, { ...row, holders: this.#counted(row.holders, partition) }, signal)
        const answer = record === undefined ? undefined : await unlessCorrupt(async () => replica.answer(self, { version, kind: 'handOver', table, rowKey, record }))
        if (answer === undefined) this.#withholds(partition, row.holders)
        if (answer?.kind === 'refused') await settle?.({ table, rowKey }, { signal, above: answer.promised.counter })
        if (answer?.kind !== 'accepted' && !isThere(await ownBallot(row))) isWhole = false
      }
    }))
    return isWhole
  }

  /** What was lost comes back whole: its sealed rows, and the clear ones that lie among them. Undefined: it cannot be had now. */
  async #lostRows (takeover: Takeover, { partition, held }: { partition: number, held: readonly Held[] }, signal: AbortSignal | undefined): Promise<{ readonly rows: readonly StoredRow[], readonly clearFloor: Ballot | undefined } | undefined> {
    const { codec } = this.#ports
    const clear = await this.#clearRowsIn(takeover, partition, signal)
    if (clear === undefined) return undefined
    const rows: StoredRow[] = []
    for (const row of highestEach([...held, ...clear.held])) {
      const { table, rowKey } = row
      const record = await this.#recordOf(takeover, row, signal)
      const isRight = record !== undefined && await unlessCorrupt(async () => { codec.verify({ table, rowKey, record }); return true })
      if (isRight !== true) { this.#withholds(partition, row.holders); return undefined }
      rows.push({ table, rowKey, promised: codec.ballotOf(table, record), accepted: codec.stored({ table, rowKey, record }) })
    }
    return { rows, clearFloor: clear.floor }
  }

  /** Those of so many of the voters of before that nothing chosen is missing. Who has itself lost rows, others than these, cannot tell all that are clear, but these. Undefined: they cannot be had now. */
  async #clearRowsIn (takeover: Takeover, partition: number, signal: AbortSignal | undefined): Promise<Told | undefined> {
    const { self } = this.#ports
    const voters = takeover.from(clearPartition)
    const others = voters.filter((peer) => peer !== self)
    const counted = this.#counted(others, partition)
    const known = this.#clearRows
    const told = new Map<PeerId, Told>()
    const isTold = (): boolean => isEnough(takeover, takeover.isOfAll === true ? others : voters, new Set(told.keys()), self)
    const askAll = async (peers: readonly PeerId[]): Promise<unknown> => Promise.all(peers.map(async (peer) => {
      const whole = known.get(peer) ?? await this.#ballotsAt(takeover, peer, clearPartition, signal)
      if (whole === undefined) return
      if (whole !== 'lost') {
        if (!await this.#isLikely(peer, whole.floor)) return
        known.set(peer, whole)
        told.set(peer, whole)
        return
      }
      const some = await this.#ballotsAt(takeover, peer, partition, signal)
      if (some !== undefined && some !== 'lost' && !await this.#isLikely(peer, some.floor)) return
      if (some === 'lost' && takeover.isOfAll === true) told.set(peer, { held: [], floor: undefined })
      else if (some !== undefined && some !== 'lost') told.set(peer, some)
    }))
    await askAll(counted.filter((peer) => this.#ports.isMember(peer)))
    if (!isTold()) await askAll(counted.filter((peer) => !this.#ports.isMember(peer)))
    if (!isTold()) { this.#countAll(partition); return undefined }
    const heard = [...told.values()]
    return { held: heard.flatMap(({ held }) => held).filter(({ table, rowKey }) => isClear(table) && partitionOf(rowKey) === partition), floor: highestBallot(heard.map(({ floor }) => floor)) }
  }

  async #recordOf (takeover: Takeover, { table, rowKey, ballot, holders }: Row, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    for (const peer of holders.filter((holder) => this.#ports.isTakenFrom(holder, table))) {
      const answer = await this.#ask(takeover, peer, { kind: 'read', table, rowKey }, signal)
      // it may be higher by now, which is as good
      const accepted = answer?.kind === 'value' ? answer.accepted : undefined
      if (accepted !== undefined && await unlessCorrupt(async () => compareBallots(this.#ports.codec.ballotOf(table, accepted), ballot) >= 0) === true) return accepted
    }
    return undefined
  }

  async #digestsAt (takeover: Takeover, peer: PeerId, partitions: readonly number[], signal: AbortSignal | undefined): Promise<{ readonly digests: ReadonlyMap<number, PartitionDigest>, readonly lost: ReadonlySet<number> }> {
    const answer = partitions.length === 0 ? undefined : await this.#ask(takeover, peer, { kind: 'digest', partitions }, signal)
    const digests = answer?.kind === 'digests' && answer.digests.length === partitions.length ? answer.digests : []
    return {
      digests: new Map(partitions.flatMap((partition, i) => { const digest = digests[i]; return digest === undefined ? [] : [[partition, digest]] })),
      lost: new Set(digests.length === 0 ? [] : partitions.filter((_, i) => digests[i] === undefined)),
    }
  }

  /** 'lost': it has nothing to tell of it. Undefined: it does not answer. */
  async #ballotsAt (takeover: Takeover, peer: PeerId, partition: number, signal: AbortSignal | undefined): Promise<Told | 'lost' | undefined> {
    const held: Held[] = []
    const floors: Array<Ballot | undefined> = []
    for (let after: Uint8Array | undefined, isLast = false; !isLast;) {
      const answer = await this.#ask(takeover, peer, { kind: 'ballots', partition, after }, signal)
      if (answer?.kind === 'lost') return 'lost'
      if (answer?.kind !== 'ballots' || !getsOn(answer, { after, told: held.length })) return undefined
      held.push(...answer.rows.map((row) => ({ ...row, peer })))
      floors.push(answer.floor)
      after = answer.rows.at(-1)?.rowKey
      isLast = !answer.truncated
    }
    return { held, floor: highestBallot(floors) }
  }

  /** Who does not answer, or answers for another version, is not counted. */
  async #ask ({ version }: Takeover, peer: PeerId, question: TableQuestion, signal: AbortSignal | undefined): Promise<TableAnswer | undefined> {
    const { self, replica, ask } = this.#ports
    const request = { version, ...question }
    if (peer === self) return await replica.answer(self, request)
    return await ask(peer, request, { signal }).catch((error: unknown) => {
      signal?.throwIfAborted()
      if (error instanceof Corrupt) throw error
      return undefined
    })
  }
}

/** `rows` undefined: what of it is still intact. */
interface Restoration { readonly partition: number, readonly rows: readonly StoredRow[] | undefined, readonly floors: ReadonlyArray<readonly [partition: number, floor: Ballot | undefined]> }

/**
 * Partitions that come back, some together: each of the steps of the store costs syncs of the disk. Not under a layout that has been followed by another since they were asked for: which partitions
 * come back under that one is written down, and the node may enter them anew.
 */
class Restorations {
  readonly #ports: Pick<HandOverPorts, 'store' | 'restoring' | 'restored' | 'whileAt' | 'warn'>
  readonly #version: bigint
  #waiting: Restoration[] = []
  #bytes = 0

  constructor (ports: Pick<HandOverPorts, 'store' | 'restoring' | 'restored' | 'whileAt' | 'warn'>, version: bigint) {
    this.#ports = ports
    this.#version = version
  }

  get isDue (): boolean { return this.#bytes > handOverLimits.maxRestoredBytes }

  add (restoration: Restoration): void {
    this.#waiting.push(restoration)
    this.#bytes += (restoration.rows ?? []).reduce((sum, { accepted }) => sum + (accepted?.byteLength ?? 0), 0)
  }

  addIntact (partition: number): void { this.add({ partition, rows: undefined, floors: [] }) }

  /** Gives which are in service again. */
  async carryOut (): Promise<readonly number[]> {
    const carried = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    if (carried.length === 0) return []
    return await this.#ports.whileAt(this.#version, async () => this.#restore(carried)) ? carried.map(({ partition }) => partition) : []
  }

  async #restore (carried: readonly Restoration[]): Promise<void> {
    const { store, restoring, restored, warn } = this.#ports
    const partitions = carried.map(({ partition }) => partition)
    await store.clear(...carried.flatMap(({ partition, rows }) => rows === undefined ? [] : [partition]))
    const rows = carried.flatMap((of) => of.rows ?? [])
    if (rows.length > 0) await store.fill(rows)
    await store.raiseFloor(...carried.flatMap(({ floors }) => floors.flatMap(([of, floor]) => floor === undefined ? [] : [[of, floor] as const])))
    restoring(partitions)
    await store.restore(...partitions)
    for (const partition of partitions) await restored(partition).catch((error: unknown) => { warn('a partition is in service again, and its names could not be listed', error) })
  }
}

/** What another gave may be no record. */
async function unlessCorrupt<T> (act: () => Promise<T>): Promise<T | undefined> {
  try { return await act() } catch (error) {
    if (!(error instanceof Corrupt) && !(error instanceof MalformedBytes)) throw error
    return undefined
  }
}

interface Held extends RowBallot { readonly peer: PeerId }
/** Of one voter, or of some. */
interface Told { readonly held: readonly Held[], readonly floor: Ballot | undefined }
interface Row extends RowBallot { readonly holders: readonly PeerId[] }

/** A majority of those that decided before; for one of them that has forgotten as many others as that takes; after a loss all of those that are left. */
function isEnough ({ version, isOfAll = false }: Takeover, from: readonly PeerId[], heard: ReadonlySet<PeerId>, forgetful?: PeerId): boolean {
  if (isOfAll) return from.every((peer) => heard.has(peer))
  if (forgetful !== undefined && from.includes(forgetful)) return heard.size >= enoughOthers(from.length)
  return isMajority({ version, groups: [from] }, (peer) => heard.has(peer))
}

/** Of each row the highest ballot, and who has it. */
function highestEach (held: readonly Held[]): readonly Row[] {
  const rows = new Map<string, Row>()
  for (const { peer, ...row } of held) {
    const known = rows.get(nameOf(row))
    if (known !== undefined && isSameBallot(known.ballot, row.ballot)) rows.set(nameOf(row), { ...known, holders: [...known.holders, peer] })
    else if (known === undefined || compareBallots(row.ballot, known.ballot) > 0) rows.set(nameOf(row), { ...row, holders: [peer] })
  }
  return [...rows.values()]
}
