import { empty } from '../base/bytes.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { DfsError, Unavailable, UnknownOutcome } from '../base/errors.ts'
import { Paces, type Patience } from '../base/pace.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import type { Random } from '../base/random.ts'
import { ballotLimits } from './ballot.ts'
import { encodeErased, operationIdBytes } from './envelope.ts'
import { freshestReachable } from './freshest.ts'
import type { Change, Describe, Registers, RowAddress, RowCodec, RowStore, TableNumber, Voters } from './index.ts'
import { KeyedQueue } from '../base/keyed-queue.ts'
import type { LateDelivery, RowSettler } from './late-delivery.ts'
import { listRows } from './listing.ts'
import type { TableAnswer, TableRequest } from './messages.ts'
import { Operation, type RoundMachine } from './operation.ts'
import { Proposer } from './proposer.ts'
import { Reader } from './reader.ts'
import { nameOf } from './recent-rows.ts'
import type { TableReplica } from './replica.ts'
import type { OpenedRecord } from './round.ts'

/** Asks replicas; protocols/ implements it over /dfs/table, tests in memory. */
export interface TablePeers {
  /** Rejects if the peer cannot be asked, refuses, or answers what cannot be read. */
  ask (peer: PeerId, request: TableRequest, options: { signal?: AbortSignal }): Promise<TableAnswer>
  /** Peers that are connected now, the nearest first; the own node need not be among them. Never waits. */
  reachable (): ReadonlySet<PeerId>
}

export interface RegistersOptions {
  readonly self: PeerId
  readonly peers: TablePeers
  /** The own replica, asked without the network where this node is a voter. */
  readonly replica: TableReplica
  /** Ballot counters, never the same twice over restarts. */
  readonly counters: Pick<RowStore, 'nextCounter'>
  readonly voters: Voters
  readonly codec: RowCodec
  readonly describe: Describe
  readonly clock: Clock
  readonly random: Random
  /** A replica goes by a newer layout; resolves when it is adopted here. */
  readonly adoptLayout: (encoded: Uint8Array, from: PeerId) => Promise<void>
  /** Where chosen records go that some voters have not confirmed. */
  readonly late?: Pick<LateDelivery, 'offer'>
  readonly timing?: Partial<RegisterTiming>
  /** Who knows names, for listings; undefined: everybody. The others are witnesses. */
  readonly isLister?: (peer: PeerId) => boolean
  /** How a reader is made; the simulation puts one with a rule taken out. */
  readonly newReader?: () => RoundMachine<OpenedRecord | undefined>
}

/** Hard ends of waiting, in milliseconds. A majority that answers is never waited beyond. */
export interface RegisterTiming {
  readonly operationMs: number
  readonly askMs: number
  /** First mean pause after a lost contest; doubles up to `maxPauseMs`. */
  readonly pauseMs: number
  readonly maxPauseMs: number
  /** How long a voter may take to answer a question before those are asked that are not needed for a majority. */
  readonly patience: Patience
}

export const registerTiming: RegisterTiming = { operationMs: 5_000, askMs: 2_000, pauseMs: 8, maxPauseMs: 500, patience: { leastMs: 10, mostMs: 1000, firstMs: 100 } }

/** `Registers` over peers, and the identity round that anti-entropy and late delivery ask for. */
export function registers (options: RegistersOptions): Registers & { readonly settle: RowSettler } {
  const driver = new RegisterDriver(options)
  return {
    read: (address, { signal, from = 'majority' } = {}) => driver.read(address, { signal, from }),
    change: (address, change, { signal } = {}) => driver.change(address, change, { signal }),
    list: (request, { signal } = {}) => listRows({ ...options, settle: (row, wait) => driver.settle(row, wait), read: (address) => driver.read(address, { signal, from: 'majority' }), ask: (peer, asked, wait) => driver.ask(peer, asked, wait), timing: { ...registerTiming, ...options.timing } }, request, { signal }),
    settle: (row, options) => driver.settle(row, options),
  }
}

class RegisterDriver {
  readonly #options: RegistersOptions
  readonly #timing: RegisterTiming
  readonly #queue = new KeyedQueue()
  readonly #paces: Paces

  constructor (options: RegistersOptions) {
    this.#options = options
    this.#timing = { ...registerTiming, ...options.timing }
    this.#paces = new Paces(options.clock, this.#timing.patience)
  }

  async read (address: RowAddress, { signal, from }: { signal: AbortSignal | undefined, from: 'majority' | 'reachable' }): Promise<Uint8Array | undefined> {
    const row = this.#rowOf(address)
    using limit = deadline(this.#options.clock, this.#timing.operationMs, { signal, what: 'read of a row' })
    if (from === 'reachable') return (await freshestReachable({ ...this.#options, ask: (peer, request, wait) => this.ask(peer, request, wait) }, row, { signal: limit.signal }))?.value
    const outcome = await this.#run(row, this.#options.newReader?.() ?? new Reader(), limit.signal, { makesBallots: false })
    if (outcome.kind === 'done') return outcome.result?.value
    if (outcome.kind === 'settle') return await this.#changeRow(row, (current) => ({ kind: 'keep', result: current }), limit.signal)
    throw this.#errorOf(outcome, signal)
  }

  async change<T> (address: RowAddress, change: (current: Uint8Array | undefined, revision: bigint) => Change<T>, { signal }: { signal: AbortSignal | undefined }): Promise<T> {
    const row = this.#rowOf(address)
    using limit = deadline(this.#options.clock, this.#timing.operationMs, { signal, what: 'change of a row' })
    // one after the other: two proposers of one node would only outbid each other
    const result = await this.#queue.run(nameOf(row), async () => {
      signal?.throwIfAborted()
      return await this.#changeRow<() => T>(row, (current, revision) => laterResult(() => change(current, revision)), limit.signal, { signal })
    })
    return result()
  }

  async settle ({ table, rowKey }: { table: TableNumber, rowKey: Uint8Array }, { signal, above = 0n }: { signal?: AbortSignal, above?: bigint }): Promise<void> {
    const { counters } = this.#options
    const own = await counters.nextCounter(0n)
    // one absurdly far above is a liar's: no contest of ours to win
    if (above > own && above <= own + ballotLimits.maxCounterJump) await counters.nextCounter(above)
    using limit = deadline(this.#options.clock, this.#timing.operationMs, { signal, what: 'identity round' })
    await this.#changeRow({ table, rowKey, erased: empty }, () => ({ kind: 'keep', result: undefined }), limit.signal, { signal, isAfresh: true })
  }

  /** Asks one replica, the own one directly, with a time limit of its own. */
  async ask (peer: PeerId, request: TableRequest, { signal }: { signal?: AbortSignal }): Promise<TableAnswer> {
    const { self, replica, peers, clock, adoptLayout } = this.#options
    using limit = deadline(clock, this.#timing.askMs, { signal, what: 'answer of a replica' })
    const answer = peer === self ? await replica.answer(self, request) : await peers.ask(peer, request, { signal: limit.signal })
    if (answer.kind === 'staleLayout') await adoptLayout(answer.layout, peer)
    return answer
  }

  async #changeRow<T> (row: Row, change: (current: Uint8Array | undefined, revision: bigint) => Change<T>, limit: AbortSignal, { signal, isAfresh }: { signal?: AbortSignal, isAfresh?: boolean } = {}): Promise<T> {
    const { codec, random, self } = this.#options
    const { table, rowKey } = row
    const proposer = new Proposer<T>({
      proposer: keyOf(self),
      change,
      isAfresh,
      erased: row.erased,
      newOperationId: () => random.bytes(operationIdBytes),
      seal: (content, ballot) => codec.encode({ table, rowKey, content, ballot }),
      reseal: (record, ballot) => codec.reproposed({ table, rowKey, record, ballot }),
    })
    const outcome = await this.#run(row, proposer, limit, { makesBallots: true })
    if (outcome.kind === 'done') return outcome.result
    throw this.#errorOf(outcome, signal)
  }

  async #run<T> (row: Row, machine: RoundMachine<T>, signal: AbortSignal, { makesBallots }: { makesBallots: boolean }): ReturnType<Operation<T>['run']> {
    const { counters, voters, codec, clock, random, peers, self, late } = this.#options
    const operation = new Operation<T>({
      row: { table: row.table, rowKey: row.rowKey }, machine, codec, clock, random, voters, late, timing: this.#timing,
      nextCounter: makesBallots ? (atLeast) => counters.nextCounter(atLeast) : undefined,
      reachable: () => new Set([self, ...peers.reachable()]),
      paces: this.#paces,
      ask: (peer, request, wait) => this.ask(peer, request, wait),
    })
    return await operation.run(signal)
  }

  #errorOf (outcome: Exclude<Awaited<ReturnType<Operation<unknown>['run']>>, { kind: 'done' }>, signal: AbortSignal | undefined): Error {
    if (outcome.kind === 'settle') return new Unavailable('the row is contended')
    const cause: unknown = signal?.aborted === true ? signal.reason : outcome.cause
    if (outcome.outcome === 'unknown') return new UnknownOutcome(`the change may have happened: ${outcome.why}`, { cause })
    if (signal?.aborted === true && cause instanceof Error) return cause
    // of this node's own store, which says what is to be done
    const reason = cause instanceof DfsError ? ` (${cause.message})` : ''
    return new Unavailable(`no majority of the row's replicas: ${outcome.why}${reason}`, { cause })
  }

  #rowOf (address: RowAddress): Row {
    return { table: address.table, rowKey: this.#options.codec.rowKeyOf(address), erased: encodeErased(address) }
  }
}

interface Row { readonly table: TableNumber, readonly rowKey: Uint8Array, readonly erased: Uint8Array }

/** A change that throws is a failed condition: it is told once what it saw is chosen, like any other. */
function laterResult<T> (change: () => Change<T>): Change<() => T> {
  try {
    const decision = change()
    return { ...decision, result: () => decision.result }
  } catch (error) {
    return { kind: 'keep', result: () => { throw error } }
  }
}
