import { ByteReader, ByteWriter, compareBytes, equals, MalformedBytes, partitionCount, textOf, utf8 } from '../base/bytes.ts'
import { keyOf, peerIdOf } from '../base/peer-id.ts'
import { type AssignmentAlgorithm, assignmentAlgorithms } from './assignment.ts'
import { type Assignment, assigned, type Layout, type LayoutMember } from './layout.ts'
import { recoveryLimits } from './recovery.ts'
import { roles } from './statement.ts'

export const layoutLimits = {
  /** 128 members (7 bits an index) with 13 positions are 46,592 bytes of lists: with `maxMembersBytes` twice within the 64 KiB of a row. */
  maxMembers: 128,
  /** 58 each and the zone's name. A layout that changes has them twice. */
  maxMembersBytes: 8 * 1024,
  maxRowPositions: 5,
  /** The widest redundancy to come (4+2) and two substitutes. */
  maxBlockPositions: 8,
  /** Assignments kept, of at most half a megabyte each. */
  recentAssignments: 4,
  /** Signature, key and ballot of the clear row take the rest of 64 KiB. */
  maxBytes: 64 * 1024 - 512,
} as const

const states = ['open', 'closing', 'settled', 'changing'] as const
const noStore = new Uint8Array(16)

/**
 * `01 | u64 version | u8 state | u16 n | n × (key(32) | u8 role | u64 capacity | storeId(16; zeros: none) | u8 length, zone) | rows | blocks`, where each
 * table is `u8 positions | 4096 × positions indexes`, an index packed into as few bits as n - 1 needs. Of one that changes the members of the next follow,
 * `u16 n | n × member`: its tables are the pure function of what stands before. So begins one whose tables are made by the first algorithm; of any other it
 * begins with `02 | u8 algorithm`. One that was declared after a loss begins with `03 | u8 algorithm`, is changing, and has after the present tables
 * `u8 k | k × (u16 n, n × member)` of the layouts that were to follow and do not, then the members of the next, issuer(32) and signature(64).
 * @throws MalformedBytes for what could not be parsed again
 */
export function encodeLayout (layout: Layout): Uint8Array {
  const bytes = layout.recovery === undefined ? encodeChosen(layout) : new ByteWriter().raw(encodeDeclared(layout)).raw(layout.recovery.issuer).raw(layout.recovery.signature).finish()
  if (bytes.byteLength > layoutLimits.maxBytes) throw new MalformedBytes(`a layout of ${bytes.byteLength} bytes exceeds ${layoutLimits.maxBytes}`)
  return bytes
}

function encodeChosen (layout: Layout): Uint8Array {
  const writer = layout.algorithm === assignmentAlgorithms.greedy ? new ByteWriter().u8(1) : new ByteWriter().u8(2).u8(layout.algorithm)
  writer.u64(layout.version).u8(states.indexOf(layout.state))
  writer.raw(encodedTables(layout))
  if (layout.next !== undefined) writer.raw(encodedMembers(layout.next.members))
  return writer.finish()
}

/** Of a layout declared after a loss, what is signed. */
export function encodeDeclared (layout: Pick<Layout, keyof Assignment | 'algorithm' | 'version' | 'next'> & { readonly recovery?: { readonly abandoned: readonly Assignment[] } | undefined }): Uint8Array {
  const { algorithm, version, next, recovery } = layout
  const writer = new ByteWriter().u8(3).u8(algorithm).u64(version).u8(states.indexOf('changing')).raw(encodedTables(layout))
  writer.u8(recovery?.abandoned.length ?? 0)
  for (const { members } of [...recovery?.abandoned ?? [], ...next === undefined ? [] : [next]]) writer.raw(encodedMembers(members))
  return writer.finish()
}

/** Members and who holds what. */
export function encodedTables ({ members, rowHolders, blockHolders }: Assignment): Uint8Array {
  const writer = new ByteWriter().raw(encodedMembers(members))
  for (const table of [rowHolders, blockHolders]) writer.u8(table[0]?.length ?? 0).raw(pack(table.flat(), bitsFor(members.length)))
  return writer.finish()
}

export function encodedMembers (members: readonly LayoutMember[]): Uint8Array {
  const writer = new ByteWriter().u16(members.length)
  for (const member of members) writer.raw(encodedMember(member))
  return writer.finish()
}

export const encodedMember = ({ peerId, role, zone, capacityBytes, storeId }: LayoutMember): Uint8Array =>
  new ByteWriter().raw(keyOf(peerId)).u8(role).u64(capacityBytes).raw(storeId ?? noStore).short(utf8(zone)).finish()

/** @throws MalformedBytes unless `bytes` are one layout in its only spelling. That it is a successor is for `isSuccessor`. */
export function parseLayout (bytes: Uint8Array): Layout {
  if (bytes.byteLength > layoutLimits.maxBytes) throw new MalformedBytes(`a layout of ${bytes.byteLength} bytes exceeds ${layoutLimits.maxBytes}`)
  const reader = new ByteReader(bytes)
  const { algorithm, isDeclared } = headOf(reader)
  const [version, state] = [reader.u64(), states[reader.u8()]]
  if (version === 0n || state === undefined) throw new MalformedBytes('not a layout')
  const members = readMembers(reader)
  const rowHolders = readTable(reader, members.length, layoutLimits.maxRowPositions)
  const blockHolders = readTable(reader, members.length, layoutLimits.maxBlockPositions)
  const present = { members, rowHolders, blockHolders }
  if (isDeclared && state !== 'changing') throw new MalformedBytes('a layout declared after a loss changes')
  const abandoned = isDeclared ? readAbandoned(reader, present, algorithm) : []
  const next = state === 'changing' ? nextOf(present, readMembers(reader), algorithm) : undefined
  const recovery = isDeclared ? { recovery: { abandoned, issuer: reader.raw(32).slice(), signature: reader.raw(64).slice() } } : {}
  reader.end()
  const layout: Layout = { version, state, algorithm, ...present, next, ...recovery }
  if (!equals(encodeLayout(layout), bytes)) throw new MalformedBytes('not the only spelling of a layout')
  return layout
}

/** Which version an encoded layout is, and nothing else of it: to make the tables of one that changes takes seconds, and whoever tells of one may have made it up. @throws MalformedBytes */
export function versionOfLayout (bytes: Uint8Array): bigint {
  const reader = new ByteReader(bytes)
  headOf(reader)
  return reader.u64()
}

function readAbandoned (reader: ByteReader, present: Assignment, algorithm: AssignmentAlgorithm): readonly Assignment[] {
  const count = reader.u8()
  if (count > recoveryLimits.maxAbandoned) throw new MalformedBytes(`${count} layouts that do not follow`)
  return Array.from({ length: count }, () => nextOf(present, readMembers(reader), algorithm))
}

function headOf (reader: ByteReader): { readonly algorithm: AssignmentAlgorithm, readonly isDeclared: boolean } {
  const format = reader.u8()
  if (format === 1) return { algorithm: assignmentAlgorithms.greedy, isDeclared: false }
  if (format !== 2 && format !== 3) throw new MalformedBytes('unknown version of a layout')
  const number = reader.u8()
  const algorithm = Object.values(assignmentAlgorithms).find((known) => known === number)
  if (algorithm === undefined) throw new MalformedBytes(`a layout by algorithm ${number}, which a newer dfs knows`)
  return { algorithm, isDeclared: format === 3 }
}

function readMembers (reader: ByteReader): readonly LayoutMember[] {
  const count = reader.u16()
  if (count === 0 || count > layoutLimits.maxMembers) throw new MalformedBytes(`a layout of ${count} members`)
  const members = Array.from({ length: count }, () => readMember(reader))
  if (!members.every(({ peerId }, i) => i === 0 || compareBytes(keyOf((members[i - 1] as LayoutMember).peerId), keyOf(peerId)) < 0)) throw new MalformedBytes('members of a layout ascend')
  return members
}

function nextOf (present: Assignment, members: readonly LayoutMember[], algorithm: AssignmentAlgorithm): Assignment {
  try { return assigned(present, members, algorithm) } catch (cause) { throw new MalformedBytes('a next layout that cannot be', { cause }) }
}

function readMember (reader: ByteReader): LayoutMember {
  const [key, role, capacity, storeId, zone] = [reader.raw(32), reader.u8(), reader.u64(), reader.raw(16), reader.short()]
  if (role !== roles.storage && role !== roles.member && role !== roles.witness) throw new MalformedBytes(`not one role: ${role}`)
  if (capacity > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes('capacity beyond any disk')
  return { peerId: peerIdOf(key), role, zone: zoneOf(zone), capacityBytes: Number(capacity), storeId: equals(storeId, noStore) ? undefined : storeId.slice() }
}

function zoneOf (bytes: Uint8Array): string {
  try { return textOf(bytes) } catch (cause) { throw new MalformedBytes('a zone is UTF-8', { cause }) }
}

function readTable (reader: ByteReader, memberCount: number, maxPositions: number): ReadonlyArray<readonly number[]> {
  const positions = reader.u8()
  if (positions > Math.min(maxPositions, memberCount)) throw new MalformedBytes(`${positions} positions`)
  const bits = bitsFor(memberCount)
  const indexes = unpack(reader.raw(Math.ceil(partitionCount * positions * bits / 8)), { bits, count: partitionCount * positions })
  const lists = Array.from({ length: partitionCount }, (_, partition) => indexes.slice(partition * positions, (partition + 1) * positions))
  if (!lists.every((list) => new Set(list).size === positions && list.every((index) => index < memberCount))) throw new MalformedBytes('a list of unknown or repeated holders')
  return lists
}

const bitsFor = (memberCount: number): number => 32 - Math.clz32(memberCount - 1)

function pack (indexes: readonly number[], bits: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(indexes.length * bits / 8))
  let at = 0
  for (const index of indexes) {
    for (let bit = bits - 1; bit >= 0; bit--, at++) bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (((index >> bit) & 1) << (7 - (at & 7)))
  }
  return bytes
}

function unpack (bytes: Uint8Array, { bits, count }: { bits: number, count: number }): readonly number[] {
  let at = 0
  return Array.from({ length: count }, () => {
    let index = 0
    for (let bit = 0; bit < bits; bit++, at++) index = (index << 1) | (((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1)
    return index
  })
}
