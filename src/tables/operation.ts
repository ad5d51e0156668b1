import { equals } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { Corrupt } from '../base/errors.ts'
import type { Paces } from '../base/pace.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Random } from '../base/random.ts'
import type { RowCodec, TableNumber, Voters } from './index.ts'
import type { LateDelivery } from './late-delivery.ts'
import type { TableAnswer, TableRequest } from './messages.ts'
import { openRecord } from './opened-record.ts'
import { partitionOfTable } from './clear-rows.ts'
import type { RegisterTiming } from './registers.ts'
import { leastMajority } from './electorate.ts'
import type { OpenedRecord, RoundEffect, RoundEvent } from './round.ts'

/** A pure state machine of one operation: Proposer or Reader. */
export interface RoundMachine<T> {
  readonly stage: number
  /** Something was sent out that may come to be chosen: whatever ends the operation now, nobody can tell whether it happened. */
  readonly mayHaveHappened?: boolean
  on (event: RoundEvent): ReadonlyArray<RoundEffect<T>>
}

export interface OperationPorts<T> {
  readonly row: { readonly table: TableNumber, readonly rowKey: Uint8Array }
  readonly machine: RoundMachine<T>
  readonly codec: RowCodec
  readonly clock: Clock
  readonly random: Random
  readonly voters: Voters
  readonly late: Pick<LateDelivery, 'offer'> | undefined
  readonly timing: RegisterTiming
  /** Undefined: the machine makes no ballot. A counter may cost a write, so what only reads takes none: it goes on where the disk is full or failing. */
  readonly nextCounter: ((atLeast: bigint) => Promise<bigint>) | undefined
  /** The nearest first. */
  readonly reachable: () => ReadonlySet<PeerId>
  readonly paces: Paces
  readonly ask: (peer: PeerId, request: TableRequest, options: { signal?: AbortSignal }) => Promise<TableAnswer>
}

const operationOver = new Error('the operation is over')

export type OperationOutcome<T> =
  | { readonly kind: 'done', readonly result: T }
  | { readonly kind: 'settle' }
  | { readonly kind: 'fail', readonly outcome: 'unavailable' | 'unknown', readonly why: string, readonly cause: unknown }

/**
 * Carries out what a machine says until it is done. What is accepted goes to every voter; a mere question, to as many as a majority needs, the nearest first,
 * and to the others when one of those fails, refuses, disagrees or is late. Questions still out when a majority has spoken go on to their own end: calling
 * them back would cost a message each, more than the answer.
 */
export class Operation<T> {
  readonly #ports: OperationPorts<T>
  readonly #outcome = Promise.withResolvers<OperationOutcome<T>>()
  readonly #over = new AbortController()
  #isOver = false
  #opened: OpenedRecord | undefined
  #lastFailure: unknown
  #asked: { stage: number, version: bigint, open: Set<PeerId> } = { stage: 0, version: 0n, open: new Set() }
  #chosen: Uint8Array | undefined
  /** Voters that need not be asked yet. */
  #reserve: { readonly stage: number, readonly ask: () => void, readonly cancel: () => void, open: number } | undefined

  constructor (ports: OperationPorts<T>) { this.#ports = ports }

  async run (signal: AbortSignal): Promise<OperationOutcome<T>> {
    const onAbort = (): void => { this.#lastFailure ??= signal.reason; this.#tell({ kind: 'timeUp' }) }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      if (signal.aborted) onAbort()
      this.#begin(0, 0n)
      return await this.#outcome.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#over.abort(operationOver)
    }
  }

  #begin (stage: number, atLeast: bigint): void {
    const { nextCounter, row, voters, reachable } = this.#ports
    if (this.#isOver) return
    const taken = nextCounter === undefined ? Promise.resolve(0n) : nextCounter(atLeast)
    taken.then((counter) => {
      this.#tell({ kind: 'begin', stage, counter, electorate: voters.electorate(partitionOfTable(row)), reachable: reachable() })
    }, (error: unknown) => { this.#broken(error) })
  }

  #tell (event: RoundEvent): void {
    if (this.#isOver) return
    try {
      for (const effect of this.#ports.machine.on(event)) this.#do(effect)
    } catch (error) {
      this.#broken(error)
    }
  }

  /** It cannot go on. */
  #broken (cause: unknown): void {
    const why = 'it was sent out, and cannot be tried again'
    if (this.#ports.machine.mayHaveHappened === true) this.#end(() => { this.#outcome.resolve({ kind: 'fail', outcome: 'unknown', why, cause }) })
    else this.#end(() => { this.#outcome.reject(cause as Error) })
  }

  #do (effect: RoundEffect<T>): void {
    switch (effect.kind) {
      case 'ask': this.#askAll(effect); break
      case 'backOff': this.#backOff(effect); break
      case 'settle': this.#end(() => { this.#outcome.resolve({ kind: 'settle' }) }); break
      case 'fail': this.#end(() => { this.#outcome.resolve({ kind: 'fail', outcome: effect.outcome, why: effect.why, cause: this.#lastFailure }) }); break
      case 'done':
        this.#deliverLate(effect)
        this.#end(() => { this.#outcome.resolve({ kind: 'done', result: effect.result }) })
        break
      default: effect satisfies never
    }
  }

  #end (tell: () => void): void {
    this.#isOver = true
    this.#letReserveGo()
    tell()
  }

  #askAll ({ stage, electorate, peers, question }: Extract<RoundEffect<T>, { kind: 'ask' }>): void {
    const { row } = this.#ports
    this.#asked = { stage, version: electorate.version, open: new Set(peers) }
    this.#letReserveGo()
    const request: TableRequest = { version: electorate.version, ...row, ...question }
    const askEach = (some: readonly PeerId[]): void => { for (const peer of some) this.#ask(stage, peer, request) }
    if (question.kind !== 'prepare' && question.kind !== 'read') { askEach(peers); return }
    const order = this.#inOrder(peers)
    const first = leastMajority(electorate, order)
    const others = order.filter((peer) => !first.includes(peer))
    if (others.length > 0) this.#hold(stage, first, () => { askEach(others) })
    askEach(first)
  }

  #ask (stage: number, peer: PeerId, request: TableRequest): void {
    const { ask, clock, paces } = this.#ports
    const start = clock.monotonicMs()
    ask(peer, request, {}).then(
      (answer) => { paces.answered(peer, clock.monotonicMs() - start); this.#answered(stage, peer, answer) },
      (cause: unknown) => { paces.suspect(peer); this.#failed(stage, peer, cause) },
    ).finally(() => { this.#heard(stage) })
  }

  #inOrder (peers: readonly PeerId[]): readonly PeerId[] {
    const nearest = [...this.#ports.reachable()]
    return this.#ports.paces.inOrder(peers.toSorted((a, b) => nearest.indexOf(a) - nearest.indexOf(b)))
  }

  #hold (stage: number, first: readonly PeerId[], ask: () => void): void {
    const { clock, paces } = this.#ports
    const cancel = clock.after(Math.max(...first.map((peer) => paces.lateAfterMs(peer))), () => {
      for (const peer of first) if (this.#asked.open.has(peer)) paces.suspect(peer)
      this.#release(stage)
    })
    this.#reserve = { stage, ask, cancel, open: first.length }
  }

  #letReserveGo (): void {
    this.#reserve?.cancel()
    this.#reserve = undefined
  }

  /** One of the first has spoken; when all have and it is not enough, the others are asked. */
  #heard (stage: number): void {
    if (this.#reserve?.stage === stage && --this.#reserve.open === 0) this.#release(stage)
  }

  #release (stage: number): void {
    const reserve = this.#reserve
    if (reserve?.stage !== stage) return
    this.#letReserveGo()
    reserve.ask()
  }

  #answered (stage: number, peer: PeerId, answer: TableAnswer): void {
    if (this.#isOver) return
    switch (answer.kind) {
      case 'promised': case 'value': {
        let accepted: OpenedRecord | undefined
        this.#asked.open.delete(peer)
        try { accepted = this.#open(answer.accepted) } catch (cause) {
          if (!(cause instanceof Corrupt)) { this.#broken(cause); return }
          this.#failed(stage, peer, cause)
          return
        }
        this.#tell({ kind: answer.kind, stage, peer, accepted, floor: answer.floor })
        return
      }
      case 'accepted':
        this.#asked.open.delete(peer)
        this.#tell({ kind: 'accepted', stage, peer })
        return
      case 'refused':
        this.#tell({ kind: 'refused', stage, peer, promised: answer.promised })
        this.#release(stage)
        return
      default: this.#failed(stage, peer, new Corrupt(`a replica answers ${answer.kind}`))
    }
  }

  #failed (stage: number, peer: PeerId, cause: unknown): void {
    if (this.#isOver) {
      // an accept that got lost after its round was won
      if (this.#chosen !== undefined && stage === this.#asked.stage) this.#ports.late?.offer(peer, { ...this.#ports.row, version: this.#asked.version, record: this.#chosen })
      return
    }
    this.#lastFailure = cause
    if (stage === this.#asked.stage) this.#asked.open.delete(peer)
    this.#tell({ kind: 'failed', stage, peer })
    this.#release(stage)
  }

  /** Voters known to have missed what was chosen get it later; those still silent are waited for in the background, by `#failed`. */
  #deliverLate ({ chosen, unanswered }: Extract<RoundEffect<T>, { kind: 'done' }>): void {
    if (chosen === undefined) return
    this.#chosen = unanswered.length > 0 ? chosen : undefined
    for (const peer of unanswered) if (!this.#asked.open.has(peer)) this.#ports.late?.offer(peer, { ...this.#ports.row, version: this.#asked.version, record: chosen })
  }

  // most answers hold the same record: open it once
  #open (record: Uint8Array | undefined): OpenedRecord | undefined {
    if (record === undefined) return undefined
    if (this.#opened === undefined || !equals(this.#opened.record, record)) this.#opened = openRecord(this.#ports.codec, { ...this.#ports.row, record })
    return this.#opened
  }

  /** Full jitter over a doubling pause (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). */
  #backOff ({ stage, attempt, atLeast }: Extract<RoundEffect<T>, { kind: 'backOff' }>): void {
    const { clock, random, timing } = this.#ports
    const ceiling = Math.min(timing.maxPauseMs, timing.pauseMs * 2 ** Math.min(attempt, 16))
    clock.sleep(ceiling * random.fraction(), { signal: this.#over.signal }).then(
      () => { this.#begin(stage, atLeast) },
      () => { /* the operation is over: nobody waits for the pause */ })
  }
}
