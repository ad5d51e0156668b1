import { textOf, utf8 } from '../../src/base/bytes.ts'
import { Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { type Change, type Registers, type RowAddress, tables } from '../../src/tables/index.ts'
import type { SimulatedCluster } from './cluster.ts'
import type { Invocation } from './linearizable.ts'

/** What clients do to a row, each with what a register would make of it. Undefined: there is no such row. */
export type State = string | undefined
export interface Recorded extends Invocation<State> { readonly key: string }

export const addressOf = (key: string): RowAddress => ({ table: tables.objects, scope: new Uint8Array(16), key: utf8(key) })

interface Seen { readonly told: string, readonly state: State }
export interface Action {
  readonly what: string
  readonly mayWrite: boolean
  readonly run: (registers: Registers, key: string) => Promise<Seen>
  /** `told` undefined: nobody knows what it answered. */
  readonly apply: (state: State, told: string | undefined) => { readonly state: State } | 'impossible'
}

export const read: Action = {
  what: 'read',
  mayWrite: false,
  run: async (registers, key) => { const state = textAt(await registers.read(addressOf(key))); return { told: String(state), state } },
  apply: (state, told) => (told === String(state) ? { state } : 'impossible'),
}
export const write = (value: string): Action => change(`write ${value}`, () => ({ state: value, told: 'done' }))
export const append = (text: string, start = ''): Action => change(`append ${text}`, (state) => { const next = `${state ?? start}${text}`; return { state: next, told: next } })
export const erase: Action = change('erase', (state) => ({ state: undefined, told: state === undefined ? 'absent' : 'erased' }))
export const create = (value: string): Action => change(`create ${value}`, (state) => (state === undefined ? { state: value, told: 'created' } : { state, told: 'exists' }))
export const toggle = (one: string, other: string): Action => change('toggle', (state) => { const next = state === one ? other : one; return { state: next, told: next } })
export const compareAndSet = (from: State, to: string): Action => change(`cas ${from} to ${to}`, (state) => (state === from ? { state: to, told: 'done' } : { state, told: `mismatch ${state}` }))

function change (what: string, decide: (state: State) => Seen): Action {
  return {
    what,
    mayWrite: true,
    run: async (registers, key) => await registers.change<Seen>(addressOf(key), (current): Change<Seen> => {
      const before = textAt(current)
      const result = decide(before)
      if (result.state === before) return { kind: 'keep', result }
      return result.state === undefined ? { kind: 'erase', result } : { kind: 'write', value: utf8(result.state), result }
    }),
    apply: (before, told) => {
      const decided = decide(before)
      return told === undefined || told === decided.told ? { state: decided.state } : 'impossible'
    },
  }
}

const textAt = (value: Uint8Array | undefined): State => (value === undefined ? undefined : textOf(value))

/** Has a node do it. What is recorded is what the client may count on: an outcome, that it may have happened, or nothing. */
export async function carryOut (cluster: SimulatedCluster, { name, peer, key, action, record }: { name: string, peer: PeerId, key: string, action: Action, record: (operation: Recorded) => void }): Promise<Seen | undefined> {
  const startMs = cluster.time.nowMs
  const outcome = await outcomeOf(cluster, peer, (registers) => action.run(registers, key))
  if (outcome.kind === 'told') {
    const { told } = outcome.seen
    record({ key, what: `${name} ${action.what} -> ${told}`, startMs, endMs: cluster.time.nowMs, isRead: !action.mayWrite, apply: (state) => action.apply(state, told) })
    return outcome.seen
  }
  if (outcome.kind === 'unknown' && action.mayWrite) record({ key, what: `${name} ${action.what} -> ?`, startMs, endMs: Infinity, apply: (state) => action.apply(state, undefined) })
  return undefined
}

export type Outcome<T> = { readonly kind: 'told', readonly seen: T } | { readonly kind: 'unknown' } | { readonly kind: 'nothing' }

/** What a client is told; a node that dies under it, or does not answer, leaves it not knowing. */
export async function outcomeOf<T> (cluster: SimulatedCluster, peer: PeerId, run: (registers: Registers) => Promise<T>): Promise<Outcome<T>> {
  const process = cluster.processOf(peer)
  if (!process.isAlive) return { kind: 'nothing' }
  const told = run(process.registers).then(
    (seen): Outcome<T> => ({ kind: 'told', seen }),
    (error: unknown): Outcome<T> => {
      if (error instanceof UnknownOutcome) return { kind: 'unknown' }
      if (error instanceof Unavailable) return { kind: 'nothing' }
      throw error
    })
  return await Promise.race([told, died(cluster, process)])
}

async function died (cluster: SimulatedCluster, process: { readonly isAlive: boolean }): Promise<{ readonly kind: 'unknown' }> {
  const endMs = cluster.time.nowMs + 700
  while (process.isAlive && cluster.time.nowMs < endMs) await cluster.time.sleep(5)
  return { kind: 'unknown' }
}
