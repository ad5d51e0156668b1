import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { assign, type AssignmentAlgorithm, assignmentAlgorithms, type Holder } from '../../src/cluster/assignment.ts'
import { changing, closing, encodeLayout, type Layout, openLayout, settled } from '../../src/cluster/index.ts'
import { fairShares } from '../../src/cluster/fair-shares.ts'
import { layoutMember } from '../support/cluster-identities.ts'
import { forcedMoves } from '../support/forced-moves.ts'
import { blocks, type Change, cut, history, historyLimits, type Kind, movedBetween, rows } from '../support/layout-histories.ts'
import { tried } from '../support/tried.ts'

// more: LAYOUT_HISTORIES=2000; LAYOUT_SEED starts elsewhere
const histories = Number(process.env.LAYOUT_HISTORIES ?? 12)
const firstSeed = Number(process.env.LAYOUT_SEED ?? 1)
const { partitions } = historyLimits
/** Of copies and of shards by default, and the first alone. */
const widthsThatServe: readonly number[] = [1, 3, 6]
/** Of many histories the sums are printed. */
const isPrinted = histories >= 100

/** What one history, or all, came to. */
interface Findings {
  readonly uneven: string[]
  readonly unfit: string[]
  /** Shares that are off, by width. */
  readonly off: Array<{ readonly width: number, readonly where: string }>
  shares: number
  /** Of them, those that are within 5 %. */
  promised: number
  changes: number
  readonly moves: Array<{ readonly what: Change['what'], readonly width: number, readonly moved: number, readonly forced: number, readonly where: string }>
}

function examine (kind: Kind, seed: number, findings: Findings): void {
  for (const change of history(seed, kind)) {
    findings.changes++
    const where = `${kind.name}, seed ${seed}, step ${change.step}, ${change.what}`
    const { holders, positions, before, after } = change
    if (change.step % 4 === 1 && JSON.stringify(assign({ holders: holders.toReversed(), positions, widths: kind.widths, previous: before }, assignmentAlgorithms.nested)) !== JSON.stringify(after)) findings.unfit.push(`${where}: another order of holders gives other lists`)
    if (after.some((list) => list.length !== positions || new Set(list).size !== positions)) findings.unfit.push(`${where}: somebody sits twice`)
    examineZones(kind, change, where, findings)
    examineShares(kind, change, where, findings)
    if (change.what === 'settle') continue
    for (const width of new Set((kind === rows ? [5] : [3, 6]).map((most) => Math.min(most, positions)))) {
      const [were, are] = [cut(before, width), cut(after, width)]
      findings.moves.push({ what: change.what, width, moved: movedBetween(were, are), forced: forcedMoves({ holders, positions: width, previous: were, tolerance: 0.02 }), where })
    }
  }
}

function examineZones (kind: Kind, { holders, positions, after }: Change, where: string, { uneven }: Findings): void {
  const zones = [...new Set(holders.map(({ zone }) => zone))]
  const sizes = zones.map((zone) => holders.filter((holder) => holder.zone === zone).length)
  const zoneOf = new Map(holders.map(({ index, zone }) => [index, zones.indexOf(zone)]))
  for (const list of after) {
    const counts = zones.map(() => 0)
    for (const [n, index] of list.entries()) {
      counts[zoneOf.get(index) ?? 0]!++
      // rows are asked all at once: there is no first so many of them
      if (kind === rows && n < positions - 1) continue
      const least = Math.min(...counts.filter((count, zone) => count < (sizes[zone] ?? 0)))
      if (Math.max(...counts) > least + 1) uneven.push(`${where}: ${list.join()} at position ${n}`)
    }
  }
}

function examineShares (kind: Kind, { holders, positions, after }: Change, where: string, findings: Findings): void {
  const zones = [...new Set(holders.map(({ zone }) => zone))]
  const { ofHolder } = fairShares({ holders, zoneOf: holders.map(({ zone }) => zones.indexOf(zone)), zones: zones.length, positions })
  for (let width = kind === rows ? positions : 1; width <= positions; width++) {
    const loads = new Map<number, number>()
    for (const list of after) for (const index of list.slice(0, width)) loads.set(index, (loads.get(index) ?? 0) + 1)
    for (const [holder, { index }] of holders.entries()) {
      findings.shares++
      if (kind === rows || widthsThatServe.includes(width)) findings.promised++
      const ideal = (ofHolder[width - 1]?.[holder] ?? 0) * partitions
      const load = loads.get(index) ?? 0
      if (Math.abs(load - ideal) > Math.max(1, ideal * 0.05)) findings.off.push({ width, where: `${where}, width ${width}: ${load} for ${ideal.toFixed(1)} of ${holders.length}` })
    }
  }
}

describe('the assignment, over random histories of who holds', () => {
  const findings: Findings = { uneven: [], unfit: [], off: [], shares: 0, promised: 0, changes: 0, moves: [] }
  beforeAll(() => {
    for (const kind of [blocks, rows]) for (let seed = firstSeed; seed < firstSeed + histories; seed++) examine(kind, seed, findings)
    if (isPrinted) print(findings)
  }, 120_000 + histories * 5000)

  test('does not depend on the order of holders, and seats nobody twice', ({ task }) => {
    tried(task, { what: 'changes of assignments: order of holders, nobody twice', times: findings.changes, lost: findings.unfit.length })
    expect(findings.unfit).toEqual([])
  })

  test('never puts two copies into one zone while another has a node left', ({ task }) => {
    tried(task, { what: 'changes of assignments: zones', times: findings.changes, lost: findings.uneven.length })
    expect(findings.uneven).toEqual([])
  })

  test('gives shares of the widths that serve by themselves, and of rows, within 5 % of what capacities and zones allow, or a copy', ({ task }) => {
    const promised = findings.off.filter(({ where, width }) => widthsThatServe.includes(width) || where.startsWith('rows')).map(({ where }) => where)
    tried(task, { what: 'shares of holders in them, within 5 %', times: findings.promised, lost: promised.length })
    expect(promised).toEqual([])
    // between the widths that redundancies use by default, and behind them, what those have chosen can leave too little choice
    expect(findings.off.length / findings.shares, findings.off.map(({ where }) => where).join('\n')).toBeLessThan(0.01)
  })

  test.each([['of three copies', 3], ['of six shards', 6], ['of rows', 5]] as const)('moves no more than 1.1 times what capacities and zones force, when a node joins or leaves: %s', (_, width) => {
    const moves = findings.moves.filter((move) => move.width === width && (move.what === 'join' || move.what === 'leave'))
    const sum = (of: 'moved' | 'forced'): number => moves.reduce((total, move) => total + move[of], 0)
    expect(sum('forced')).toBeGreaterThan(0)
    expect(sum('moved') / sum('forced')).toBeLessThan(1.01)
    // nor in any single change; of the first three, which must be among six that move the least, a few lists more
    const most = ({ forced }: { readonly forced: number }): number => 1.1 * forced + (width === 3 ? partitions * 3 * 0.05 : 2)
    expect(moves.filter((move) => move.moved > most(move)).map(({ where, moved, forced }) => `${where}: ${moved} for ${forced}`)).toEqual([])
  })

  test('never moves fewer than are forced', () => expect(findings.moves.filter(({ moved, forced }) => moved < forced - 4)).toEqual([]))

  test('of nodes that are alike, moves no more than that, whatever their number', () => {
    const alike = (count: number): Holder[] => Array.from({ length: count }, (_, index) => ({ index, zone: '', weight: 1, key: hash(utf8(`alike ${index}`)) }))
    for (const count of [9, 20, 60]) {
      const settle = assign({ holders: alike(count), positions: 8, widths: [3, 6], previous: Array.from({ length: partitions }, () => []) }, assignmentAlgorithms.nested)
      const joined = assign({ holders: alike(count + 1), positions: 8, widths: [3, 6], previous: settle }, assignmentAlgorithms.nested)
      expect(movedBetween(settle, joined)).toBeLessThanOrEqual(Math.ceil(partitions * 8 / (count + 1)) + 8)
      const left = assign({ holders: alike(count + 1).filter(({ index }) => index !== 3), positions: 8, widths: [3, 6], previous: joined }, assignmentAlgorithms.nested)
      expect(movedBetween(joined, left)).toBeLessThanOrEqual(joined.flat().filter((index) => index === 3).length + 8)
      // a holder keeps its position: but for few, a copy moves to the position that was given up
      const seats = left.reduce((sum, list, partition) => sum + list.filter((holder, position) => joined[partition]?.[position] !== holder).length, 0)
      expect(seats).toBeLessThanOrEqual(1.6 * joined.flat().filter((index) => index === 3).length)
    }
  }, 120_000)
})

describe('algorithms of assignment', () => {
  const vectors = JSON.parse(readFileSync(new URL('../vectors/layout-vectors.json', import.meta.url), 'utf8')) as ReadonlyArray<{ algorithm: AssignmentAlgorithm, members: number, zones: number, settled: string, changing: string, joining: string }>
  test.each(vectors)('give what they always gave: $algorithm, of $members in $zones zones', ({ algorithm, members, zones, settled: expected, changing: expectedNext, joining }) => {
    const all = Array.from({ length: members + 1 }, (_, i) => layoutMember(`vector ${i}`, { zone: `zone ${i % zones}`, capacityBytes: 1000 + 100 * (i % 4) }))
    const [founder] = all
    if (founder === undefined) throw new Error('nobody')
    const layout = settled(closing(openLayout(founder, algorithm)), all.slice(0, members))
    expect(hexOf(hash(encodeLayout(layout)))).toBe(expected)
    const tablesOf = ({ next }: Layout): string => hexOf(hash(utf8(JSON.stringify([next?.rowHolders, next?.blockHolders]))))
    // one joins and one leaves; one joins
    expect(tablesOf(changing(layout, all.slice(1)))).toBe(expectedNext)
    expect(tablesOf(changing(layout, all))).toBe(joining)
  })
})

function print ({ moves, off, shares }: Findings): void {
  for (const what of ['join', 'leave', 'capacity', 'zone'] as const) {
    for (const width of [3, 6, 5]) {
      const of = moves.filter((move) => move.what === what && move.width === width)
      const [moved, forced] = [of.reduce((sum, move) => sum + move.moved, 0), of.reduce((sum, move) => sum + move.forced, 0)]
      const worst = of.toSorted((a, b) => (b.moved - 1.1 * b.forced) - (a.moved - 1.1 * a.forced))[0]
      const over = of.filter((move) => move.moved > 1.1 * move.forced + 2).length
      console.log(`${what}, width ${width}: ${of.length} changes, moved / forced ${(moved / Math.max(1, forced)).toFixed(4)}, above 1.1: ${over}, worst ${worst?.moved} for ${worst?.forced} (${worst?.where})`)
    }
  }
  console.log(`${shares} shares; off: ${[1, 2, 3, 4, 5, 6, 7, 8].map((width) => `${off.filter((one) => one.width === width).length} at width ${width}`).join(', ')}`)
  for (const { where, width } of off) if ([1, 2, 3, 6].includes(width)) console.log(where)
}
