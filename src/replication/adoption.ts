import type { Cid } from '../base/cid.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type BlockPeers, type Holder, type Placement, presenceLimits, type Reference, type WriteOptions, writeQuorumOf } from './index.ts'

/**
 * Blocks that are there already become another version's as well: their holders record the reference, and no bytes move. What too few of them keep is left to
 * be put like any other block.
 */
export interface AdoptionParts {
  readonly self: PeerId
  readonly holder: Pick<Holder, 'keep' | 'shardPresence'>
  readonly peers: Pick<BlockPeers, 'tell' | 'shardPresence' | 'reachable'>
  readonly placement: Placement
}

/**
 * Those of the blocks that are on disk at their write quorum, each with the reference. If all are needed, in full, and no whole copy that others have, of a version that is dead perhaps, stands for
 * one that a holder who answers lacks: nobody would bring it there before the next sweep. At most `presenceLimits.maxTold`.
 */
export async function adopt (parts: AdoptionParts, cids: readonly Cid[], reference: Reference, options: WriteOptions & { signal: AbortSignal | undefined }): Promise<ReadonlySet<Cid>> {
  const { signal } = options
  if (cids.length > presenceLimits.maxTold) throw new RangeError(`${cids.length} blocks at once`)
  const up = new Set([parts.self, ...parts.peers.reachable()])
  const placed = new Map([...new Set(cids)].map((cid) => [cid, [...new Set(parts.placement.holdersOf(cid))]]))
  const asked = new Map<PeerId, Cid[]>()
  for (const [cid, peers] of placed) for (const peer of peers) if (up.has(peer)) asked.set(peer, [...asked.get(peer) ?? [], cid])
  const pieces = new Map<Cid, Set<PeerId | number>>()
  const answered = new Set<PeerId>()
  await Promise.all([...asked].map(async ([peer, theirs]) => {
    const found = await kept(parts, peer, theirs.map((cid) => ({ cid, placed: placed.get(cid) ?? [] })), reference, signal)
    if (found === undefined) return
    answered.add(peer)
    for (const { cid, what } of found) for (const piece of what) pieces.set(cid, (pieces.get(cid) ?? new Set()).add(piece))
  }))
  signal?.throwIfAborted()
  return new Set([...placed].filter(([cid, peers]) => {
    // whom the layout has left out meanwhile may have looked for the last time at what lies there, and be switched off
    const now = parts.placement.holdersOf(cid)
    const found = new Set([...pieces.get(cid) ?? []].filter((piece) => { const peer = typeof piece === 'number' ? peers[piece] : piece; return peer !== undefined && now.includes(peer) }))
    const needed = neededOf(reference, peers.length, options)
    const isLacking = options.isAllNeeded === true && reference.redundancy.k === 1 && peers.slice(0, needed).some((peer) => answered.has(peer) && !found.has(peer))
    return found.size >= needed && !isLacking
  }).map(([cid]) => cid))
}

interface Kept {
  readonly cid: Cid
  /** A whole copy counts by who has it, a shard by its index, where it belongs: two that one node has would go together. */
  readonly what: ReadonlyArray<PeerId | number>
}

/** What that peer keeps for the version, and says so; undefined: it cannot be asked. */
async function kept (parts: AdoptionParts, peer: PeerId, asked: ReadonlyArray<{ readonly cid: Cid, readonly placed: readonly PeerId[] }>, reference: Reference, signal: AbortSignal | undefined): Promise<readonly Kept[] | undefined> {
  const { self, peers, holder } = parts
  try {
    const outcomes = peer === self
      ? await Promise.all(asked.map(async ({ cid }) => holder.keep(cid, reference)))
      : await peers.tell(peer, asked.map(({ cid }) => ({ cid, reference })), { signal })
    const theirs = asked.filter((_, i) => outcomes[i] === 'kept' || outcomes[i] === 'had')
    if (reference.redundancy.k === 1 || theirs.length === 0) return theirs.map(({ cid }) => ({ cid, what: [peer] }))
    const wanted = theirs.map(({ cid }) => ({ cid, redundancy: reference.redundancy }))
    const found = peer === self ? await holder.shardPresence(wanted) : await peers.shardPresence(peer, wanted, { signal })
    return theirs.map(({ cid, placed }, i) => ({ cid, what: [...found[i]?.indexes ?? []].filter((index) => placed[index] === peer) }))
  } catch (error) {
    // this node's own disk is no peer that may be passed over
    if (peer === self) throw error
    return undefined
  }
}

function neededOf ({ redundancy: { k, m } }: Reference, placed: number, { isDegradedAllowed = false, isAllNeeded = false }: WriteOptions): number {
  const want = k === 1 ? Math.min(k + m, placed) : k + m
  if (isAllNeeded) return Math.max(1, want)
  const quorum = Math.max(1, Math.min(writeQuorumOf({ k, m: Math.max(0, want - k) }), want))
  return isDegradedAllowed && placed === 2 ? Math.min(k, quorum) : quorum
}
