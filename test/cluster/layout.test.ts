import { readFileSync } from 'node:fs'
import { decode, encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, MalformedBytes } from '../../src/base/bytes.ts'
import { Refused } from '../../src/base/errors.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { allVotersOf, assignmentAlgorithms, blockHoldersOf, changed, changing, closing, describeMember, encodeInviteRow, encodeLayout, encodeMemberRow, fittingMembers, isSuccessor, type Layout, type LayoutMember, layoutLimits, openLayout, parseInviteRow, parseLayout, parseMemberRow, replicasOf, roles, settled } from '../../src/cluster/index.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed } from '../support/cluster-identities.ts'

const founder = layoutMember('founder')
const named = (count: number, optionsOf: (i: number) => Parameters<typeof layoutMember>[1] = () => ({})): LayoutMember[] =>
  Array.from({ length: count }, (_, i) => layoutMember(`node ${i}`, optionsOf(i)))
const settle = (members: readonly LayoutMember[]): Layout => settled(closing(openLayout(founder)), [founder, ...members])
const loadsOf = (lists: Layout['rowHolders'], count: number): number[] => Array.from({ length: count }, (_, index) => lists.filter((list) => list.includes(index)).length)
const firstOf = (lists: Layout['rowHolders'], positions: number): Layout['rowHolders'] => lists.map((list) => list.slice(0, positions))

describe('layouts', () => {
  test('an open layout is the founder alone, and a closing one too', () => {
    const open = openLayout(founder)
    expect([replicasOf(open, 9), allVotersOf(open)]).toEqual([[founder.peerId], [founder.peerId]])
    expect(closing(open)).toEqual({ ...open, version: 2n, state: 'closing' })
  })

  test('only an open layout closes, only a closing one settles', () => {
    const open = openLayout(founder)
    expect(() => closing(closing(open))).toThrow(Refused)
    expect(() => settled(open, [founder])).toThrow(Refused)
    expect(() => settled(settle([]), [founder])).toThrow(Refused)
  })

  test('a settled layout without the founder, or with another row store of its, is refused', () => {
    const before = closing(openLayout(founder))
    expect(() => settled(before, named(3))).toThrow(/missing/)
    expect(() => settled(before, [{ ...founder, storeId: new Uint8Array(16).fill(1) }])).toThrow(/row store/)
    expect(() => settled(before, [founder, founder])).toThrow(/twice/)
  })

  test.each([[1, 1], [2, 2], [3, 3], [4, 3], [5, 5], [7, 5]])('%i voters keep %i copies of a row', (voters, copies) => {
    const layout = settle(named(voters - 1))
    expect(layout.rowHolders.every((list) => list.length === copies && new Set(list).size === copies)).toBe(true)
  })

  test('clear tables live on all voters, sealed ones on the replicas of the partition', () => {
    const layout = settle([...named(6), layoutMember('disk', { role: roles.storage }), layoutMember('board', { role: roles.witness })])
    expect(allVotersOf(layout)).toHaveLength(8)
    expect(allVotersOf(layout)).not.toContain(peerNamed('disk'))
    expect(replicasOf(layout, 0x5a5)).toEqual(layout.rowHolders[0x5a5]?.map((index) => layout.members[index]?.peerId))
  })

  test('blocks go to storage and members with capacity, never to a witness', () => {
    const layout = settle([layoutMember('disk', { role: roles.storage }), layoutMember('board', { role: roles.witness }), layoutMember('full', { capacityBytes: 0 })])
    const holders = new Set(layout.blockHolders.flat().map((index) => layout.members[index]?.peerId))
    expect(holders).toEqual(new Set([founder.peerId, peerNamed('disk')]))
  })

  test('the same members in any order give the same layout', () => {
    const members = named(7, (i) => ({ zone: `zone ${i % 3}`, capacityBytes: 100 * (i + 1) }))
    const expected = encodeLayout(settle(members))
    fc.assert(fc.property(fc.shuffledSubarray(members, { minLength: 7 }), (shuffled) => { expect(encodeLayout(settle(shuffled))).toEqual(expected) }), { numRuns: 5 })
  })

  test('copies stand in distinct zones while there are enough', () => {
    const layout = settle(named(8, (i) => ({ zone: `zone ${i % 3}` })))
    const zonesOf = (list: readonly number[]): number => new Set(list.map((index) => layout.members[index]?.zone)).size
    expect(Math.min(...layout.blockHolders.map((list) => zonesOf(list.slice(0, 3))))).toBe(3)
    expect(Math.min(...layout.rowHolders.map((list) => zonesOf(list.slice(0, 3))))).toBe(3)
  })

  test('loads follow capacity within 5 %, for every number of copies', () => {
    const counts = fc.array(fc.integer({ min: 100, max: 400 }), { minLength: 9, maxLength: 14 })
    fc.assert(fc.property(counts, (capacities) => {
      const layout = settle(named(capacities.length, (i) => ({ capacityBytes: capacities[i] ?? 1 })))
      const total = layout.members.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0)
      for (const copies of [1, 2, 3]) {
        const loads = loadsOf(firstOf(layout.blockHolders, copies), layout.members.length)
        layout.members.forEach(({ capacityBytes }, i) => {
          const share = Math.min(4096, copies * 4096 * capacityBytes / total)
          // a share cut off at one copy a partition leaves more for the others
          if (layout.members.every((member) => copies * member.capacityBytes <= total)) expect(Math.abs((loads[i] ?? 0) - share) / share).toBeLessThan(0.05)
        })
      }
      const rows = loadsOf(layout.rowHolders, layout.members.length)
      expect(Math.max(...rows) / Math.min(...rows)).toBeLessThan(1.05)
    }), { numRuns: 8 })
  })

  test('the founder keeps the first position in its share of the partitions', () => {
    const layout = settle(named(3))
    const at = layout.members.findIndex(({ peerId }) => peerId === founder.peerId)
    const kept = layout.blockHolders.filter(([first]) => first === at).length
    expect(Math.abs(kept - 1024)).toBeLessThanOrEqual(21)
  })

  test('a layout names the algorithm that made its tables: the first in the old spelling, and later ones take its place and are never taken back', () => {
    const old = settled(closing(openLayout(founder, assignmentAlgorithms.greedy)), [founder, ...named(4)])
    expect([encodeLayout(old)[0], encodeLayout(settle(named(4)))[0]]).toEqual([1, 2])
    expect(parseLayout(encodeLayout(old))).toEqual(old)
    const more = [...old.members, layoutMember('another')]
    expect([changing(old, more).algorithm, isSuccessor(old, changing(old, more))]).toEqual([assignmentAlgorithms.greedy, true])
    const newer = changing(old, more, assignmentAlgorithms.level)
    expect([isSuccessor(old, newer), isSuccessor(newer, { ...changing(newer, old.members), algorithm: assignmentAlgorithms.greedy })]).toEqual([true, false])
    expect(() => changing(newer, more, assignmentAlgorithms.greedy)).toThrow(/not followed/)
    expect(() => parseLayout(encodeLayout(settle(named(2))).with(1, 9))).toThrow(/newer dfs/)
  })

  test('of more than a layout can hold the voters before and the first by peer key fit, in whatever order they come', () => {
    const { maxMembers } = layoutLimits
    const [members, wide] = [named(maxMembers + 1), named(60, () => ({ zone: 'z'.repeat(255) }))]
    const { fitting, leftOut } = fittingMembers(openLayout(founder), [...members, founder])
    expect([fitting.length, leftOut.length]).toEqual([maxMembers, 2])
    expect(fitting).toContain(founder)
    const keys = (of: readonly LayoutMember[]): string[] => of.filter((member) => member !== founder).map(({ peerId }) => hexOf(keyOf(peerId))).toSorted()
    expect([...keys(fitting), ...keys(leftOut)]).toEqual(keys(members))
    expect(fittingMembers(openLayout(founder), [founder, ...members.toReversed()])).toEqual({ fitting, leftOut })
    for (const many of [members, wide]) expect(settle(fittingMembers(openLayout(founder), [founder, ...many]).fitting.filter((member) => member !== founder)).state).toBe('settled')
    expect(fittingMembers(openLayout(founder), [...wide, founder]).leftOut.length).toBeGreaterThan(0)
    expect(fittingMembers(openLayout(founder), [founder, ...named(4)]).leftOut).toEqual([])
  })

  test('a successor is what the pure functions make, and nothing else', () => {
    const open = openLayout(founder)
    const next = settled(closing(open), [founder, ...named(4)])
    expect(isSuccessor(open, closing(open))).toBe(true)
    expect(isSuccessor(closing(open), next)).toBe(true)
    expect(isSuccessor(open, next)).toBe(false)
    expect(isSuccessor(closing(open), open)).toBe(false)
    expect(isSuccessor(closing(open), { ...next, version: next.version + 1n })).toBe(false)
    expect(isSuccessor(closing(open), { ...next, rowHolders: next.rowHolders.toReversed() })).toBe(false)
  })

  test('a layout that changes keeps who holds now beside who is to hold, and is finished by their holding alone', () => {
    const before = settle(named(3))
    const members = [...before.members.slice(1), ...named(5).slice(3)]
    const between = changing(before, members)
    expect(between).toMatchObject({ state: 'changing', version: before.version + 1n, members: before.members, rowHolders: before.rowHolders, blockHolders: before.blockHolders })
    const after = changed(between)
    expect(after).toEqual({ state: 'settled', version: before.version + 2n, algorithm: before.algorithm, ...between.next, next: undefined })
    expect(after.members.map(({ peerId }) => peerId).toSorted()).toEqual(members.map(({ peerId }) => peerId).toSorted())
    for (const partition of [0, 77, 4095]) expect(blockHoldersOf(between, partition)).toEqual([...new Set([...blockHoldersOf(after, partition), ...blockHoldersOf(before, partition)])])
  })

  test('what was to follow may be replaced while it has not, and who holds now holds on', () => {
    const before = settle(named(2))
    const other = changing(changing(before, [...before.members, ...named(4).slice(2)]), before.members)
    expect([other.version, other.members, other.next?.members]).toEqual([before.version + 2n, before.members, before.members])
  })

  test('only a settled layout changes, and only one that changes is finished', () => {
    expect(() => changing(openLayout(founder), [founder])).toThrow(/does not change/)
    expect(() => changing(closing(openLayout(founder)), [founder])).toThrow(/does not change/)
    expect(() => changed(settle([]))).toThrow(/nothing to finish/)
    expect(() => changing(settle([]), [layoutMember('disk', { role: roles.storage })])).toThrow(/nobody votes/)
  })

  test('a successor of a layout that changes, or comes to, is what the pure functions make', () => {
    const before = settle(named(3))
    const between = changing(before, [...before.members, ...named(5).slice(3)])
    const after = changed(between)
    expect([isSuccessor(before, between), isSuccessor(between, after), isSuccessor(between, changing(between, before.members))]).toEqual([true, true, true])
    expect([isSuccessor(before, after), isSuccessor(before, { ...after, version: between.version }), isSuccessor(between, { ...after, rowHolders: after.rowHolders.toReversed() })]).toEqual([false, false, false])
    expect(isSuccessor(before, { ...between, rowHolders: between.rowHolders.toReversed() })).toBe(false)
  })

  test('a layout that changes is spelled in one way too, with twice as many members as it may have', () => {
    const before = settle(named(layoutLimits.maxMembers - 1, (i) => ({ zone: `z${i % 4}` })))
    const between = changing(before, [...before.members.slice(1), layoutMember('another')])
    const bytes = encodeLayout(between)
    expect(bytes.byteLength).toBeLessThan(layoutLimits.maxBytes)
    expect(parseLayout(bytes)).toEqual(between)
    expect(() => parseLayout(bytes.subarray(0, -1))).toThrow(MalformedBytes)
  })

  test('a layout is spelled in one way, and the largest fits a row', () => {
    const layout = settle(named(layoutLimits.maxMembers - 1, (i) => ({ zone: `zone ${i % 4}` })))
    const bytes = encodeLayout(layout)
    expect(bytes.byteLength).toBeLessThan(layoutLimits.maxBytes)
    expect(parseLayout(bytes)).toEqual(layout)
    for (const small of [openLayout(founder), closing(openLayout(founder)), settle(named(2))]) expect(parseLayout(encodeLayout(small))).toEqual(small)
    expect(() => parseLayout(bytes.subarray(0, -1))).toThrow(MalformedBytes)
    expect(() => parseLayout(new Uint8Array([...bytes, 0]))).toThrow(MalformedBytes)
  })

  test('changed or random bytes give another layout or a typed error', () => {
    const bytes = encodeLayout(settle(named(2)))
    const harmless = (input: Uint8Array): void => { try { parseLayout(input) } catch (error) { expect(error).toBeInstanceOf(MalformedBytes) } }
    fc.assert(fc.property(fc.nat(bytes.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, change) => { harmless(bytes.with(at, (bytes[at] ?? 0) ^ change)) }), { numRuns: 60 })
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (input) => { harmless(new Uint8Array([1, ...input])) }))
  })
})

describe('rows of members and invites', () => {
  const cluster = paperCluster()
  const row = { certificate: certificateOf(cluster.member('bob')), capacityBytes: 2 ** 40, addresses: [Uint8Array.of(4, 127, 0, 0, 1)], storeId: new Uint8Array(16).fill(3) }

  test('a members row gives back what was put in', () => {
    expect(parseMemberRow(encodeMemberRow(row))).toEqual(row)
    expect(parseMemberRow(encodeMemberRow({ ...row, storeId: undefined, addresses: [] }))).toEqual({ ...row, storeId: undefined, addresses: [] })
  })

  test('a members row is of the version that what it says asks for, and spelled as ever', () => {
    const vectors = JSON.parse(readFileSync(new URL('../vectors/member-rows.json', import.meta.url), 'utf8')) as Array<{ name: string, version: number, row: string }>
    const [base, heir] = [{ ...row, certificate: certificateOf(cluster.member('bob', { zone: 'attic' })) }, keyNamed('carol').publicKey]
    const more = { plain: {}, draining: { isDraining: true }, zone: { zone: 'cellar' }, heir: { heir }, all: { isDraining: true, zone: 'cellar', heir } }
    for (const { name, version, row: hex } of vectors) {
      const said = { ...base, ...more[name as keyof typeof more] }
      expect(hexOf(encodeMemberRow(said)), name).toBe(hex)
      expect(parseMemberRow(fromHex(hex)), name).toEqual(said)
      expect((decode(fromHex(hex)) as { v: number }).v, name).toBe(version)
    }
    expect(describeMember({ ...base, zone: 'cellar' }).zone).toBe('cellar')
    expect(describeMember(base).zone).toBe('attic')
  })

  test('a members row says nothing but what its version says', () => {
    const fields = decode(encodeMemberRow({ ...row, zone: 'cellar' })) as Record<string, unknown>
    for (const wrong of [{ v: 1 }, { v: 2 }, { v: 4 }, { zone: 5 }, { zone: 'x'.repeat(256) }, { heir: new Uint8Array(31) }, { draining: 2 }]) expect(() => parseMemberRow(encode({ ...fields, ...wrong }))).toThrow(MalformedBytes)
  })

  test('a members row with too many addresses or a wrong store id cannot be written', () => {
    expect(() => encodeMemberRow({ ...row, storeId: new Uint8Array(15) })).toThrow(MalformedBytes)
    expect(() => encodeMemberRow({ ...row, addresses: Array.from({ length: 17 }, () => Uint8Array.of(1)) })).toThrow(MalformedBytes)
    expect(() => encodeMemberRow({ ...row, capacityBytes: -1 })).toThrow(MalformedBytes)
  })

  test('invites rows give back what was put in', () => {
    for (const invite of [{ state: 'revoked' as const }, { state: 'used' as const, statementHash: new Uint8Array(32).fill(5) }]) expect(parseInviteRow(encodeInviteRow(invite))).toEqual(invite)
  })

  test('random and changed bytes are refused with a typed error', () => {
    const bytes = encodeMemberRow(row)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (input) => {
      expect(() => parseMemberRow(input)).toThrow(MalformedBytes)
      expect(() => parseInviteRow(input)).toThrow(MalformedBytes)
    }))
    fc.assert(fc.property(fc.nat(bytes.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      try { parseMemberRow(bytes.with(at, (bytes[at] ?? 0) ^ change)) } catch (error) { expect(error).toBeInstanceOf(MalformedBytes) }
    }))
  })
})
