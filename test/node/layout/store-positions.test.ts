import { describe, expect, test } from 'vitest'
import { ByteWriter, utf8 } from '../../../src/base/bytes.ts'
import { withDigest } from '../../../src/base/hash.ts'
import { closing, type MemberRow, openLayout, settled } from '../../../src/cluster/index.ts'
import type { Files } from '../../../src/disk/index.ts'
import { type MemoryFiles, memoryFiles } from '../../../src/disk/memory-files.ts'
import { StorePositions } from '../../../src/node/layout/store-positions.ts'
import type { StorePosition } from '../../../src/protocols/hello.ts'
import { layoutMember, peerNamed } from '../../support/cluster-identities.ts'
import { joinedRow } from '../../support/settling-nodes.ts'

const [alice, bob, stranger] = ['alice', 'bob', 'stranger'].map((name) => ({ peer: peerNamed(name), id: layoutMember(name).storeId as Uint8Array })) as [Node, Node, Node]
interface Node { readonly peer: ReturnType<typeof peerNamed>, readonly id: Uint8Array }
const layout = settled(closing(openLayout(layoutMember('alice'))), ['alice', 'bob'].map((name) => layoutMember(name)))
const other = new Uint8Array(16).fill(99)

/** Alice's, whose own store is at position 10. */
async function keeper (files: Files = memoryFiles(), members: ReadonlyMap<Node['peer'], MemberRow> = new Map()) {
  const [disowned, warnings]: [string[], string[]] = [[], []]
  const rows = { storeId: alice.id, position: 10n, async disown (reason: string) { disowned.push(reason); rows.storeId = other } }
  const opened = await StorePositions.open({
    files, rows, warn: (message) => { warnings.push(message) },
    state: { layout, members, isMember: (peer) => peer === bob.peer },
  })
  const meet = async (store: StorePosition, { yours, peer = bob.peer }: { yours?: StorePosition, peer?: Node['peer'] } = {}): Promise<void> => opened.compare({ peer, store, yours })
  return { opened, meet, disowned, warnings }
}

describe('a peer\'s row store', () => {
  test('is told the most that was ever seen of it, over restarts, and asked unless it shows less', async () => {
    const files = memoryFiles()
    const first = await keeper(files)
    expect(first.opened.shownTo(bob.peer)).toEqual({ store: { id: alice.id, position: 10n }, yours: undefined })
    for (const position of [5n, 7n]) await first.meet({ id: bob.id, position })
    expect(first.opened.remembers(bob.peer)).toBe(true)
    const again = await keeper(files)
    expect(again.opened.shownTo(bob.peer).yours).toEqual({ id: bob.id, position: 7n })
    await again.meet({ id: bob.id, position: 6n })
    expect(again.opened.remembers(bob.peer)).toBe(false)
    expect(again.opened.shownTo(bob.peer, { id: bob.id, position: 6n }).yours).toEqual({ id: bob.id, position: 7n })
    await again.meet({ id: bob.id, position: 7n })
    expect(again.opened.remembers(bob.peer)).toBe(true)
  })

  test('is not asked while it is not the one that the cluster knows', async () => {
    const { opened, meet } = await keeper()
    await meet({ id: other, position: 100n })
    expect(opened.remembers(bob.peer)).toBe(false)
    expect(opened.shownTo(bob.peer).yours).toBeUndefined()
    await meet({ id: bob.id, position: 1n })
    expect(opened.remembers(bob.peer)).toBe(true)
  })

  test('is asked if the cluster knows none of that peer, which votes on nothing then', async () => {
    const { opened, meet } = await keeper()
    await meet({ id: stranger.id, position: 3n }, { peer: stranger.peer })
    expect(opened.remembers(stranger.peer)).toBe(true)
    expect(opened.remembers(peerNamed('never met'))).toBe(true)
  })

  test('is known from what its own node shows alone: a node without keys that joins with the id of another\'s, and shows it far ahead, has nobody told to forget', async () => {
    const { opened, meet } = await keeper(memoryFiles(), new Map([[stranger.peer, { ...joinedRow('stranger'), storeId: bob.id }]]))
    await meet({ id: bob.id, position: 7n })
    await meet({ id: bob.id, position: 2n ** 63n }, { peer: stranger.peer })
    await meet({ id: bob.id, position: 8n })
    expect(opened.remembers(bob.peer)).toBe(true)
    expect(opened.shownTo(bob.peer, { id: bob.id, position: 8n }).yours).toEqual({ id: bob.id, position: 8n })
  })

  test('is known from a file of the first version, which went by stores alone (it was told as damaged, and forgotten)', async () => {
    const files = memoryFiles()
    const first = new ByteWriter().raw(utf8('DFSW')).u8(1).raw(other).u64(9n).raw(bob.id).u64(7n).finish()
    await files.writeDurable('positions', [withDigest(first)])
    const { opened, meet, warnings } = await keeper(files)
    expect(opened.shownTo(bob.peer).yours).toEqual({ id: bob.id, position: 7n })
    await meet({ id: bob.id, position: 6n })
    expect(opened.remembers(bob.peer)).toBe(false)
    await meet({ id: bob.id, position: 8n })
    expect((await keeper(files)).opened.shownTo(bob.peer).yours).toEqual({ id: bob.id, position: 8n })
    expect(warnings).toEqual([])
  })

  test('is remembered though the disk takes no writes, and that is said', async () => {
    const files = memoryFiles()
    const { opened, meet, warnings } = await keeper(files)
    files.fail('write')
    await meet({ id: bob.id, position: 5n })
    expect(warnings).toHaveLength(1)
    expect(opened.shownTo(bob.peer).yours).toEqual({ id: bob.id, position: 5n })
  })

  test('is seen afresh when what was seen of it is damaged: a bit of it would have a healthy store forget', async () => {
    const files: MemoryFiles = memoryFiles()
    await (await keeper(files)).meet({ id: bob.id, position: 5n })
    const { byteLength } = await files.read('positions')
    for (let bit = 0; bit < byteLength * 8; bit += 7) {
      files.flip('positions', bit)
      const { opened, warnings } = await keeper(files)
      expect(opened.shownTo(bob.peer).yours, `bit ${bit}`).toBeUndefined()
      expect(warnings).toHaveLength(1)
      files.flip('positions', bit)
    }
    expect((await keeper(files)).opened.shownTo(bob.peer).yours).toEqual({ id: bob.id, position: 5n })
  })
})

describe('this node\'s row store', () => {
  const bobs = { id: bob.id, position: 1n }

  test('is disowned when a member has seen more of it than it has', async () => {
    const { meet, disowned, opened } = await keeper()
    expect(opened.isOwnNamed(alice.peer)).toBe(true)
    await meet(bobs, { yours: { id: alice.id, position: 11n } })
    expect(opened.isOwnNamed(alice.peer)).toBe(false)
    expect(disowned).toEqual([expect.stringContaining('at position 11, and it is at 10')])
    // the new one has nothing to forget
    await meet(bobs, { yours: { id: alice.id, position: 11n } })
    expect(disowned).toHaveLength(1)
    expect(opened.shownTo(bob.peer).store.id).toEqual(other)
  })

  test.each([
    ['as much', { yours: { id: alice.id, position: 10n } }],
    ['less', { yours: { id: alice.id, position: 9n } }],
    ['more of another store', { yours: { id: other, position: 100n } }],
    ['nothing', {}],
    ['more, but is no member', { yours: { id: alice.id, position: 100n }, peer: stranger.peer }],
  ])('is not when a peer has seen %s', async (_what, said) => {
    const { meet, disowned } = await keeper()
    await meet(bobs, said)
    expect(disowned).toEqual([])
  })
})
