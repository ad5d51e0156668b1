import { ByteReader, ByteWriter, concat, empty, equals } from '../base/bytes.ts'
import { type Cid, cidOfDigest, digestOf } from '../base/cid.ts'
import type { KeyedQueue } from '../base/keyed-queue.ts'
import type { KeyRange, KeyValue, KeyValueChange } from '../disk/index.ts'
import type { DiskBlocks } from './disk-blocks.ts'
import { hash } from '../base/hash.ts'
import { asideKeyOf, asideReferencesTo, type BlockReference, type FormName, formNameOf, isWanted, referenceKeyOf, referenceOf, referencesTo, sumOfReferences } from './references.ts'

/**
 * A reference whose version is proven dead is no reference any more: with the proof beside it, it stands for itself, and is put aside as a *dead* one in the step
 * that takes it from the others. A block that has dead references and no other is needed by nobody, as far as this holder knows. Such a block is *condemned*, which stands on the
 * disk; from then on this node does not count it as one that it has: an offer is answered `want`, and storing it, with a live reference, takes the mark away in
 * the same batch. After the grace, and one more look, it goes under its lock if it is still condemned and every reference dead; the bytes first and durably,
 * references and mark after them, so that what a crash leaves is still condemned. (The other way round a crash leaves a block that nothing refers to, and that
 * is never taken away, for a missing reference proves nothing.)
 */
export interface CondemnedBlocks {
  /**
   * Versions of the block that are not known to be dead, at most `limit`: in order of their ids, from `from` on (the beginning of one, or nothing), and then those before it, and those of references
   * that were set aside. A reference that cannot be read is left out, and keeps the block all the same.
   */
  living (cid: Cid, limit: number, from?: Uint8Array): Promise<readonly Uint8Array[]>
  /** The versions that these prove to be dead need the block no more. On disk when it resolves. */
  died (cid: Cid, proofs: readonly Uint8Array[]): Promise<void>
  /** 'condemned': on disk, now or before. 'kept': a reference lives, or there is none. */
  condemn (cid: Cid, since: Since): Promise<'condemned' | 'kept'>
  isCondemned (cid: Cid): Promise<boolean>
  /** Takes the mark away. */
  spare (cid: Cid): Promise<void>
  /** The grace begins anew. */
  restart (cid: Cid, since: Since): Promise<void>
  /** In order of their digests, behind `after`. */
  page (options: { after: Uint8Array | undefined, limit: number }): Promise<{ items: ReadonlyArray<{ cid: Cid, since: Since }>, next: Uint8Array | undefined }>
  /** 'collected': block, shards, references and mark are gone, durably. 'kept': a reference lives after all, and the mark is gone. */
  collect (cid: Cid): Promise<'collected' | 'kept'>
  /**
   * Of a block that some version needs, what is kept in these forms, as far as no reference that lives wants it so; the rest, and all references, stay. Only where a
   * version has died: what nobody is known to have wanted is kept. On disk when it resolves.
   */
  strip (cid: Cid, forms: ReadonlySet<FormName>): Promise<'stripped' | 'kept'>
  /**
   * Of a block that some version needs: dead references that were there at the last call go, and those that came since go with the next, but one, by which it is known that a version has died.
   * Until then what is offered for them is refused. A block that lives for ever would else remember every version that it ever was for.
   */
  forgetDead (cid: Cid): Promise<void>
}

/** When a block was condemned, by a clock that means something only to the process that had it. */
export interface Since {
  /** Random, 16 bytes, of one run of a node. */
  readonly run: Uint8Array
  readonly monotonicMs: number
}

/** Key: 12 | digest(32) | versionId(32); value: the proof, 32 bytes that hash to the version's id. */
export const deadKind = 12

export const deadKeyOf = (cid: Cid, { versionId }: Pick<BlockReference, 'versionId'>): Uint8Array => concat([Uint8Array.of(deadKind), digestOf(cid), versionId])

/** The keys of all dead references to a block. */
export const deadReferencesTo = (cid: Cid): KeyRange => keysOf(deadKind, cid)

/** Key: 13 | digest(32) | versionId(32); value: the proof. A dead reference that is to be forgotten: it refuses what is offered for its version, and says nothing else. */
const longDeadKind = 13

export const longDeadKeyOf = (cid: Cid, { versionId }: Pick<BlockReference, 'versionId'>): Uint8Array => concat([Uint8Array.of(longDeadKind), digestOf(cid), versionId])

function keysOf (kind: number, cid: Cid): KeyRange {
  const prefix = concat([Uint8Array.of(kind), digestOf(cid)])
  return { from: prefix, to: concat([prefix, new Uint8Array(33).fill(0xff)]) }
}

/** Key: 11 | digest(32); value: run(16) | u64 milliseconds. */
export const condemnedKind = 11
const digestLength = 32

export const condemnedKeyOf = (cid: Cid): Uint8Array => concat([Uint8Array.of(condemnedKind), digestOf(cid)])

export const condemnedLimits = {
  /** References deleted, or put aside as dead, in one batch. */
  atOnce: 1000,
} as const

export interface CondemnedParts {
  readonly blocks: Pick<DiskBlocks, 'delete' | 'has' | 'shards'>
  readonly index: KeyValue
  /** Those of the holder of the same blocks. */
  readonly locks: KeyedQueue
}

export function condemnedBlocks ({ blocks, index, locks }: CondemnedParts): CondemnedBlocks {
  const isCondemned = async (cid: Cid): Promise<boolean> => await index.get(condemnedKeyOf(cid)) !== undefined
  const mark = async (cid: Cid, since: Since): Promise<void> => { await index.batch([{ type: 'put', key: condemnedKeyOf(cid), value: encodeSince(since) }], { sync: true }) }
  const unmark = async (cid: Cid): Promise<void> => { await index.batch([{ type: 'delete', key: condemnedKeyOf(cid) }], { sync: true }) }
  return {
    async living (cid, limit, from = empty) {
      const found: Uint8Array[] = []
      const all = referencesTo(cid)
      const start = concat([all.from, from])
      for (const range of [{ ...all, from: start }, { ...all, to: start }]) {
        for await (const [key, value] of index.entries(range)) {
          const reference = referenceOf(key, value)
          if (reference === 'damaged') continue
          found.push(reference.versionId)
          if (found.length === limit) return found
        }
      }
      // one whose key rotted to another length names no version, and keeps the block all the same
      for await (const key of index.keys({ ...asideReferencesTo(cid), limit: limit - found.length })) if (key.byteLength === 2 + 2 * digestLength) found.push(key.slice(2 + digestLength))
      return found
    },
    died: async (cid, proofs) => locks.run(cid, async () => {
      for (let at = 0; at < proofs.length; at += condemnedLimits.atOnce) {
        await index.batch(proofs.slice(at, at + condemnedLimits.atOnce).flatMap((proof): KeyValueChange[] => {
          const versionId = hash(proof)
          const key = referenceKeyOf(cid, { versionId })
          return [{ type: 'delete', key }, { type: 'delete', key: asideKeyOf(key) }, { type: 'put', key: deadKeyOf(cid, { versionId }), value: proof }]
        }), { sync: true })
      }
    }),
    condemn: async (cid, since) => locks.run(cid, async () => {
      if (await isCondemned(cid)) return 'condemned'
      if (!await areAllDead(index, cid)) return 'kept'
      await mark(cid, since)
      return 'condemned'
    }),
    isCondemned,
    spare: async (cid) => locks.run(cid, async () => unmark(cid)),
    restart: async (cid, since) => locks.run(cid, async () => { if (await isCondemned(cid)) await mark(cid, since) }),
    async page ({ after, limit }) {
      const from = after === undefined ? Uint8Array.of(condemnedKind) : concat([Uint8Array.of(condemnedKind), after, Uint8Array.of(0)])
      const items: Array<{ cid: Cid, since: Since }> = []
      let [last, read]: [Uint8Array | undefined, number] = [undefined, 0]
      for await (const [key, value] of index.entries({ from, to: Uint8Array.of(condemnedKind + 1), limit })) {
        read++
        last = key.slice(1)
        // what rotted is the mark of no block
        if (last.byteLength === digestLength) items.push({ cid: cidOfDigest(last), since: decodeSince(value) })
      }
      return { items, next: read === limit ? last : undefined }
    },
    collect: async (cid) => locks.run(cid, async () => {
      if (!await isCondemned(cid)) return 'kept'
      if (!await areAllDead(index, cid)) { await unmark(cid); return 'kept' }
      await blocks.delete(cid)
      for await (const name of blocks.shards.of(cid)) await blocks.shards.delete(name)
      await forget(index, cid)
      return 'collected'
    }),
    strip: async (cid, forms) => locks.run(cid, async () => {
      const sum = await sumOfReferences(index, cid)
      if (sum.count === 0 || sum.damaged > 0 || !await isAnyDead(index, cid) || await isAnyAside(index, cid)) return 'kept'
      const goes = (form: FormName): boolean => forms.has(form) && !isWanted(sum, form)
      let outcome: 'stripped' | 'kept' = 'kept'
      if (goes('whole') && await blocks.has(cid)) { await blocks.delete(cid); outcome = 'stripped' }
      for await (const name of blocks.shards.of(cid)) if (goes(formNameOf(name))) { await blocks.shards.delete(name); outcome = 'stripped' }
      return outcome
    }),
    forgetDead: async (cid) => locks.run(cid, async () => {
      if (!await isAny(index.keys(referencesTo(cid)))) return
      const changes: KeyValueChange[] = []
      // nothing depends on it: what a crash takes back goes with the next call
      const add = async (...some: KeyValueChange[]): Promise<void> => {
        changes.push(...some)
        if (changes.length >= condemnedLimits.atOnce) await index.batch(changes.splice(0), { sync: false })
      }
      for await (const key of index.keys(keysOf(longDeadKind, cid))) await add({ type: 'delete', key })
      let isKept = false
      for await (const [key, proof] of index.entries(deadReferencesTo(cid))) {
        const versionId = key.slice(1 + 32)
        if (!equals(hash(proof), versionId)) continue
        if (isKept) await add({ type: 'delete', key }, { type: 'put', key: longDeadKeyOf(cid, { versionId }), value: proof })
        isKept = true
      }
      if (changes.length > 0) await index.batch(changes, { sync: false })
    }),
  }
}

async function isAny (keys: AsyncIterable<unknown>): Promise<boolean> {
  for await (const _ of keys) return true
  return false
}

async function isAnyDead (index: KeyValue, cid: Cid): Promise<boolean> {
  for await (const [key, proof] of index.entries(deadReferencesTo(cid))) if (equals(hash(proof), key.subarray(1 + 32))) return true
  return false
}

/** A reference of a version that is not dead, as far as is known, was set aside and does not stand here again. */
export async function isAnyAside (index: Pick<KeyValue, 'get' | 'keys'>, cid: Cid): Promise<boolean> {
  for await (const key of index.keys(asideReferencesTo(cid))) if (await index.get(key.slice(1)) === undefined) return true
  return false
}

/** There are dead references, each with its proof, and no other: not even one that cannot be read, or was set aside for that. */
async function areAllDead (index: KeyValue, cid: Cid): Promise<boolean> {
  if (await isAny(index.keys(referencesTo(cid))) || await isAnyAside(index, cid)) return false
  let isOne = false
  for await (const [key, proof] of index.entries(deadReferencesTo(cid))) {
    if (!equals(hash(proof), key.subarray(1 + 32))) return false
    isOne = true
  }
  return isOne
}

/** All references of a block, living or dead, and that it is condemned: the mark last. */
export async function forget (index: KeyValue, cid: Cid): Promise<void> {
  let changes: KeyValueChange[] = []
  for (const range of [referencesTo(cid), asideReferencesTo(cid), deadReferencesTo(cid), keysOf(longDeadKind, cid)]) {
    for await (const key of index.keys(range)) {
      changes.push({ type: 'delete', key })
      if (changes.length < condemnedLimits.atOnce) continue
      await index.batch(changes, { sync: true })
      changes = []
    }
  }
  await index.batch([...changes, { type: 'delete', key: condemnedKeyOf(cid) }], { sync: true })
}

export const isSameRun = (a: Since, b: Pick<Since, 'run'>): boolean => equals(a.run, b.run)

export const encodeSince = ({ run, monotonicMs }: Since): Uint8Array => new ByteWriter().raw(run).u64(Math.floor(monotonicMs)).finish()

/** Of a damaged mark the run is nobody's: the grace begins anew. */
function decodeSince (value: Uint8Array): Since {
  if (value.byteLength !== 24) return { run: new Uint8Array(16), monotonicMs: 0 }
  const reader = new ByteReader(value)
  return { run: reader.raw(16).slice(), monotonicMs: Number(reader.u64()) }
}
