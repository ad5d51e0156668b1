import { AsyncLocalStorage } from 'node:async_hooks'
import { equals, hexOf } from '../../src/base/bytes.ts'
import { Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { compareBallots } from '../../src/tables/ballot.ts'
import type { Ballot, RowStore, StoredRow } from '../../src/tables/index.ts'
import type { TablePeers } from '../../src/tables/registers.ts'
import { Reader } from '../../src/tables/reader.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { Variant } from './cluster.ts'

/** The store with some methods in other words; a class instance cannot be spread. */
const storeWith = (store: RowStore, other: Partial<RowStore>): RowStore => new Proxy(store, {
  get: (target, name) => {
    const value: unknown = Reflect.get(name in other ? other : target, name)
    return typeof value === 'function' ? value.bind(target) as unknown : value
  },
})
const peersWith = (peers: TablePeers, ask: TablePeers['ask']): TablePeers => ({ reachable: () => peers.reachable(), ask })
const nobody: Ballot = { counter: 0n, proposer: new Uint8Array(32) }
const acceptedBallot = (row: StoredRow): Ballot => (row.accepted === undefined ? nobody : plainCodec.ballotOf(row.table, row.accepted))
const inHandOver = new AsyncLocalStorage<boolean>()
const asked = new AsyncLocalStorage<Ballot>()

/** Each rule of the registers, taken out. What it prevents is a history that the simulation must then find. */
export const variants: Readonly<Record<string, { readonly variant: () => Variant, readonly withLists?: boolean, readonly untilEqual?: boolean }>> = {
  'rule 1: answers before it is on disk': {
    variant: () => ({
      store: (store) => {
        const unsynced = new Map<string, StoredRow>()
        return storeWith(store, {
          get: async (table, rowKey) => unsynced.get(`${table} ${hexOf(rowKey)}`) ?? await store.get(table, rowKey),
          // the last state of each row reaches the disk only with the next one
          save: async (rows) => {
            for (const row of rows) {
              const name = `${row.table} ${hexOf(row.rowKey)}`
              const before = unsynced.get(name)
              if (before !== undefined) await store.save([before])
              unsynced.set(name, row)
            }
          },
        })
      },
    }),
  },
  'rule 1: an accept does not raise the promise': {
    variant: () => ({
      store: (store) => storeWith(store, {
        save: async (rows) => {
          await store.save(await Promise.all(rows.map(async (row) => {
            const before = await store.get(row.table, row.rowKey)
            const isAccept = row.accepted !== undefined && (before?.accepted === undefined || !equals(before.accepted, row.accepted))
            return isAccept ? { ...row, promised: before?.promised ?? nobody } : row
          })))
        },
      }),
    }),
  },
  // an acceptor that never promises the same ballot twice is safe from this by itself, and the other way round: so both go
  'rule 1: ballot counters begin again after a restart, and are promised again': {
    variant: () => ({
      replica: (replica) => ({ answer: (from, request) => asked.run(request.kind === 'prepare' ? request.ballot : nobody, () => replica.answer(from, request)) }),
      store: (store) => {
        let last = 0n
        return storeWith(store, {
          nextCounter: async (atLeast) => (last = (atLeast > last ? atLeast : last) + 1n),
          get: async (table, rowKey) => {
            const row = await store.get(table, rowKey)
            const isAgain = row !== undefined && compareBallots(row.promised, asked.getStore() ?? nobody) === 0
            return isAgain ? { ...row, promised: nobody } : row
          },
        })
      },
    }),
  },
  'rule 2: equal values count as agreement': {
    variant: () => ({ newReader: () => new Reader({ agrees: (a, b) => (a.value === undefined ? b.value === undefined : b.value !== undefined && equals(a.value, b.value)) }) }),
  },
  'rule 2: the highest value is believed without being delivered': {
    variant: () => ({ peers: (peers) => peersWith(peers, async (peer, request, options) => (request.kind === 'handOver' ? { kind: 'accepted' } : await peers.ask(peer, request, options))) }),
  },
  'rule 3: rows keep no operation ids': {
    variant: () => ({
      codec: (codec) => ({
        ...codec,
        decode: (row) => {
          const content = codec.decode(row)
          return { ...content, body: Uint8Array.of(0, ...content.body.subarray(1 + 16 * (content.body[0] ?? 0))) }
        },
      }),
    }),
  },
  'rule 3: an unknown outcome is told as a failed condition': {
    variant: () => ({
      registers: (registers) => ({
        ...registers,
        change: async (address, change, options) => {
          try { return await registers.change(address, change, options) } catch (error) {
            if (!(error instanceof UnknownOutcome)) throw error
            const decision = change(await registers.read(address, options), 0n)
            if (decision.kind === 'keep') return decision.result
            throw new Unavailable('nothing happened', { cause: error })
          }
        },
      }),
    }),
  },
  'rule 3: a failed condition is told before what it saw is chosen': {
    variant: () => {
      const identities = new Set<string>()
      return {
        codec: (codec) => ({ ...codec, reproposed: (row) => { const record = codec.reproposed(row); identities.add(hexOf(record)); return record } }),
        peers: (peers) => peersWith(peers, async (peer, request, options) => (request.kind === 'accept' && identities.has(hexOf(request.record)) ? { kind: 'accepted' } : await peers.ask(peer, request, options))),
      }
    },
  },
  'rule 4: late delivery ignores the promise': {
    variant: () => ({
      replica: (replica) => ({ answer: (from, request) => inHandOver.run(request.kind === 'handOver', () => replica.answer(from, request)) }),
      store: (store) => storeWith(store, {
        get: async (table, rowKey) => {
          const row = await store.get(table, rowKey)
          return row === undefined || inHandOver.getStore() !== true ? row : { ...row, promised: acceptedBallot(row) }
        },
        save: async (rows) => {
          await store.save(await Promise.all(rows.map(async (row) => {
            const before = await store.get(row.table, row.rowKey)
            return before !== undefined && compareBallots(before.promised, row.promised) > 0 ? { ...row, promised: before.promised } : row
          })))
        },
      }),
    }),
  },
  'rule 5: an absent row is not promised at the floor': {
    variant: () => ({ store: (store) => storeWith(store, { floor: () => undefined }) }),
  },
  'rule 5: floors are not on disk': {
    variant: () => ({ store: (store, disk) => { disk.floors.clear(); return store } }),
  },
  'rule 5: a majority that holds the tombstone is enough': {
    variant: () => ({
      burialPeers: (peers) => {
        let first: string | undefined
        return peersWith(peers, async (peer, request, options) => {
          first ??= peer
          if (request.kind !== 'ballots' || peer === first) return await peers.ask(peer, request, options)
          // the last one is not heard, and taken to agree
          const top = { counter: 2n ** 63n, proposer: new Uint8Array(32) }
          return { kind: 'ballots', rows: [], truncated: false, floor: top }
        })
      },
    }),
  },
  'rule 3: a row that begins anew counts as the one before': {
    variant: () => ({
      replica: (replica) => ({ ...replica, answer: async (from, request) => { const answer = await replica.answer(from, request); return answer.kind === 'promised' ? { ...answer, floor: undefined } : answer } }),
    }),
  },
  'rule 6: names above the end of a truncated page are told': {
    withLists: true,
    variant: () => ({ index: (index) => ({ ...index, page: async (request) => ({ ...await index.page(request), truncated: false }) }) }),
  },
  'rule 6: names are not compared by ballot': {
    withLists: true,
    variant: () => ({
      index: (index) => ({
        ...index,
        page: async (request) => {
          const { entries, truncated } = await index.page(request)
          return { entries: entries.map((entry) => ({ ...entry, ballot: nobody })), truncated }
        },
      }),
    }),
  },
  'rule 6: one replica is believed for all': {
    withLists: true,
    variant: () => ({ peers: (peers, self) => peersWith(peers, async (peer, request, options) => await peers.ask(request.kind === 'list' ? self : peer, request, options)) }),
  },
  'rule 4: nothing follows a late delivery that is refused': {
    untilEqual: true,
    variant: () => ({ settle: async () => {} }),
  },
  'rule 4: nothing is handed over late': {
    untilEqual: true,
    variant: () => ({ peers: (peers) => peersWith(peers, async (peer, request, options) => (request.kind === 'handOver' ? { kind: 'accepted' } : await peers.ask(peer, request, options))) }),
  },
  'rule 7: a row that was only promised is no row': {
    variant: () => ({
      store: (store) => storeWith(store, {
        get: async (table, rowKey) => {
          const row = await store.get(table, rowKey)
          return row?.accepted === undefined ? undefined : row
        },
      }),
    }),
  },
  'rule 7: a replica reads from what it remembers': {
    variant: () => ({
      peers: (peers) => {
        const remembered = new Map<string, Awaited<ReturnType<TablePeers['ask']>>>()
        return peersWith(peers, async (peer, request, options) => {
          if (request.kind !== 'read') return await peers.ask(peer, request, options)
          const name = `${peer} ${hexOf(request.rowKey)}`
          const answer = remembered.get(name) ?? await peers.ask(peer, request, options)
          remembered.set(name, answer)
          return answer
        })
      },
    }),
  },
}
