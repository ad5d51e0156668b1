import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { hexOf, MalformedBytes, partitionCount } from '../../src/base/bytes.ts'
import { Refused } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { allVotersOf, assignmentAlgorithms, changed, changing, closing, declaredBy, encodeLayout, isDeclaredByRight, isSuccessor, type Layout, type LayoutMember, lostOf, openLayout, parseLayout, recovering, replicasOf, roles, settled, survivingReplicasOf, survivorsOf } from '../../src/cluster/index.ts'
import { keyNamed, layoutMember, paperCluster, peerNamed } from '../support/cluster-identities.ts'

const cluster = paperCluster()
const authority = keyNamed('cluster authority')
const names = ['founder', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace']
const layoutOf = (of: readonly string[]): Layout => settled(closing(openLayout(layoutMember('founder'))), of.map((name) => layoutMember(name)))
const membersNamed = (of: readonly string[]): LayoutMember[] => of.map((name) => layoutMember(name))
const seven = layoutOf(names)
const declared = (previous: Layout, left: readonly string[], signer = authority): Layout => declaredBy(signer, cluster.clusterId, recovering(previous, membersNamed(left)))
const trust = { clusterId: cluster.clusterId, authority: cluster.authority, era: cluster.era(1, names.map((name) => cluster.member(name))) }

describe('a layout declared after the loss of a majority', () => {
  test('has the survivors follow, gives up everybody else, and asks each replica of before that is left', () => {
    const layout = declared(seven, ['bob', 'eve', 'grace'])
    expect(lostOf(layout).toSorted()).toEqual(['founder', 'carol', 'dave', 'frank'].map(peerNamed).toSorted())
    expect(survivorsOf(layout, allVotersOf).toSorted()).toEqual(['bob', 'eve', 'grace'].map(peerNamed).toSorted())
    for (let partition = 0; partition < partitionCount; partition++) {
      expect(survivingReplicasOf(layout, partition)).toEqual(replicasOf(seven, partition).filter((peer) => !lostOf(layout).includes(peer)))
    }
    expect(changed(layout)).toMatchObject({ state: 'settled', version: layout.version + 1n, members: layout.next?.members })
    expect(changed(layout).recovery).toBeUndefined()
  })

  test('counts a survivor whose store is another one as one that remembers nothing', () => {
    const layout = declaredBy(authority, cluster.clusterId, recovering(seven, [layoutMember('bob'), { ...layoutMember('eve'), storeId: new Uint8Array(16).fill(3) }]))
    expect(survivorsOf(layout, allVotersOf)).toEqual([peerNamed('bob')])
    expect(allVotersOf(layout.next ?? layout)).toContain(peerNamed('eve'))
  })

  test('also asks who took over under a layout that was to follow, or after another loss', () => {
    const between = changing(layoutOf(names.slice(0, 5)), membersNamed(names))
    const first = declared(between, ['bob', 'frank'])
    expect(survivorsOf(first, allVotersOf).toSorted()).toEqual(['bob', 'frank'].map(peerNamed).toSorted())
    const second = declared(first, ['frank'])
    expect(second.recovery?.abandoned).toHaveLength(2)
    expect(lostOf(second).toSorted()).toEqual(names.filter((name) => name !== 'frank').map(peerNamed).toSorted())
    expect(survivorsOf(second, allVotersOf)).toEqual([peerNamed('frank')])
    expect(parseLayout(encodeLayout(second))).toEqual(second)
  })

  test('is above every version that the lost may have decided, and another one for other survivors', () => {
    const [one, other] = [declared(seven, ['bob', 'eve']), declared(seven, ['bob', 'grace'])]
    for (const { version } of [one, other]) expect(version).toBeGreaterThan(seven.version + 2n ** 31n)
    expect(one.version).not.toBe(other.version)
    expect(declared(seven, ['eve', 'bob'])).toEqual(one)
  })

  test('follows from no layout by itself, and no change follows from it before it is finished', () => {
    const layout = declared(seven, ['bob', 'eve'])
    expect(isSuccessor(seven, layout)).toBe(false)
    expect(isSuccessor(seven, { ...layout, version: seven.version + 1n })).toBe(false)
    expect(() => changing(layout, membersNamed(['bob']))).toThrow(Refused)
    expect(isSuccessor(layout, changed(layout))).toBe(true)
  })

  test('is believed of the authority and of an admin that stands in the era, and of nobody else', () => {
    const admin = cluster.admin('bob')
    const withAdmin = { ...trust, era: cluster.era(1, [cluster.member('bob'), admin]) }
    // the statements of its admins travel with an era
    const eraWithAdmin = { ...withAdmin.era, admins: [admin] }
    expect(isDeclaredByRight(declared(seven, ['bob', 'eve']), trust)).toBe(true)
    expect(isDeclaredByRight(declared(seven, ['bob', 'eve'], keyNamed('bob')), { ...withAdmin, era: eraWithAdmin })).toBe(true)
    // a member, an admin of another era, a stranger
    for (const signer of ['bob', 'eve', 'mallory']) expect(isDeclaredByRight(declared(seven, ['bob', 'eve'], keyNamed(signer)), trust), signer).toBe(false)
    // of another cluster; with one more survivor; not signed at all
    expect(isDeclaredByRight(declared(seven, ['bob', 'eve']), { ...trust, clusterId: new Uint8Array(16) })).toBe(false)
    const [small, large] = [declared(seven, ['bob', 'eve']), declared(seven, ['bob', 'eve', 'grace'])]
    expect(isDeclaredByRight({ ...large, recovery: small.recovery }, trust)).toBe(false)
    expect(isDeclaredByRight(seven, trust)).toBe(false)
  })

  test('is refused for who was in no layout, and where nothing is held yet', () => {
    expect(() => declared(seven, ['bob', 'stranger'])).toThrow(/survived nothing/)
    expect(() => declared(openLayout(layoutMember('founder')), ['founder'])).toThrow(/nothing is held/)
    expect(() => recovering(seven, [layoutMember('bob', { role: roles.storage })])).toThrow(/nobody votes/)
  })

  test('has one spelling, which is the vector\'s; with any bit of what is not signed flipped it is none or believed of nobody', () => {
    const before = settled(closing(openLayout(layoutMember('founder'), assignmentAlgorithms.level)), membersNamed(['founder', 'bob', 'carol']))
    const layout = declaredBy(authority, cluster.clusterId, recovering(before, membersNamed(['carol'])))
    const bytes = encodeLayout(layout)
    expect(parseLayout(bytes)).toEqual(layout)
    const vector = JSON.parse(readFileSync(new URL('../vectors/recovery-vectors.json', import.meta.url), 'utf8')) as { sizeBytes: number, head: string, hash: string, issuer: string, signature: string }
    expect({ sizeBytes: bytes.byteLength, head: hexOf(bytes.subarray(0, 11)), hash: hexOf(hash(bytes)), issuer: hexOf(authority.publicKey), signature: hexOf(bytes.subarray(-64)) }).toEqual(vector)
    for (let bit = 0; bit < bytes.byteLength * 8; bit += 499) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      let parsed: Layout
      try { parsed = parseLayout(flipped) } catch (error) { expect(error, `bit ${bit}`).toBeInstanceOf(MalformedBytes); continue }
      expect(isDeclaredByRight(parsed, trust), `bit ${bit}`).toBe(false)
    }
  })
})
