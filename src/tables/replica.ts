import { equals, partitionOf } from '../base/bytes.ts'
import { Corrupt, Refused } from '../base/errors.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import { Generations } from './generations.ts'
import { type Held, judge, type Proposal } from './acceptor.ts'
import { ballotLimits, compareBallots, highestBallot, isSameBallot } from './ballot.ts'
import { clearPartition, ClearRows, partitionOfTable } from './clear-rows.ts'
import { checkDeath, deathOf } from './deaths.ts'
import { type Ballot, type Describe, isClear, isSelfProving, type OpenedRow, PartitionLost, type RowCodec, rowLimits, type RowStore, type StoredRow, type TableNumber, tables, type Voters } from './index.ts'
import { KeyedQueue } from '../base/keyed-queue.ts'
import { listingIndexLimits, type ListingIndex } from './listing-index.ts'
import { messageLimits, type PartitionDigest, type RowBallot, type RowQuestion, type TableAnswer, type TableQuestion, type TableRequest, type VoterProgress } from './messages.ts'
import { openRecord } from './opened-record.ts'
import { nameOf } from './recent-rows.ts'

/** The server side of the tables: what one replica answers to peers, and to its own node. */
export interface TableReplica {
  /**
   * Everything the answer says is on disk when it resolves.
   * @throws Refused (not admitted here), Corrupt (the record is not what it says); disk errors as they are
   */
  answer (from: PeerId, request: TableRequest): Promise<TableAnswer>
}

/** What the own node may do with its replica beside asking it. */
export interface OwnReplica extends TableReplica {
  /** Resolves when every save that is under way has ended, well or not. */
  savesEnded (): Promise<void>
  /**
   * What is remembered of these partitions is about to be forgotten: until this node goes by another layout they count as lost. Resolves when nothing of before is answered any more, which could
   * save what it has read when it is forgotten.
   */
  leave (partitions: Iterable<number>): Promise<void>
  /** These partitions, which were lost, have been filled behind its back, and are about to be in service again. */
  refilled (partitions: readonly number[]): void
  /** Writes what is held of a row in another way, under the same ballot; where `make` gives another ballot's record, nothing. On disk when it resolves. @throws PartitionLost */
  restate (row: { readonly table: TableNumber, readonly rowKey: Uint8Array }, make: (record: Uint8Array) => Uint8Array): Promise<void>
}

/**
 * Whether a record may take the place of the one held (undefined: none), beyond what its ballot says; for tables whose rows only go forward. Asked where no
 * other proposal for the row is judged meanwhile. @throws Corrupt
 */
export type Succession = (row: { readonly table: TableNumber, readonly rowKey: Uint8Array }, change: { readonly held: Uint8Array | undefined, readonly record: Uint8Array, readonly kind: 'accept' | 'handOver' }) => void

export interface ReplicaOptions {
  readonly self: PeerId
  readonly store: RowStore
  readonly codec: RowCodec
  readonly voters: Voters
  readonly layout: LayoutGuard
  /** Holds the data key, so may propose and may see names. */
  readonly isMember: (peer: PeerId) => boolean
  /** This node cannot verify what it stores of sealed rows (a witness): those it takes from members alone. */
  readonly isKeyless?: boolean
  readonly succession?: Succession
  /** Told to whoever keeps the layout. */
  readonly progress?: () => VoterProgress
  /** Without it nothing is ever past, as far as this voter says. */
  readonly wallMs?: () => number
  /** Without it (a node without keys) this replica answers no listing. */
  readonly listing?: {
    readonly index: ListingIndex
    readonly describe: Describe
    /** Partitions of which the index has not all rows yet. Default: none. */
    readonly missing?: () => Iterable<number>
  }
  /** Told of each row that it takes, when it is on disk, and of one row in the order of its saves. Only where rows can be opened. */
  readonly saved?: (row: OpenedRow) => void
}

/** Which layout this node goes by; the highest it has seen, on disk. */
export interface LayoutGuard {
  readonly version: bigint
  /** Others may take over what is here: they are told what was promised, too. Default: no. */
  readonly isChanging?: boolean
  /** The layout of `version`, encoded, for peers that lag. */
  encoded (): Uint8Array
  /** Resolves when a layout of at least `version` is adopted and on disk. Rejects if it cannot be had: then nothing is answered. */
  adopt (version: bigint, from: PeerId): Promise<void>
}

export function tableReplica (options: ReplicaOptions): OwnReplica {
  const replica = new Replica(options)
  return { answer: (from, request) => replica.answer(from, request), restate: (row, make) => replica.restate(row, make), savesEnded: () => replica.savesEnded(), leave: (partitions) => replica.leave(partitions), refilled: (partitions) => { replica.refilled(partitions) } }
}

class Replica {
  readonly #options: ReplicaOptions
  readonly #queue = new KeyedQueue()
  readonly #generations = new Generations()
  readonly #clear: ClearRows
  readonly #saving = new Set<Promise<void>>()
  /** Rows on their way to the disk and from there to the index of names: what is told of rows is told when names of the same rows are. */
  readonly #showing = new Set<Promise<void>>()
  #knownCounter: bigint | undefined
  #left: { readonly version: bigint, readonly partitions: ReadonlySet<number> } = { version: 0n, partitions: new Set() }
  constructor (options: ReplicaOptions) {
    this.#options = options
    this.#clear = new ClearRows(options)
  }

  async answer (from: PeerId, request: TableRequest): Promise<TableAnswer> {
    const { layout } = this.#options
    if (request.version > layout.version) await layout.adopt(request.version, from)
    // one that is newer still may have come meanwhile
    if (request.version < layout.version) return { kind: 'staleLayout', layout: layout.encoded() }
    try {
      const { version, isChanging = false } = layout
      return await this.#generations.run(version, async () => this.#answer(from, request, { isChanging }))
    } catch (error) {
      if (error instanceof PartitionLost) return { kind: 'lost' }
      throw error
    }
  }

  /** As it is stored is said, and the save begun, in one go: who asks afterwards which saves are under way hears of it. */
  async #save (row: StoredRow, { isNew }: { isNew: boolean }): Promise<void> {
    const { codec, store } = this.#options
    const { table, rowKey, accepted } = row
    const saving = store.save([accepted !== undefined && isNew ? { ...row, accepted: codec.stored({ table, rowKey, record: accepted }) } : row])
    this.#saving.add(saving)
    try { await saving } finally { this.#saving.delete(saving) }
  }

  async savesEnded (): Promise<void> { await Promise.allSettled(this.#saving) }

  async leave (partitions: Iterable<number>): Promise<void> {
    this.#left = { version: this.#options.layout.version, partitions: new Set(partitions) }
    await this.#generations.ended()
  }

  refilled (partitions: readonly number[]): void { this.#clear.refilled(partitions) }

  get #leftPartitions (): ReadonlySet<number> { return this.#left.version === this.#options.layout.version ? this.#left.partitions : new Set() }

  /** @throws PartitionLost */
  #demandHeld (partition: number): void { if (this.#leftPartitions.has(partition)) throw new PartitionLost(partition) }

  async restate ({ table, rowKey }: { table: TableNumber, rowKey: Uint8Array }, make: (record: Uint8Array) => Uint8Array): Promise<void> {
    const { codec, store } = this.#options
    // not between the judging of a proposal and its save
    await this.#queue.run(nameOf({ table, rowKey }), async () => {
      const row = await store.get(table, rowKey)
      if (row?.accepted === undefined) return
      const accepted = make(row.accepted)
      const isSame = isSameBallot(codec.ballotOf(table, accepted), codec.ballotOf(table, row.accepted))
      // a partition that this node enters is cleared in the middle of it
      if (isSame && !equals(accepted, row.accepted)) await store.save([{ ...row, accepted }], { isInPlace: true })
    })
  }

  async #answer (from: PeerId, question: TableQuestion, { isChanging }: { isChanging: boolean }): Promise<TableAnswer> {
    switch (question.kind) {
      case 'prepare': case 'accept': case 'handOver': return question.table === tables.deaths ? await this.#takeDeath(from, question) : await this.#propose(from, question)
      case 'read': return await this.#read(question)
      case 'list': return await this.#list(from, question)
      case 'digest': return this.#shown({ kind: 'digests', digests: await Promise.all(question.partitions.map((partition) => this.#digest(partition, { isChanging }))) })
      case 'ballots': return this.#shown(await this.#ballots(question, { isChanging }))
      case 'progress': return { kind: 'progress', ...this.#options.progress?.() ?? { remaining: 0, lost: this.#options.store.lostPartitions().size, away: [] } }
      case 'clock': return { kind: 'clock', wallMs: Math.max(0, Math.floor(this.#options.wallMs?.() ?? 0)) }
      case 'bury': return await this.#bury(from, question)
      case 'publish': return await this.#publish(from, question)
      case 'deaths': return { kind: 'deaths', proofs: await Promise.all(question.versionIds.map(async (versionId) => this.#deathIn(versionId))) }
    }
  }

  async #read ({ table, rowKey }: { table: TableNumber, rowKey: Uint8Array }): Promise<TableAnswer> {
    this.#demandReplica(table, rowKey)
    // behind a save under way: what is not on disk yet must not be told
    const row = await this.#queue.run(nameOf({ table, rowKey }), async () => await this.#options.store.get(table, rowKey))
    return { kind: 'value', promised: row?.promised, accepted: row?.accepted, floor: this.#floorOf({ table, rowKey }) }
  }

  /** Nothing is judged: a death is there or not, and says one thing. */
  async #takeDeath (from: PeerId, question: Exclude<RowQuestion, { kind: 'read' }>): Promise<TableAnswer> {
    const { isMember, voters } = this.#options
    const { table, rowKey } = question
    this.#demandReplica(table, rowKey)
    if (question.kind !== 'handOver') throw new Refused('a death is published, not decided')
    if (!isMember(from) && !voters.of(table, rowKey).includes(from)) throw new Refused('deaths come from members and voters')
    checkDeath(question)
    await this.#keepDeath(question.record)
    return { kind: 'accepted' }
  }

  async #publish (from: PeerId, { proofs }: Extract<TableQuestion, { kind: 'publish' }>): Promise<TableAnswer> {
    const { isMember, self, voters } = this.#options
    // only members have the keys that proofs are made with; from anybody else they are numbers that fill a disk
    if (!isMember(from)) throw new Refused('only members publish deaths')
    const published = await Promise.all(proofs.map(async (proof) => {
      if (!voters.ofPartition(partitionOf(deathOf(proof).rowKey)).includes(self)) return false
      try {
        this.#demandHeld(partitionOf(deathOf(proof).rowKey))
        await this.#keepDeath(proof)
        return true
      } catch (error) {
        if (error instanceof PartitionLost) return false
        throw error
      }
    }))
    return { kind: 'published', published }
  }

  async #keepDeath (proof: Uint8Array): Promise<void> {
    const { store } = this.#options
    const death = deathOf(proof)
    await this.#queue.run(nameOf(death), async () => {
      if (await store.get(death.table, death.rowKey) === undefined) await this.#save(death, { isNew: false })
    })
  }

  async #deathIn (versionId: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return (await this.#options.store.get(tables.deaths, versionId))?.accepted
    } catch (error) {
      // not knowing means nothing
      if (error instanceof PartitionLost) return undefined
      throw error
    }
  }

  async #propose (from: PeerId, question: Exclude<RowQuestion, { kind: 'read' }>): Promise<TableAnswer> {
    const { codec, store } = this.#options
    const { table, rowKey } = question
    this.#demandReplica(table, rowKey)
    const proposal: Proposal = question.kind === 'prepare'
      ? { kind: 'prepare', ballot: question.ballot }
      : { kind: question.kind, ballot: codec.ballotOf(table, question.record), record: question.record }
    this.#demandAdmission(from, question, proposal)
    const opened = proposal.kind === 'prepare' ? undefined : this.#verified({ table, rowKey, record: proposal.record })
    const listed = opened === undefined ? undefined : this.#listedOf(opened)
    // judged and saved in one go: between the two no other proposal for this row may be judged
    return await this.#queue.run(nameOf({ table, rowKey }), async () => {
      const row = await store.get(table, rowKey)
      const floor = this.#floorOf({ table, rowKey })
      const promised = highestBallot([row?.promised, floor])
      if (!await this.#isWithinJump(proposal.ballot, promised)) return { kind: 'refused', promised: promised ?? nothingPromised }
      const verdict = judge(this.#heldOf(row), proposal, floor)
      if (verdict.kind === 'refused') return verdict
      if (proposal.kind !== 'prepare' && verdict.save !== undefined) this.#options.succession?.({ table, rowKey }, { held: row?.accepted, record: proposal.record, kind: proposal.kind })
      using _showing = this.#beginShowing()
      if (verdict.save !== undefined) {
        await this.#save({ table, rowKey, promised: verdict.save.promised, accepted: verdict.save.accepted?.record }, { isNew: proposal.kind !== 'prepare' })
        this.#clear.saved({ table, rowKey, ...verdict.save })
      }
      if (verdict.kind === 'promised') return { kind: 'promised', accepted: verdict.accepted?.record, floor }
      if (verdict.save !== undefined) {
        if (opened !== undefined) this.#options.saved?.(opened)
        await this.#options.listing?.index.update([{ table, rowKey, ballot: proposal.ballot, listed }])
      }
      return { kind: 'accepted' }
    })
  }

  /** An answer about rows, when the index has the names of all that it tells of: a page that is asked for afterwards lacks none of them. */
  async #shown (answer: TableAnswer): Promise<TableAnswer> {
    await Promise.all(this.#showing)
    return answer
  }

  #beginShowing (): Disposable {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#showing.add(promise)
    return { [Symbol.dispose]: () => { this.#showing.delete(promise); resolve() } }
  }

  #floorOf (row: Pick<StoredRow, 'table' | 'rowKey'>): Ballot | undefined { return this.#options.store.floor(partitionOfTable(row)) }

  /** Of rows that have been looked for. Whoever takes over is told of all that was promised: it may be the next to be asked, in the place of one who had promised. */
  async #toldFloor (partition: number, { isChanging }: { isChanging: boolean }): Promise<Ballot | undefined> {
    const floor = this.#options.store.floor(partition)
    if (!isChanging) return floor
    if (partition === clearPartition) return highestBallot([floor, this.#clear.promised])
    // who has lost some tells of its clear rows by the partitions that it still has
    const ofClear = this.#options.store.lostPartitions().size > 0 ? this.#options.store.floor(clearPartition) : undefined
    return highestBallot([floor, ofClear, await this.#options.store.promised(partition)])
  }

  #heldOf (row: StoredRow | undefined): Held | undefined {
    if (row === undefined) return undefined
    const accepted = row.accepted === undefined ? undefined : { record: row.accepted, ballot: this.#options.codec.ballotOf(row.table, row.accepted) }
    return { promised: row.promised, accepted }
  }

  /** What a record says, once it is verified; a node with keys verifies by opening, one without has nothing to open. */
  #verified (row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): OpenedRow | undefined {
    const { codec, listing } = this.#options
    if (row.record.byteLength > rowLimits.maxRecordBytes) throw new Corrupt(`a record of ${row.record.byteLength} bytes`)
    if (listing === undefined) { codec.verify(row); return undefined }
    const { value, erased } = openRecord(codec, row)
    return { table: row.table, rowKey: row.rowKey, value, erased }
  }

  /** What the listing shows of it. */
  #listedOf ({ table, value, erased }: OpenedRow): ReturnType<Describe> {
    if (value !== undefined) return this.#options.listing?.describe(table, value)
    return erased === undefined ? undefined : { name: erased.key, scope: erased.scope, summary: undefined }
  }

  #demandReplica (table: TableNumber, rowKey: Uint8Array): void {
    const { voters, self } = this.#options
    if (!voters.of(table, rowKey).includes(self)) throw new Refused('not a replica of this row')
    if (!isClear(table)) this.#demandHeld(partitionOf(rowKey))
  }

  #demandAdmission (from: PeerId, { table, rowKey }: { table: TableNumber, rowKey: Uint8Array }, { kind, ballot }: Proposal): void {
    const { isMember, voters, isKeyless = false } = this.#options
    if (kind === 'handOver') {
      // whoever verifies may take it from anyone who could hold it; the record is another's and unchanged. Of clear rows too: what a removed member signs counts
      // as if it had been chosen before, so a node that holds none of them, and is in league with it, must not bring any
      const isVoter = voters.of(table, rowKey).includes(from)
      if (!isMember(from) && (!isVoter || (isKeyless && !isClear(table)))) throw new Refused(isVoter ? 'a witness takes sealed rows from members' : 'late delivery comes from members and voters')
      return
    }
    // clear rows too: every voter refuses what another signs (`checkClear`), and the promises before it, for any keys it makes up, would stay for ever
    if (!isMember(from)) throw new Refused('only members propose')
    if (!equals(ballot.proposer, keyOf(from))) throw new Refused('the ballot is not the proposer\'s own')
  }

  /** Refuses counters out of all proportion; what is known is kept within half a jump of the highest seen, over restarts too. */
  async #isWithinJump ({ counter }: Ballot, promised: Ballot | undefined): Promise<boolean> {
    const { store } = this.#options
    this.#knownCounter ??= await store.nextCounter(0n)
    const known = promised !== undefined && promised.counter > this.#knownCounter ? promised.counter : this.#knownCounter
    const isWithin = counter <= known + ballotLimits.maxCounterJump
    const half = ballotLimits.maxCounterJump / 2n
    // who was not there while others jumped, more than once, comes up to them step by step, no faster than a member that lies could have it go anyway
    if (counter > this.#knownCounter + half) this.#knownCounter = await store.nextCounter(isWithin ? counter : this.#knownCounter + half)
    return isWithin
  }

  async #list (from: PeerId, request: Extract<TableQuestion, { kind: 'list' }>): Promise<TableAnswer> {
    const { isMember, listing, store } = this.#options
    if (!isMember(from)) throw new Refused('names are for members')
    if (listing === undefined) throw new Refused('no names are known here')
    const lost = [...new Set([...store.lostPartitions(), ...this.#leftPartitions, ...listing.missing?.() ?? []])]
    const { entries, truncated } = await listing.index.page({ ...request, limit: Math.min(request.limit, listingIndexLimits.maxPageEntries) })
    let sizeBytes = 0
    const fitting = entries.findIndex(({ name, summary }) => (sizeBytes += name.byteLength + (summary?.byteLength ?? 0)) > messageLimits.maxPageBytes)
    if (fitting < 0) return { kind: 'page', entries, truncated, lost }
    return { kind: 'page', entries: entries.slice(0, Math.max(1, fitting)), truncated: truncated || Math.max(1, fitting) < entries.length, lost }
  }

  async #digest (partition: number, { isChanging }: { isChanging: boolean }): Promise<PartitionDigest | undefined> {
    try {
      if (partition !== clearPartition) this.#demandHeld(partition)
      const digest = partition === clearPartition ? await this.#clear.digest() : await this.#options.store.digest(partition)
      return { ...digest, floor: await this.#toldFloor(partition, { isChanging }) }
    } catch (error) {
      if (error instanceof PartitionLost) return undefined
      throw error
    }
  }

  async #ballots ({ partition, after }: { partition: number, after: Uint8Array | undefined }, { isChanging }: { isChanging: boolean }): Promise<TableAnswer> {
    const { codec, store } = this.#options
    this.#demandHeld(partition)
    const rows: RowBallot[] = []
    // when the rows were looked for: what was buried before is not among them, but is below this
    const floor = (): Promise<Ballot | undefined> => this.#toldFloor(partition, { isChanging })
    const found = partition === clearPartition ? this.#clear.rows({ after }) : store.rows(partition, { after })
    for await (const { table, rowKey, accepted } of found) {
      if (accepted === undefined) continue
      if (rows.length >= messageLimits.maxBallots) return { kind: 'ballots', rows, truncated: true, floor: await floor() }
      rows.push({ table, rowKey, ballot: codec.ballotOf(table, accepted) })
    }
    return { kind: 'ballots', rows, truncated: false, floor: await floor() }
  }

  async #bury (from: PeerId, { partition, rows }: Extract<TableQuestion, { kind: 'bury' }>): Promise<TableAnswer> {
    const { isMember, self, store, voters } = this.#options
    if (!isMember(from)) throw new Refused('only members bury')
    const { groups } = voters.electorate(partition)
    if (groups.length !== 1 || groups[0]?.includes(self) !== true) throw new Refused('nothing is buried while the layout changes, nor by others than replicas')
    if (rows.some(({ table, rowKey }) => isSelfProving(table) || partitionOf(rowKey) !== partition)) throw new Refused('rows that are not of the partition')
    this.#demandHeld(partition)
    return await this.#holding(rows, async () => {
      const [buried, tombstones]: [boolean[], Array<RowBallot & { record: Uint8Array }>] = [[], []]
      for (const row of rows) {
        const held = await store.get(row.table, row.rowKey)
        const floor = store.floor(partition)
        const record = this.#buriable(held, row)
        if (record !== undefined) tombstones.push({ ...row, record })
        buried.push(record !== undefined || (held === undefined && floor !== undefined && compareBallots(floor, row.ballot) >= 0))
      }
      if (tombstones.length > 0) await store.bury(tombstones)
      await this.#forgetNames(tombstones)
      return { kind: 'buried', buried }
    })
  }

  /** The tombstone, if that very one is held and nothing higher was promised. */
  #buriable (held: StoredRow | undefined, row: RowBallot): Uint8Array | undefined {
    const { codec } = this.#options
    const record = held?.accepted
    if (held === undefined || record === undefined || !isSameBallot(held.promised, row.ballot) || !isSameBallot(codec.ballotOf(row.table, record), row.ballot)) return undefined
    return codec.isTombstone({ ...row, record }) ? record : undefined
  }

  async #forgetNames (rows: ReadonlyArray<RowBallot & { readonly record: Uint8Array }>): Promise<void> {
    const { codec, listing } = this.#options
    if (listing === undefined) return
    const named = rows.flatMap(({ table, rowKey, ballot, record }) => {
      const { erased } = openRecord(codec, { table, rowKey, record })
      return erased === undefined ? [] : [{ table, rowKey, ballot, name: erased.key, scope: erased.scope }]
    })
    if (named.length > 0) await listing.index.forget(named)
  }

  /** Nothing is judged of any of the rows meanwhile. In one order, so that two do not wait for each other. */
  async #holding<T> (rows: readonly RowBallot[], task: () => Promise<T>): Promise<T> {
    const names = [...new Set(rows.map(nameOf))].toSorted()
    const from = async (at: number): Promise<T> => {
      const name = names[at]
      return name === undefined ? await task() : await this.#queue.run(name, async () => await from(at + 1))
    }
    return await from(0)
  }
}

const nothingPromised: Ballot = { counter: 0n, proposer: new Uint8Array(32) }
