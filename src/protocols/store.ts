import type { Budget } from '../base/budget.ts'
import { ByteReader, ByteWriter, concat, fromHex, hexOf, MalformedBytes } from '../base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf } from '../base/cid.ts'
import { Corrupt, Refused, StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { checkCode, decodeShard, encodeShard, listLength, type Shard } from '../blockstore/shard.ts'
import { RequestRefused, type Requests } from '../network/index.ts'
import { type Holder, type Living, type Presence, presenceLimits, type Redundancy, type Reference, type ShardPresence, type StoreOutcome } from '../replication/index.ts'

/**
 * `/dfs/store/1.0.0`: pushes blocks. A holder is first offered the address with the version that wants it, for it may have the block; then it is sent the
 * bytes, and answers when block and reference are on its disk. Small blocks are sent at once: an offer would cost more than it could save.
 *
 * offer   = 01 | reference | u32 length                  answer: u8 outcome (want, had, full, refused)
 * payload = 02 | reference | block                       answer: u8 outcome (stored, full, refused, corrupt)
 * ask     = 03 | 00 | u16 n | n × H(block)               answer: n × (u8 state (absent, held, verified) | u32 digest of references)
 * shards  = 03 | 02 | u16 n | n × (H(block) | k u8 | m u8) answer: n × (u32 bits of the indexes that are here | u32 digest of references that want them)
 * living  = 03 | 03 | u16 n | n × H(block)              answer: n × (u8 count (at most 16) | u8 1: there are more | count × versionId(32))
 * wants   = 03 | 04 | u16 n | n × H(block)              answer: as of living, with versionId(32) | k u8 | m u8
 * tell    = 03 | 01 | u16 n | n × reference              answer: n × u8 outcome (want, had, refused)
 * offer   = 04 | reference | u8 index | list(16)         answer: u8 outcome (want, had, refused): of a shard of the code that the reference names
 * payload = 05 | reference | record of a shard           answer: u8 outcome (stored, full, refused, corrupt)
 * reference = H(block)(32) | versionId(32) | k u8 | m u8
 *
 * A kind plus 80 (hexadecimal) is the same, and says that no user waits for it; offered so, a block or shard that is there is read again before the answer.
 * What a peer has is asked for many at once, and promises nothing; what it is told, it keeps as if it had been offered each alone.
 */
export const storeProtocol = '/dfs/store/1.0.0'

export const storeLimits = {
  /** The longest block (2 MiB and its overhead) with its reference. */
  maxBlockBytes: 2 * 1024 * 1024 + 1024,
  maxRequestBytes: 2 * 1024 * 1024 + 4096,
  maxAnswerBytes: 16,
  /** From one peer at once. */
  maxConcurrent: 32,
  timeoutMs: 30_000,
  /** Up to here a block travels without being offered first. */
  unofferedBytes: 64 * 1024,
} as const

const kinds = { offer: 1, payload: 2, many: 3, shardOffer: 4, shardPayload: 5 } as const
/** Set in a kind: no user waits for it. */
const background = 0x80
const ofMany = { ask: 0, tell: 1, shards: 2, living: 3, wants: 4 } as const
const outcomes = ['want', 'had', 'stored', 'full', 'refused', 'corrupt'] as const
type Outcome = typeof outcomes[number]
const states = ['absent', 'held', 'verified'] as const
/** u8 state, u32 references */
const presenceBytes = 5
/** u32 indexes, u32 references */
const shardPresenceBytes = 8

export interface StoreParts {
  readonly holder: Holder
  /** Bounds what is held for all peers together; see HandlerLimits. */
  readonly budget: Budget
  readonly warn: (message: string, cause: unknown) => void
  /** Told of what a user of a peer waits for. */
  readonly users?: { begin (kind: string): Disposable }
  /** Whether this node has held blocks and holds them no more: then it promises nothing. Default: it has not been left out. */
  readonly isLeftOut?: () => boolean
}

/**
 * Whether a node that held blocks does so no more, by the layout that it knows: it may have looked for the last time at what lies on it, told that this is nothing, and be
 * switched off. One that is to hold, and has not heard of it yet, is not left out. `holders`: everybody who holds blocks, or is to. `hasHeld`: before the start. `onHolding`: it is seen to hold for the
 * first time.
 */
export function leftOutOf ({ self, holders, hasHeld = false, onHolding = () => {} }: { self: PeerId, holders: () => readonly PeerId[], hasHeld?: boolean, onHolding?: () => void }): () => boolean {
  let wasHolder = hasHeld
  const isLeftOut = (): boolean => {
    if (!holders().includes(self)) return wasHolder
    if (!wasHolder) { wasHolder = true; onHolding() }
    return false
  }
  isLeftOut()
  return isLeftOut
}

/** Serves a holder to members. */
export async function serveStore (requests: Requests, { holder, budget, warn, users, isLeftOut = () => false }: StoreParts): Promise<void> {
  const { maxRequestBytes, maxConcurrent } = storeLimits
  // what was on its way when it was left out may have come behind the last look
  const promise = async (kept: () => Promise<Outcome>): Promise<Outcome> => {
    const outcome = isLeftOut() ? 'refused' : await kept()
    return isLeftOut() ? 'refused' : outcome
  }
  await requests.handle(storeProtocol, async (_peer, body) => {
    const kind = body[0] ?? 0
    const step = stepOf(kind, body.byteLength)
    using _waiting = step === undefined ? undefined : users?.begin(step)
    const reader = new ByteReader(body.subarray(1))
    return [kind === kinds.many ? await answerToMany(holder, reader, { warn, promise }) : Uint8Array.of(outcomes.indexOf(await promise(async () => outcomeOf(holder, { kind: kind & ~background, isBackground: (kind & background) !== 0, reader, warn }))))]
  }, { maxRequestBytes, maxConcurrent, holding: { budget, answerBytes: 0 } })
}

/**
 * What a user waits for. Storing twice as much takes longer: that is not told from work beside it. So many are kept apart that peers cannot take the place of all
 * others in the measure of long work, whatever they send: an offer has one length, and up to 4 KiB it is the disk that takes the time.
 */
function stepOf (kind: number, bytes: number): string | undefined {
  if (kind === kinds.offer || kind === kinds.shardOffer) return `store ${kind}`
  if (kind === kinds.payload || kind === kinds.shardPayload) return `store ${kind} ${Math.max(12, Math.ceil(Math.log2(bytes)))}`
  return undefined
}

async function outcomeOf (holder: Holder, { kind, isBackground, reader, warn }: { kind: number, isBackground: boolean, reader: ByteReader, warn: StoreParts['warn'] }): Promise<Outcome> {
  const { cid, reference } = readReference(reader)
  try {
    if (kind === kinds.offer) {
      const length = reader.u32()
      reader.end()
      if (length > storeLimits.maxBlockBytes) return 'refused'
      // who offers it behind may give up the last good copy for this one
      return await holder.keep(cid, reference, { isReadAgain: isBackground }) === 'kept' ? 'had' : 'want'
    }
    if (kind === kinds.shardOffer || kind === kinds.shardPayload) return await outcomeOfShard(holder, { cid, reference, reader, isOffer: kind === kinds.shardOffer, isBackground })
    if (kind !== kinds.payload) throw new MalformedBytes(`a store request of kind ${kind}`)
    const block = reader.rest()
    if (block.byteLength > storeLimits.maxBlockBytes) return 'refused'
    if (cidOf(block) !== cid) return 'corrupt'
    await holder.store(cid, block, reference)
    return 'stored'
  } catch (error) {
    if (error instanceof StoreFull) return 'full'
    if (error instanceof Corrupt) return 'corrupt'
    if (error instanceof Refused) return 'refused'
    if (!(error instanceof MalformedBytes)) warn('a block could not be stored', error)
    throw error
  }
}

async function outcomeOfShard (holder: Holder, { cid, reference, reader, isOffer, isBackground }: { cid: Cid, reference: Reference, reader: ByteReader, isOffer: boolean, isBackground: boolean }): Promise<Outcome> {
  const { k, m } = reference.redundancy
  if (isOffer) {
    const [index, list] = [reader.u8(), hexOf(reader.raw(listLength))]
    reader.end()
    checkCode({ k, m })
    if (index >= k + m) throw new MalformedBytes(`shard ${index} of ${k}+${m}`)
    return await holder.keepShard({ cid, k, m, index, list }, reference, { isReadAgain: isBackground }) === 'kept' ? 'had' : 'want'
  }
  const shard = shardIn(reader.rest())
  if (shard === undefined) return 'corrupt'
  if (shard.cid !== cid || shard.k !== k || shard.m !== m) throw new MalformedBytes('a shard of another block or code than its reference')
  await holder.storeShard(shard, reference)
  return 'stored'
}

function shardIn (record: Uint8Array): Shard | undefined {
  try {
    return decodeShard(record)
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined
    throw error
  }
}

export interface StoreOptions {
  readonly signal?: AbortSignal
  /** No user waits for it; default: one does. */
  readonly isBackground?: boolean
}

/** Offers and sends one block; resolves when it is on the peer's disk, or with why not. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function storeAt (requests: Requests, peer: PeerId, { cid, bytes, reference }: { cid: Cid, bytes: Uint8Array, reference: Reference }, options: StoreOptions): Promise<StoreOutcome> {
  const ask = outcomesOf(requests, peer, options)
  const head = writeReference(cid, reference)
  if (bytes.byteLength > storeLimits.unofferedBytes) {
    const offered = await ask(kinds.offer, [head, new ByteWriter().u32(bytes.byteLength).finish()])
    if (offered !== 'want') return outcomeFor(peer, offered)
  }
  return outcomeFor(peer, await ask(kinds.payload, [head, bytes]))
}

/** As `storeAt`, of one shard. */
export async function storeShardAt (requests: Requests, peer: PeerId, { shard, reference }: { shard: Shard, reference: Reference }, options: StoreOptions): Promise<StoreOutcome> {
  const ask = outcomesOf(requests, peer, options)
  const head = writeReference(shard.cid, { ...reference, redundancy: { k: shard.k, m: shard.m } })
  if (shard.bytes.byteLength > storeLimits.unofferedBytes) {
    const offered = await ask(kinds.shardOffer, [head, Uint8Array.of(shard.index), fromHex(shard.list)])
    if (offered !== 'want') return outcomeFor(peer, offered)
  }
  return outcomeFor(peer, await ask(kinds.shardPayload, [head, ...encodeShard(shard)]))
}

function outcomesOf (requests: Requests, peer: PeerId, { signal, isBackground = false }: StoreOptions): (kind: number, parts: readonly Uint8Array[]) => Promise<Outcome> {
  return async (kind, parts) => {
    const { timeoutMs, maxAnswerBytes } = storeLimits
    const answer = await requests.request(peer, storeProtocol, [Uint8Array.of(isBackground ? kind | background : kind), ...parts], { signal, timeoutMs, maxAnswerBytes })
    const outcome = outcomes[answer[0] ?? outcomes.length]
    if (answer.byteLength !== 1 || outcome === undefined) throw new Corrupt(`${peer} answered what it was brought with something unknown`)
    return outcome
  }
}

/** What a peer has of many blocks. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function presenceAt (requests: Requests, peer: PeerId, cids: readonly Cid[], { signal }: { signal?: AbortSignal }): Promise<readonly Presence[]> {
  const question = concat([Uint8Array.of(kinds.many, ofMany.ask), new ByteWriter().u16(cids.length).finish(), ...cids.map(digestOf)])
  const reader = new ByteReader(await requests.request(peer, storeProtocol, [question], { signal, timeoutMs: storeLimits.timeoutMs, maxAnswerBytes: presenceLimits.maxAsked * presenceBytes }))
  if (reader.remaining !== cids.length * presenceBytes) throw new Corrupt(`${peer} was asked for ${cids.length} blocks and answered with ${reader.remaining} bytes`)
  return cids.map(() => {
    const state = states[reader.u8()]
    if (state === undefined) throw new Corrupt(`${peer} answered what it has of a block with something unknown`)
    return { state, references: reader.u32() }
  })
}

/** What a peer has of the shards of many blocks. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function shardPresenceAt (requests: Requests, peer: PeerId, wanted: ReadonlyArray<{ cid: Cid, redundancy: Redundancy }>, { signal }: { signal?: AbortSignal }): Promise<readonly ShardPresence[]> {
  const question = concat([Uint8Array.of(kinds.many, ofMany.shards), new ByteWriter().u16(wanted.length).finish(), ...wanted.flatMap(({ cid, redundancy: { k, m } }) => [digestOf(cid), Uint8Array.of(k, m)])])
  const reader = new ByteReader(await requests.request(peer, storeProtocol, [question], { signal, timeoutMs: storeLimits.timeoutMs, maxAnswerBytes: presenceLimits.maxAsked * shardPresenceBytes }))
  if (reader.remaining !== wanted.length * shardPresenceBytes) throw new Corrupt(`${peer} was asked for the shards of ${wanted.length} blocks and answered with ${reader.remaining} bytes`)
  return wanted.map(({ redundancy: { k, m } }) => {
    const bits = reader.u32()
    return { indexes: new Set(Array.from({ length: k + m }, (_, i) => i).filter((i) => (bits >>> i & 1) === 1)), references: reader.u32() }
  })
}

/** Who needs blocks, and kept how, as a peer has recorded it; one of an older version tells who alone. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function livingAt (requests: Requests, peer: PeerId, cids: readonly Cid[], wait: { signal?: AbortSignal }): Promise<readonly Living[]> {
  try {
    return await livingIn(requests, peer, cids, { ...wait, isToldHow: true })
  } catch (error) {
    if (!(error instanceof RequestRefused)) throw error
    return livingIn(requests, peer, cids, { ...wait, isToldHow: false })
  }
}

async function livingIn (requests: Requests, peer: PeerId, cids: readonly Cid[], { isToldHow, signal }: { isToldHow: boolean, signal?: AbortSignal }): Promise<readonly Living[]> {
  const { maxAskedLiving, maxLiving } = presenceLimits
  const question = concat([Uint8Array.of(kinds.many, isToldHow ? ofMany.wants : ofMany.living), new ByteWriter().u16(cids.length).finish(), ...cids.map(digestOf)])
  const reader = new ByteReader(await requests.request(peer, storeProtocol, [question], { signal, timeoutMs: storeLimits.timeoutMs, maxAnswerBytes: maxAskedLiving * (2 + 34 * maxLiving) }))
  const living = cids.map((): Living => {
    const [count, isMore] = [reader.u8(), reader.u8() !== 0]
    const each = Array.from({ length: count }, () => ({ versionId: reader.raw(32).slice(), redundancy: isToldHow ? { k: reader.u8(), m: reader.u8() } : undefined }))
    return { versionIds: each.map(({ versionId }) => versionId), ...(isToldHow ? { redundancies: each.flatMap(({ redundancy }) => redundancy ?? []) } : {}), isMore }
  })
  reader.end()
  return living
}

const bitsOf = (indexes: Iterable<number>): number => [...indexes].reduce((bits, index) => (bits | 1 << index) >>> 0, 0)

/** Offers many blocks with their references, without the bytes. @throws PeerUnreachable, RequestRefused, Corrupt */
export async function tellAt (requests: Requests, peer: PeerId, references: ReadonlyArray<{ cid: Cid, reference: Reference }>, { signal }: { signal?: AbortSignal }): Promise<ReadonlyArray<StoreOutcome | 'want'>> {
  const offer = concat([Uint8Array.of(kinds.many, ofMany.tell), new ByteWriter().u16(references.length).finish(), ...references.map(({ cid, reference }) => writeReference(cid, reference))])
  const answer = await requests.request(peer, storeProtocol, [offer], { signal, timeoutMs: storeLimits.timeoutMs, maxAnswerBytes: presenceLimits.maxTold })
  if (answer.byteLength !== references.length) throw new Corrupt(`${peer} was told ${references.length} references and answered ${answer.byteLength}`)
  return [...answer].map((code) => {
    const outcome = outcomes[code]
    if (outcome === undefined || outcome === 'corrupt' || outcome === 'stored') throw new Corrupt(`${peer} answered a reference with something unknown`)
    return outcome
  })
}

async function answerToMany (holder: Holder, reader: ByteReader, { warn, promise }: Pick<StoreParts, 'warn'> & { readonly promise: (kept: () => Promise<Outcome>) => Promise<Outcome> }): Promise<Uint8Array> {
  const kind = reader.u8()
  const count = reader.u16()
  if (count > presenceLimits.maxAsked) throw new MalformedBytes(`a question about ${count} blocks`)
  if (kind === ofMany.ask) {
    const cids = Array.from({ length: count }, () => cidOfDigest(reader.raw(32)))
    reader.end()
    const answer = new ByteWriter()
    for (const { state, references } of await holder.presence(cids)) answer.u8(states.indexOf(state)).u32(references)
    return answer.finish()
  }
  if (kind === ofMany.shards) {
    const wanted = Array.from({ length: count }, () => ({ cid: cidOfDigest(reader.raw(32)), redundancy: { k: reader.u8(), m: reader.u8() } }))
    reader.end()
    for (const { redundancy } of wanted) checkCode(redundancy)
    const answer = new ByteWriter()
    for (const { indexes, references } of await holder.shardPresence(wanted)) answer.u32(bitsOf(indexes)).u32(references)
    return answer.finish()
  }
  if (kind === ofMany.living || kind === ofMany.wants) {
    if (count > presenceLimits.maxAskedLiving) throw new MalformedBytes(`a question who needs ${count} blocks`)
    const cids = Array.from({ length: count }, () => cidOfDigest(reader.raw(32)))
    reader.end()
    const answer = new ByteWriter()
    for (const { versionIds, redundancies, isMore } of await holder.living(cids)) {
      const told = versionIds.slice(0, presenceLimits.maxLiving)
      answer.u8(told.length).u8(isMore || told.length < versionIds.length ? 1 : 0)
      for (const [i, versionId] of told.entries()) {
        answer.raw(versionId)
        if (kind === ofMany.wants) answer.raw(wantOf(redundancies?.[i]))
      }
    }
    return answer.finish()
  }
  if (kind !== ofMany.tell) throw new MalformedBytes(`a store request for many of kind ${kind}`)
  const told = Array.from({ length: count }, () => readReference(reader))
  reader.end()
  return Uint8Array.from(await Promise.all(told.map(async ({ cid, reference }) => outcomes.indexOf(await promise(async () => outcomeOfReference(holder, { cid, reference }, warn))))))
}

function wantOf (redundancy: Redundancy | undefined): Uint8Array {
  if (redundancy === undefined) throw new Error('a holder that does not say how its blocks are wanted')
  return Uint8Array.of(redundancy.k, redundancy.m)
}

async function outcomeOfReference (holder: Holder, { cid, reference }: { cid: Cid, reference: Reference }, warn: StoreParts['warn']): Promise<Outcome> {
  try {
    return await holder.keep(cid, reference) === 'kept' ? 'had' : 'want'
  } catch (error) {
    if (error instanceof StoreFull) return 'full'
    if (!(error instanceof Refused)) warn('a reference could not be recorded', error)
    return 'refused'
  }
}

function outcomeFor (peer: PeerId, outcome: Outcome): StoreOutcome {
  switch (outcome) {
    case 'stored': case 'had': case 'full': case 'refused': return outcome
    case 'corrupt': throw new Corrupt(`${peer} received other bytes than were sent`)
    case 'want': throw new Corrupt(`${peer} wants what it was just given`)
    default: return outcome satisfies never
  }
}

const writeReference = (cid: Cid, { versionId, redundancy: { k, m } }: Reference): Uint8Array => concat([digestOf(cid), versionId, Uint8Array.of(k, m)])

function readReference (reader: ByteReader): { cid: Cid, reference: Reference } {
  const cid = cidOfDigest(reader.raw(32))
  const versionId = reader.raw(32).slice()
  const redundancy = { k: reader.u8(), m: reader.u8() }
  // of whole copies any number may be asked for: they are as many as there are holders
  if (redundancy.k !== 1) checkCode(redundancy)
  return { cid, reference: { versionId, redundancy } }
}
