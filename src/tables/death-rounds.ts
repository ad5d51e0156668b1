import { hexOf, partitionOf } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import { versionIdOf } from './deaths.ts'
import { electorsOf, isMajority } from './electorate.ts'
import type { Voters } from './index.ts'
import { messageLimits, type TableAnswer, type TableRequest } from './messages.ts'

export interface DeathPorts {
  readonly self: PeerId
  readonly voters: Voters
  /** Asks one replica, the own one too. */
  readonly ask: (peer: PeerId, request: TableRequest, options: { signal?: AbortSignal }) => Promise<TableAnswer>
  /** Who answers now, the nearest first. */
  readonly reachable: () => Iterable<PeerId>
}

/** Publishes proofs of death. For each, whether a majority of its replicas (of the old and of the new, while the layout changes) has it on disk: beyond that nobody is waited for. */
export async function publishDeaths (ports: DeathPorts, proofs: readonly Uint8Array[], { signal }: { signal?: AbortSignal } = {}): Promise<readonly boolean[]> {
  const electorates = proofs.map((proof) => ports.voters.electorate(partitionOf(versionIdOf(proof))))
  const keepers = proofs.map(() => new Set<PeerId>())
  // a layout that came meanwhile has other electors: what is not enough for them is published again
  const isPublished = (i: number): boolean => isMajority(ports.voters.electorate(partitionOf(versionIdOf(proofs[i] as Uint8Array))), (peer) => keepers[i]?.has(peer) === true)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let published = 0
  Promise.all([...byPeer(electorates.map(electorsOf))].map(async ([peer, indexes]) => {
    for (const some of pagesOf(indexes)) {
      const answer = await askOrNothing(ports, peer, { version: ports.voters.version, kind: 'publish', proofs: some.map((i) => proofs[i] as Uint8Array) }, signal)
      if (answer?.kind !== 'published' || answer.published.length !== some.length) return
      for (const [at, i] of some.entries()) if (answer.published[at] === true) keepers[i]?.add(peer)
      while (published < proofs.length && isPublished(published)) published++
      if (published === proofs.length) resolve()
    }
  })).then(() => { resolve() }, reject)
  await promise
  return proofs.map((_, i) => isPublished(i))
}

/**
 * The proofs of those versions that are known to be dead, by version id in hexadecimal. One replica of each is asked, and the own one: what it does not know may still be
 * so, and is asked of another one with the next `turn`. What comes back is believed for itself alone.
 */
export async function knownDeaths (ports: DeathPorts, versionIds: readonly Uint8Array[], { turn, signal }: { turn: number, signal?: AbortSignal }): Promise<ReadonlyMap<string, Uint8Array>> {
  const { self, voters } = ports
  const reachable = new Set(ports.reachable())
  const found = new Map<string, Uint8Array>()
  const lookUp = async (asked: ReadonlyArray<readonly PeerId[]>): Promise<void> => {
    await Promise.all([...byPeer(asked)].map(async ([peer, indexes]) => {
      for (const some of pagesOf(indexes)) {
        const answer = await askOrNothing(ports, peer, { version: voters.version, kind: 'deaths', versionIds: some.map((i) => versionIds[i] as Uint8Array) }, signal)
        if (answer?.kind !== 'deaths' || answer.proofs.length !== some.length) return
        for (const [at, i] of some.entries()) {
          const [proof, versionId] = [answer.proofs[at], versionIds[i] as Uint8Array]
          if (proof !== undefined && hexOf(versionIdOf(proof)) === hexOf(versionId)) found.set(hexOf(versionId), proof)
        }
      }
    }))
  }
  const electors = versionIds.map((versionId) => voters.ofPartition(partitionOf(versionId)))
  await lookUp(electors.map((of) => of.includes(self) ? [self] : []))
  await lookUp(electors.map((of, i) => {
    if (found.has(hexOf(versionIds[i] as Uint8Array))) return []
    const others = of.filter((peer) => peer !== self && reachable.has(peer))
    return others.length === 0 ? [] : [others[turn % others.length] as PeerId]
  }))
  return found
}

function byPeer (askedFor: ReadonlyArray<readonly PeerId[]>): ReadonlyMap<PeerId, number[]> {
  const indexes = new Map<PeerId, number[]>()
  for (const [i, peers] of askedFor.entries()) for (const peer of peers) {
    const of = indexes.get(peer) ?? []
    of.push(i)
    indexes.set(peer, of)
  }
  return indexes
}

function * pagesOf (indexes: readonly number[]): Iterable<readonly number[]> {
  for (let at = 0; at < indexes.length; at += messageLimits.maxDeaths) yield indexes.slice(at, at + messageLimits.maxDeaths)
}

/** Who does not answer has said nothing. */
async function askOrNothing ({ ask }: DeathPorts, peer: PeerId, request: TableRequest, signal: AbortSignal | undefined): Promise<TableAnswer | undefined> {
  try {
    return await ask(peer, request, { signal })
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}
