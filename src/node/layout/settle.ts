import { Unavailable } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { allVotersOf, closing, describeMember, encodeLayout, fittingMembers, type Layout, layoutMemberOf, parseLayout, settled } from '../../cluster/index.ts'
import type { Registers } from '../../tables/index.ts'
import { majorityOf } from '../../tables/electorate.ts'
import { type ClearRowFound, type ClearRowSources, membersAmong, readClearRows } from '../membership/clear-rows.ts'
import { layoutAddress } from '../membership/membership.ts'
import type { ClusterState } from '../state.ts'

/**
 * The first bucket settles the layout (until then the founder alone decides): joining is closed by compare-and-set, the clear rows go to everybody who
 * joined, one layout of them all is decided by the founder, and then held by a majority of those whom it names. Each step is safe to repeat, by any member:
 * a node that dies half way leaves it to the next bucket, and no bucket is made before the last step is done.
 */
export interface SettleParts extends ClearRowSources {
  readonly registers: Registers
  /** They have joined, and hold and decide nothing: the layout has no place for them. */
  readonly onLeftOut: (peers: readonly PeerId[]) => void
}

/** Resolves when the layout is settled for good; at once when it was before. @throws Unavailable; Refused if no layout can hold who has joined */
export function layoutSettler (parts: SettleParts): (wait: { signal?: AbortSignal }) => Promise<void> {
  let isHeld = false
  return async (wait) => {
    if (isHeld) return
    if (!isSettled(parts.state)) await settle(parts, wait)
    await holdByMajority(parts, wait)
    isHeld = true
  }
}

/** Or was, and changes by now. */
const isSettled = ({ layout }: ClusterState): boolean => layout.state === 'settled' || layout.state === 'changing'

async function settle (parts: SettleParts, wait: { signal?: AbortSignal }): Promise<void> {
  const { state, ask } = parts
  if (state.layout.state === 'open') {
    // what could not be finished is not begun: once joins are refused, nobody new can make up a majority
    const { voters } = await settledFor(parts, closing(state.layout), wait)
    await demandMajority(voters, async (voter) => { await ask(voter, { kind: 'digest', partitions: [] }, wait) })
  }
  await state.adoptLayout(encodeLayout(await advanced(parts, (layout) => layout.state === 'open' ? closing(layout) : layout, wait)))
  if (isSettled(state)) return
  // joins under the open layout are refused by now, so this is everybody
  const { layout, leftOut } = await settledByFounder(parts, wait)
  await state.adoptLayout(encodeLayout(layout))
  if (leftOut.length > 0) parts.onLeftOut(leftOut)
}

/** Settled only when a majority of its voters has what the founder has, all of it: where the layout's row was written meanwhile, that one has decided something more (closing-registers.ts). @throws Unavailable */
async function settledByFounder (parts: SettleParts, wait: { signal?: AbortSignal }): Promise<{ readonly layout: Layout, readonly leftOut: readonly PeerId[] }> {
  for (let round = 0; round < maxRounds; round++) {
    const since = await parts.registers.change<bigint>(layoutAddress, (_, revision) => ({ kind: 'keep', result: revision }), wait)
    const { rows, layout, voters, leftOut } = await settledFor(parts, parts.state.layout, wait)
    await demandMajority(voters, async (voter) => { await handOver(parts, rows, voter, wait) })
    const chosen = await advanced(parts, (current, revision) => current.state === 'closing' && revision === since ? layout : current, wait)
    if (chosen.state !== 'closing') return { layout: chosen, leftOut }
  }
  throw new Unavailable('what the cluster says of itself changes all the time: try again')
}

const maxRounds = 10

/** What the founder has, and the layout that follows from it. */
async function settledFor (parts: SettleParts, closed: Layout, wait: { signal?: AbortSignal }): Promise<{ rows: readonly ClearRowFound[], layout: Layout, voters: readonly PeerId[], leftOut: readonly PeerId[] }> {
  const rows = await readClearRows(parts, wait)
  for (const row of membersAmong(rows)) await parts.state.remember(row)
  // who was removed has a row still
  const members = membersAmong(rows).filter((row) => parts.state.belongs(describeMember(row).peerId))
  const { fitting, leftOut } = fittingMembers(closed, members.map(layoutMemberOf))
  const layout = settled(closed, fitting)
  return { rows, layout, voters: allVotersOf(layout), leftOut: leftOut.map(({ peerId }) => peerId) }
}

/** The layout row after `next` of what it says; unchanged where there is nothing to do. */
async function advanced ({ registers, state }: SettleParts, next: (layout: Layout, revision: bigint) => Layout, wait: { signal?: AbortSignal }): Promise<Layout> {
  return registers.change<Layout>(layoutAddress, (value, revision) => {
    const current = value === undefined ? state.layout : parseLayout(value)
    const result = next(current, revision)
    return result === current ? { kind: 'keep', result } : { kind: 'write', value: encodeLayout(result), result }
  }, wait)
}

/**
 * The founder alone has decided it, so it may be alone in holding it: those whom it names make it chosen among themselves. Where none of a majority has
 * heard of it, it is written anew: a layout of this version can say nothing else.
 */
async function holdByMajority ({ registers, state }: SettleParts, wait: { signal?: AbortSignal }): Promise<void> {
  const { layout } = state
  await registers.change<void>(layoutAddress, (value) => {
    const isThere = value !== undefined && parseLayout(value).version >= layout.version
    return isThere ? { kind: 'keep', result: undefined } : { kind: 'write', value: encodeLayout(layout), result: undefined }
  }, wait)
}

async function handOver ({ ask }: SettleParts, rows: readonly ClearRowFound[], voter: PeerId, wait: { signal?: AbortSignal }): Promise<void> {
  for (const { table, rowKey, record } of rows) {
    const answer = await ask(voter, { kind: 'handOver', table, rowKey, record }, wait)
    if (answer.kind !== 'accepted') throw new Unavailable(`it answered ${answer.kind}`)
  }
}

/** For every voter that can be reached; enough when it is done with a majority. @throws Unavailable naming the others */
async function demandMajority (voters: readonly PeerId[], act: (voter: PeerId) => Promise<void>): Promise<void> {
  const failures: string[] = []
  await Promise.all(voters.map(async (voter) => {
    try { await act(voter) } catch (error) {
      failures.push(`${voter}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }))
  if (voters.length - failures.length < majorityOf(voters.length)) {
    throw new Unavailable(`the first bucket settles the layout, for which a majority of the ${voters.length} members must be up (${failures.join('; ')})`)
  }
}
