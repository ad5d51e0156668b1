import type { KeyValue } from '../../src/disk/index.ts'
import { forget } from '../../src/blockstore/condemned.ts'
import { referenceKind } from '../../src/blockstore/references.ts'
import type { CollectionVariant } from './collection.ts'

/** The index with some methods in other words. */
export const indexWith = (index: KeyValue, batch: KeyValue['batch'], get: KeyValue['get'] = async (key) => index.get(key)): KeyValue => ({
  get failure () { return index.failure },
  get, getMany: async (keys) => index.getMany(keys), entries: (range) => index.entries(range), keys: (range) => index.keys(range),
  batch, [Symbol.asyncDispose]: async () => {},
})

/** Each rule of collection, taken out. What it prevents is a history that the simulation must then find: once it showed with this seed, and it shows with one of a dozen. */
export const collectionVariants: Readonly<Record<string, { readonly seed: number, readonly variant: CollectionVariant, readonly isForgetting?: boolean }>> = {
  'a block is taken away without a look under its lock': {
    seed: 55,
    variant: {
      condemned: (condemned, { blocks, index }) => ({
        ...condemned,
        collect: async (cid) => {
          await blocks.delete(cid)
          await forget(index, cid)
          return 'collected'
        },
      }),
    },
  },
  'what is dead is found out, and then taken away, without the lock between': {
    seed: 3,
    variant: {
      condemned: (condemned, { blocks, index, later }) => ({
        ...condemned,
        collect: async (cid) => {
          if (!await condemned.isCondemned(cid) || (await condemned.living(cid, 1)).length > 0) return 'kept'
          await later()
          await blocks.delete(cid)
          await forget(index, cid)
          return 'collected'
        },
      }),
    },
  },
  'a reference is not on the disk when the answer goes out': {
    seed: 1,
    variant: {
      index: (index, later) => indexWith(index, async (changes, options) => {
        if (!changes.some(({ type, key }) => type === 'put' && key[0] === referenceKind)) { await index.batch(changes, options); return }
        void later().then(async () => index.batch(changes, options))
      }),
    },
  },
  'the grace is not waited': { seed: 4, variant: { collector: (parts) => ({ ...parts, collectAfterMs: 0 }) } },
  'nobody else is asked who needs a block': {
    seed: 4,
    isForgetting: true,
    variant: { collector: (parts) => ({ ...parts, peers: { ...parts.peers, living: async (_peer, cids) => cids.map(() => ({ versionIds: [], isMore: false })) } }) },
  },
  'who does not answer is taken to need nothing': {
    seed: 1,
    isForgetting: true,
    variant: {
      collector: (parts) => ({
        ...parts,
        peers: { ...parts.peers, reachable: () => parts.placement.holdersOf('' as never), living: async (peer, cids, options) => parts.peers.living(peer, cids, options).catch(() => cids.map(() => ({ versionIds: [], isMore: false }))) },
      }),
    },
  },
  'ids are cleared from rows though their deaths were not published': { seed: 1, variant: { undertaker: (parts) => ({ ...parts, publish: async (proofs) => proofs.map(() => true) }) } },
  'nothing is published': { seed: 1, variant: { undertaker: (parts) => ({ ...parts, publish: async (proofs) => proofs.map(() => false) }) } },
  'uploads that stand still are never given up': { seed: 2, variant: { undertaker: (parts) => ({ ...parts, timing: { ...parts.timing, giveUpAfterMs: Infinity } }) } },
  'what is removed is not removed durably': { seed: 43, variant: { files: (files) => ({ ...files, syncFolder: async () => {} }) } },
  'references go before their block': {
    seed: 3,
    variant: {
      condemned: (condemned, { blocks, index, later }) => ({
        ...condemned,
        collect: async (cid) => {
          await forget(index, cid)
          await later()
          await blocks.delete(cid)
          return 'collected'
        },
      }),
    },
  },
}
