import { Unavailable } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { messageLimits } from '../../tables/messages.ts'
import type { AskReplica } from './clear-rows.ts'

/** Who has what of a partition: one that has lost it since does not count, for it may have it back from nobody. */
export type Remembers = (peer: PeerId, partition: number) => boolean

/** Of these voters, as they say; nobody else remembers anything. `isAnyLost`: and does not come back under the layout as it is. Rejects where one does not say. */
export async function memoryOf ({ ask }: { readonly ask: AskReplica }, voters: readonly PeerId[], wait: { signal?: AbortSignal }): Promise<{ readonly remembers: Remembers, readonly isAnyLost: boolean }> {
  let isAnyLost = false
  const asked = new Set(voters)
  const lost = new Map<PeerId, Set<number>>()
  for (const peer of voters) {
    const progress = await ask(peer, { kind: 'progress' }, wait)
    if (progress.kind !== 'progress') throw silent(peer)
    if (progress.lost + progress.remaining === 0) continue
    isAnyLost ||= progress.lost > 0
    // at once: it may take its time for each
    const ofPages = await Promise.all(Array.from({ length: Math.ceil((clearPartition + 1) / messageLimits.maxDigests) }, async (_, page) => {
      const from = page * messageLimits.maxDigests
      const partitions = Array.from({ length: Math.min(messageLimits.maxDigests, clearPartition + 1 - from) }, (_of, i) => from + i)
      const answer = await ask(peer, { kind: 'digest', partitions }, wait)
      if (answer.kind !== 'digests') throw silent(peer)
      return partitions.filter((_of, i) => answer.digests[i] === undefined)
    }))
    lost.set(peer, new Set(ofPages.flat()))
  }
  return { remembers: (peer, partition) => asked.has(peer) && lost.get(peer)?.has(partition) !== true, isAnyLost }
}

const silent = (peer: PeerId): Unavailable => new Unavailable(`${peer} does not say what it has: try again in some seconds`)

/** As `memoryOf`; one that does not say is not counted. */
export async function memoryOfThoseWho (parts: { readonly ask: AskReplica }, voters: readonly PeerId[], wait: { signal?: AbortSignal }): Promise<Remembers> {
  const of = async (peer: PeerId): ReturnType<typeof memoryOf> => memoryOf(parts, [peer], wait)
  const told = await Promise.all(voters.map(async (peer) => of(peer).catch(async (error: unknown) => {
    // it has come to go by another layout meanwhile
    if (error instanceof Unavailable) return of(peer)
    throw error
  }).catch(() => { wait.signal?.throwIfAborted() })))
  return (peer, partition) => told[voters.indexOf(peer)]?.remembers(peer, partition) === true
}
