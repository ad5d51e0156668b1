import { describe, expect, test } from 'vitest'
import { votersBy } from '../../src/tables/electorate.ts'
import { hash } from '../../src/base/hash.ts'
import { keyOf, type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type TableNumber, tables } from '../../src/tables/index.ts'
import { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import type { TableAnswer } from '../../src/tables/messages.ts'
import { tableReplica } from '../../src/tables/replica.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const [self, member, voter, stranger] = [0, 1, 2, 3].map((i) => peerIdOf(hash(Uint8Array.of(i)))) as [PeerId, PeerId, PeerId, PeerId]

describe('a witness', () => {
  async function handedOver (from: PeerId, { table = tables.objects, isKeyless = true }: { table?: TableNumber, isKeyless?: boolean } = {}): Promise<TableAnswer> {
    const peers = [self, member, voter]
    const store = new MemoryRowStore({ ballotOf: (of, record) => plainCodec.ballotOf(of, record) })
    const replica = tableReplica({
      self, store, codec: plainCodec, voters: votersBy({ version: () => 1n, groupsOf: () => [peers] }), isMember: (peer) => peer === member, isKeyless,
      layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    const rowKey = new Uint8Array(32)
    const content = { revision: 1n, isTombstone: false, body: new Uint8Array(8) }
    const record = plainCodec.encode({ table, rowKey, content, ballot: { counter: 1n, proposer: keyOf(member) } })
    return replica.answer(from, { version: 1n, kind: 'handOver', table, rowKey, record })
  }

  test('takes sealed rows, which it cannot verify, from members alone', async () => {
    expect(await handedOver(member)).toEqual({ kind: 'accepted' })
    await expect(handedOver(voter)).rejects.toThrow(/a witness takes sealed rows from members/)
    await expect(handedOver(stranger)).rejects.toThrow(/from members/)
  })

  test('takes clear rows, which it verifies, from anyone, as members do sealed ones from any voter', async () => {
    expect(await handedOver(voter, { table: tables.members })).toEqual({ kind: 'accepted' })
    expect(await handedOver(voter, { isKeyless: false })).toEqual({ kind: 'accepted' })
    await expect(handedOver(stranger, { isKeyless: false })).rejects.toThrow(/members and voters/)
  })
})
