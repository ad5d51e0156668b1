import { utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { assign, assignmentAlgorithms, type Holder } from '../../src/cluster/assignment.ts'

export type Lists = ReadonlyArray<readonly number[]>

export interface Kind { readonly name: 'blocks' | 'rows', readonly widest: (holders: number) => number, readonly widths: readonly number[], readonly isWeighted: boolean }
export const blocks: Kind = { name: 'blocks', widest: (holders) => Math.min(holders, 8), widths: [3, 6], isWeighted: true }
export const rows: Kind = { name: 'rows', widest: (holders) => (holders >= 5 ? 5 : Math.min(holders, 3)), widths: [], isWeighted: false }

export interface Change {
  readonly what: 'settle' | 'join' | 'leave' | 'capacity' | 'zone'
  readonly step: number
  readonly before: Lists
  readonly after: Lists
  readonly holders: readonly Holder[]
  readonly positions: number
}

export const historyLimits = { partitions: 512, changes: 8 } as const

/** Nodes that come, go, and change, from one seed: up to 23 in one to six zones; capacities differ by up to eight times. */
export function * history (seed: number, { widest, widths, isWeighted }: Kind): Iterable<Change> {
  const random = seededRandom(seed)
  const below = (most: number): number => Math.floor(random.fraction() * most)
  const zones = 1 + below(6)
  const isEven = random.fraction() < 0.4 || !isWeighted
  let made = 0
  const fresh = (): Holder => ({ index: made, zone: `zone ${below(zones)}`, weight: weight(random, isEven), key: hash(utf8(`holder ${made++}`)) })
  let holders: readonly Holder[] = Array.from({ length: 1 + below(16) }, fresh)
  let lists: Lists = Array.from({ length: historyLimits.partitions }, () => [])
  for (let step = 0; step < historyLimits.changes; step++) {
    const what = step === 0 ? 'settle' as const : (['join', 'join', 'leave', 'leave', 'capacity', 'zone'] as const)[below(6)] ?? 'join'
    const chosen = below(holders.length)
    if (what === 'join') holders = [...holders, fresh()]
    if (what === 'leave' && holders.length > 1) holders = holders.filter((_, i) => i !== chosen)
    if (what === 'capacity') holders = holders.map((holder, i) => (i === chosen ? { ...holder, weight: weight(random, isEven) } : holder))
    if (what === 'zone') holders = holders.map((holder, i) => (i === chosen ? { ...holder, zone: `zone ${below(zones)}` } : holder))
    const positions = widest(holders.length)
    const after = assign({ holders, positions, widths, previous: lists }, assignmentAlgorithms.nested)
    yield { what, step, before: lists, after, holders, positions }
    lists = after
  }
}

const weight = (random: Random, isEven: boolean): number => (isEven ? 1000 : Math.ceil(1000 * 8 ** random.fraction()))
export const cut = (lists: Lists, width: number): Lists => lists.map((list) => list.slice(0, width))
export const movedBetween = (before: Lists, after: Lists): number => after.reduce((sum, list, partition) => sum + list.filter((holder) => before[partition]?.includes(holder) !== true).length, 0)
