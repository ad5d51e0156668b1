import { AsyncLocalStorage } from 'node:async_hooks'
import { concat, hexOf, utf8 } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import type { Random } from '../../src/base/random.ts'
import type { CondemnedBlocks } from '../../src/blockstore/condemned.ts'
import type { BlockHolder, BlockReference } from '../../src/blockstore/holder.ts'
import { type FormName, formNameOf } from '../../src/blockstore/references.ts'

/** del, in this world: the salt, under no key. */
export const proofOf = ({ salt }: { readonly salt: Uint8Array }): Uint8Array => hash(concat([utf8('del'), salt]))

/** A put that is under way, for whoever makes its version. */
export interface PutUnderWay { readonly key: string, readonly began?: (versionId: string) => void, version?: string }

interface VersionFate {
  readonly key: string
  readonly owner: PeerId
  /** It may die. */
  isMortal: boolean
  isUnderWay: boolean
  /** It is, and has not moved for as long as an upload may stand still: it may be given up, and then fails, or be done after all. */
  isGivenUp: boolean
  /** The id that its blocks are kept for; a symbol: nobody knows yet. */
  blocks: string | symbol
}

/** What each version is for, and who has promised to keep what. */
export class Ledger {
  readonly violations: string[] = []
  readonly #versions = new Map<string, VersionFate>()
  readonly #promises = new Map<string, { readonly peer: PeerId, readonly cid: Cid, readonly versionId: Uint8Array, readonly copies: number, readonly form: FormName }>()
  readonly #collected = new Set<string>()
  /** Promises of which a disk has forgotten the record, by their names. */
  readonly #forgotten = new Set<string>()
  /** Versions that are made within are of that put, whatever else the node does. */
  readonly puts = new AsyncLocalStorage<PutUnderWay>()
  readonly #putting = new Map<PeerId, string>()

  /** From now on versions that this node makes are of that key. */
  begins (owner: PeerId, key: string): void { this.#putting.set(owner, key) }

  /** Every version of the key that there is may die. */
  replaces (key: string): void { for (const version of this.#versions.values()) if (version.key === key) version.isMortal = true }

  /** Of the last one that it made: whether it stands. */
  ends (owner: PeerId, isStored: boolean): void {
    for (const version of this.#versions.values()) {
      if (version.owner !== owner || !version.isUnderWay) continue
      version.isUnderWay = version.isGivenUp = false
      if (!isStored) version.isMortal = true
    }
  }

  /** The put that is under way has not moved for as long as one may: that of this version, or what this node makes. */
  standsStill (put: { readonly versionId: string } | { readonly owner: PeerId }): void {
    for (const [id, version] of this.#versions) if (version.isUnderWay && ('owner' in put ? version.owner === put.owner : id === put.versionId)) version.isGivenUp = true
  }

  died (owner: PeerId): void { this.ends(owner, false) }

  fresh (owner: PeerId, random: Random): { id: Uint8Array, salt: Uint8Array, epoch: number } {
    const salt = random.bytes(16)
    const id = hash(proofOf({ salt }))
    const put = this.puts.getStore()
    const key = put?.key ?? this.#putting.get(owner) ?? ''
    this.replaces(key)
    // of two puts of one key at once either may replace the other
    const isContested = [...this.#versions.values()].some((version) => version.key === key && version.isUnderWay)
    this.#versions.set(hexOf(id), { key, owner, isMortal: isContested, isUnderWay: true, isGivenUp: false, blocks: 'own' })
    if (put !== undefined) { put.version = hexOf(id); put.began?.(put.version) }
    return { id, salt, epoch: 1 }
  }

  collectedCount = 0

  promisesAt (peer: PeerId): ReadonlyArray<{ cid: Cid, versionId: Uint8Array }> { return [...this.#promises.values()].filter((promise) => promise.peer === peer && this.#isImmortal(promise.versionId)) }
  wasCollected (peer: PeerId, cid: Cid): boolean { return this.#collected.has(`${peer} ${cid}`) }

  /** Its disk has nothing any more of what it promised: what it cannot know it may give up. */
  forgot (peer: PeerId, cid: Cid, versionId: Uint8Array): void { this.#forgotten.add(nameOf(peer, cid, versionId)) }

  /** `places`: on how many nodes the block may lie, by the layout that this one goes by. */
  noting (peer: PeerId, holder: BlockHolder, { places = () => Infinity }: { places?: (cid: Cid) => number } = {}): BlockHolder {
    // bytes come before references: what a crash leaves between the two was never promised, and is not what was taken away
    const begin = (cid: Cid): void => { this.#collected.delete(`${peer} ${cid}`) }
    const note = (cid: Cid, { versionId, redundancy: { k, m } }: BlockReference): void => {
      begin(cid)
      this.#forgotten.delete(nameOf(peer, cid, versionId))
      this.#promises.set(nameOf(peer, cid, versionId), { peer, cid, versionId, copies: k === 1 ? 1 + m : 0, form: formNameOf({ k, m }) })
    }
    return {
      keep: async (cid, reference) => {
        const outcome = await holder.keep(cid, reference)
        if (outcome === 'kept') note(cid, reference)
        return outcome
      },
      store: async (cid, block, reference) => { begin(cid); await holder.store(cid, block, reference); note(cid, reference) },
      keepShard: async (name, reference) => {
        const outcome = await holder.keepShard(name, reference)
        if (outcome === 'kept') note(name.cid, reference)
        return outcome
      },
      storeShard: async (shard, reference) => { begin(shard.cid); await holder.storeShard(shard, reference); note(shard.cid, reference) },
      references: (cid) => holder.references(cid),
      sawRight: (name) => { holder.sawRight(name) },
      mendReference: async (key) => holder.mendReference(key),
      living: async (cids) => holder.living(cids),
      presence: async (cids) => holder.presence(cids),
      release: async (cid, confirm) => {
        const outcome = await holder.release(cid, confirm)
        if (outcome === 'released') this.#gaveUp(peer, cid, places(cid))
        return outcome
      },
      releaseShard: async (name, confirm) => {
        const outcome = await holder.releaseShard(name, confirm)
        if (outcome === 'released') this.#forget(peer, name.cid)
        return outcome
      },
      shardPresence: async (wanted) => holder.shardPresence(wanted),
    }
  }

  judging (peer: PeerId, condemned: CondemnedBlocks): CondemnedBlocks {
    return {
      ...condemned,
      collect: async (cid) => {
        this.#collected.add(`${peer} ${cid}`)
        const outcome = await condemned.collect(cid)
        if (outcome === 'collected') {
          this.collectedCount++
          for (const promise of this.#promises.values()) {
            if (promise.peer === peer && promise.cid === cid && this.#isImmortal(promise.versionId)) this.violations.push(`${peer} took away ${cid}, which version ${hexOf(promise.versionId).slice(0, 8)} of ${this.#keyOf(promise.versionId)} needs`)
          }
        }
        return outcome
      },
      strip: async (cid, forms) => {
        const outcome = await condemned.strip(cid, forms)
        if (outcome === 'stripped') {
          for (const promise of this.#promises.values()) {
            if (promise.peer === peer && promise.cid === cid && forms.has(promise.form) && this.#isImmortal(promise.versionId)) this.violations.push(`${peer} took away ${cid} as ${promise.form}, which is how ${this.#keyOf(promise.versionId)} keeps it`)
          }
        }
        return outcome
      },
    }
  }

  /** An id that a conversion keeps blocks for: it counts when the row is known to say so. */
  freshForBlocks (random: Random): { id: Uint8Array, salt: Uint8Array, epoch: number } {
    const salt = random.bytes(16)
    return { id: hash(proofOf({ salt })), salt, epoch: 1 }
  }

  /** The blocks of a version may be kept for another id from now on; gives what tells that they are. */
  converts (versionId: string, blocksId: string): () => void {
    const version = this.#versions.get(versionId)
    if (version === undefined) return () => {}
    const attempt = Symbol(blocksId)
    version.blocks = attempt
    return () => {
      // another may have begun meanwhile: then it is for that one to say
      if (version.blocks !== attempt) return
      version.blocks = blocksId
      this.#converted.set(blocksId, versionId)
      this.convertedCount++
    }
  }

  convertedCount = 0
  /** Version by the id its blocks are kept for. */
  readonly #converted = new Map<string, string>()

  /** Whether it stands. */
  ended (versionId: string, isStored: boolean): void {
    const version = this.#versions.get(versionId)
    if (version?.isUnderWay !== true) return
    version.isUnderWay = version.isGivenUp = false
    if (!isStored) version.isMortal = true
  }

  /** Others must have promised it, as many as its redundancy asks; where fewer nodes hold blocks, all of those. */
  #gaveUp (peer: PeerId, cid: Cid, places: number): void {
    const all = [...this.#promises.values()].filter((promise) => promise.cid === cid && promise.copies > 0)
    for (const { versionId, copies } of all.filter((promise) => promise.peer === peer && !this.#forgotten.has(nameOf(peer, cid, promise.versionId)) && this.#isImmortal(promise.versionId))) {
      const others = all.filter((promise) => promise.peer !== peer && hexOf(promise.versionId) === hexOf(versionId)).length
      if (others < Math.min(copies, places)) this.violations.push(`${peer} gave up ${cid}, of which version ${hexOf(versionId).slice(0, 8)} wants ${copies} copies, and ${others} others have promised one`)
    }
    this.#forget(peer, cid)
  }

  #forget (peer: PeerId, cid: Cid): void { for (const [name, promise] of this.#promises) if (promise.peer === peer && promise.cid === cid) this.#promises.delete(name) }

  /** What promises are for: an id of blocks, of a version that must live. */
  #isImmortal (blocksId: Uint8Array): boolean {
    const id = hexOf(blocksId)
    const own = this.#versions.get(id)
    if (own !== undefined) return !own.isMortal && !own.isGivenUp && own.blocks === 'own'
    const of = this.#versions.get(this.#converted.get(id) ?? '')
    return of?.isMortal === false && of.blocks === id
  }

  #keyOf (blocksId: Uint8Array): string | undefined { return this.#versions.get(this.#converted.get(hexOf(blocksId)) ?? hexOf(blocksId))?.key }
}

const nameOf = (peer: PeerId, cid: Cid, versionId: Uint8Array): string => `${peer} ${cid} ${hexOf(versionId)}`
