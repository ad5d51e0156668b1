import { partitionCount, partitionOf } from '../base/bytes.ts'
import { type Clock, deadline, DeadlineExceeded } from '../base/clock.ts'
import { InvalidInput, Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Electorate, electorsOf, isMajority } from './electorate.ts'
import { type Describe, type ListPage, type ListRequest, type RowAddress, rowLimits, type TableNumber, type Voters } from './index.ts'
import { listingIndexLimits } from './listing-index.ts'
import { coversEveryPartition, type MergedName, type MergedPage, mergePages, type PartitionGroup, type ReplicaPage } from './merge-pages.ts'
import type { TableAnswer, TableQuestion, TableRequest } from './messages.ts'
import { Vouching } from './witnessed-listing.ts'
import { commonPrefixOf, lastNameWith, startAfter, startsWith } from './roll-up.ts'

export interface ListingPorts {
  readonly self: PeerId
  readonly peers: { reachable (): ReadonlySet<PeerId> }
  readonly voters: Voters
  readonly clock: Clock
  readonly describe: Describe
  readonly timing: { readonly operationMs: number }
  readonly ask: (peer: PeerId, request: TableRequest, options: { signal?: AbortSignal }) => Promise<TableAnswer>
  /** Who knows names; undefined: everybody. The others are witnesses. */
  readonly isLister?: (peer: PeerId) => boolean
  /** An identity round, for rows that a witness knows and who lists does not. */
  readonly settle: (row: { readonly table: TableNumber, readonly rowKey: Uint8Array }, options: { signal: AbortSignal }) => Promise<void>
  /** A proper read, for names on which replicas differ. */
  readonly read: (address: RowAddress, options: { signal: AbortSignal }) => Promise<Uint8Array | undefined>
}

export const listingLimits = {
  maxNames: 1000,
  /** Names on which replicas differ, read at once. */
  concurrentReads: 16,
  /** Names asked for behind folders that are large: of each one name is needed. */
  namesBehindFolder: 16,
  /** A folder is, from so many names of a page on: to merge them costs as much as some four questions more. */
  namesOfLargeFolder: 64,
  /** So many times more names where folders were smaller, or nothing was there. */
  namesGrowth: 4,
  /** One page takes so long at the most, as long as it goes on: until what was deleted is buried there may be any number of names of which nothing is. */
  mostMs: 60_000,
} as const

/** One page, key by key as current as a read that starts with the call. @throws Unavailable */
export async function listRows (ports: ListingPorts, request: ListRequest, { signal }: { signal?: AbortSignal } = {}): Promise<ListPage> {
  const { limit } = request
  if (!Number.isInteger(limit) || limit < 1 || limit > listingLimits.maxNames) throw new InvalidInput('limit', `limit is 1 to ${listingLimits.maxNames}`)
  // no name is so long, and no replica takes such a question
  if (request.prefix.byteLength > rowLimits.maxKeyBytes) return { entries: [], prefixes: [], next: undefined }
  const { clock, timing: { operationMs } } = ports
  const startMs = clock.monotonicMs()
  let movedMs = 0
  using end = deadline(clock, operationMs, { signal, what: 'listing', extraMs: () => Math.min(movedMs, listingLimits.mostMs - operationMs) })
  try {
    return await pageOf(ports, request, end.signal, () => { movedMs = clock.monotonicMs() - startMs })
  } catch (cause) {
    if (cause instanceof DeadlineExceeded && signal?.aborted !== true) throw new Unavailable('no majority of the replicas listed in time', { cause })
    throw cause
  }
}

/** Rolling up skips past a whole common prefix instead of reading through it. */
async function pageOf (ports: ListingPorts, request: ListRequest, signal: AbortSignal, onMove: () => void): Promise<ListPage> {
  const { prefix, delimiter, limit } = request
  const entries: Array<{ name: Uint8Array, summary: Uint8Array }> = []
  const prefixes: Uint8Array[] = []
  let after = startAfter(request)
  let last: Uint8Array | undefined
  let names: number = limit
  const deciders = decidersOf(ports.voters)
  const isFull = (): boolean => entries.length + prefixes.length >= limit
  for (;;) {
    const page = await mergedPage({ ...ports, deciders }, { ...request, after, limit: names }, signal)
    const given = entries.length + prefixes.length
    const present = presentNames(ports, { ...request, names: page.names, wanted: limit - entries.length - prefixes.length }, signal)
    let skipped: Uint8Array | undefined
    for await (const { name, summary } of present) {
      if (skipped !== undefined && startsWith(name, skipped)) continue
      // something more is there: this page is not the last
      if (isFull()) return { entries, prefixes, next: last }
      const rolled = commonPrefixOf(name, { prefix, delimiter })
      skipped = rolled
      last = rolled ?? name
      if (rolled === undefined) entries.push({ name, summary })
      else prefixes.push(rolled)
    }
    if (page.through === undefined) return { entries, prefixes, next: undefined }
    onMove()
    after = skipped !== undefined && startsWith(page.through, skipped) ? lastNameWith(skipped) : page.through
    const more = entries.length + prefixes.length - given
    const isOfLargeFolders = skipped !== undefined && (more === 1 ? after !== page.through : page.names.length >= more * listingLimits.namesOfLargeFolder)
    // where nothing was there, as after all of a bucket was deleted, there may be many names more of which nothing is
    names = isOfLargeFolders ? Math.min(limit, listingLimits.namesBehindFolder) : Math.min(more === 0 ? listingLimits.maxNames : limit, names * listingLimits.namesGrowth)
  }
}

/** Asks the replicas of every partition at once and goes on with the first majorities; where those that know names are none, with what witnesses vouch for. */
async function mergedPage (ports: ListingPorts & { deciders: () => Deciders }, request: Omit<ListRequest, 'delimiter'>, signal: AbortSignal): Promise<MergedPage> {
  const { self, peers, ask, isLister = () => true } = ports
  const { version, groups, electorates } = ports.deciders()
  const reachable = new Set([...peers.reachable(), self])
  const electors = new Set(groups.flatMap(({ electorate }) => electorsOf(electorate)).filter((peer) => reachable.has(peer)))
  const asked = [...electors].filter(isLister)
  const witnesses = [...electors].filter((peer) => !isLister(peer))
  const pages: ReplicaPage[] = []
  const over = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<MergedPage>()
  const onAbort = (): void => { over.abort(signal.reason); reject(signal.reason as Error) }
  signal.addEventListener('abort', onAbort, { once: true })
  let open = asked.length
  const merged = (all: readonly ReplicaPage[]): MergedPage => mergePages(all, (partition) => electorates[partition] as Electorate)
  const settle = (cause?: unknown): void => {
    if (coversEveryPartition(pages, groups)) resolve(merged(pages))
    else if (open > 0) return
    else if (witnesses.length === 0 || pages.length === 0) reject(new Unavailable('no majority of the replicas lists every partition', { cause }))
    else witnessedPages(ports, request, { listers: pages.map(({ peer }) => peer), witnesses, electorates, isEnough: (vouched) => coversEveryPartition([...pages, ...vouched], groups), signal: over.signal }).then((all) => {
      if (coversEveryPartition(all, groups)) resolve(merged(all))
      else reject(new Unavailable('no majority of the replicas, witnesses among them, lists every partition', { cause }))
    }, reject)
  }
  try {
    signal.throwIfAborted()
    if (open === 0) settle()
    for (const peer of asked) {
      ask(peer, { version, ...questionOf(request) }, { signal: over.signal }).then((answer) => {
        open--
        if (answer.kind === 'page') pages.push(pageFrom(peer, answer))
        settle()
      }, (cause: unknown) => { open--; settle(cause) })
    }
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    over.abort()
  }
}

const questionOf = ({ table, scope, prefix, after, limit }: Omit<ListRequest, 'delimiter'>): Extract<TableQuestion, { kind: 'list' }> =>
  ({ kind: 'list', table, scope, prefix, after: after?.subarray(0, rowLimits.maxKeyBytes), limit: Math.min(limit + 1, listingIndexLimits.maxPageEntries) })

const pageFrom = (peer: PeerId, { entries, truncated, lost }: Extract<TableAnswer, { kind: 'page' }>): ReplicaPage => ({ peer, entries, truncated: truncated && entries.length > 0, lost: new Set(lost) })

/** Pages of those that know names, asked for anew, and of witnesses that vouch for one of them. */
async function witnessedPages ({ self, voters: { version }, ask, settle }: ListingPorts, request: Omit<ListRequest, 'delimiter'>, { listers, witnesses, electorates, isEnough, signal }: { listers: readonly PeerId[], witnesses: readonly PeerId[], electorates: readonly Electorate[], isEnough: (vouched: readonly ReplicaPage[]) => boolean, signal: AbortSignal }): Promise<readonly ReplicaPage[]> {
  const lister = listers.find((peer) => peer === self) ?? listers[0] as PeerId
  const partitions = [...electorates.keys()].filter((partition) => !isMajority(electorates[partition] as Electorate, (peer) => listers.includes(peer)))
  const vouching = new Vouching({
    ask: async (peer, question) => ask(peer, { version, ...question }, { signal }),
    settle: async (row) => settle(row, { signal }),
  }, { lister, witnesses, table: request.table, electorates, partitions })
  await vouching.before(isEnough)
  const pages = await Promise.all(listers.map(async (peer) => {
    const answer = await ask(peer, { version, ...questionOf(request) }, { signal })
    if (answer.kind !== 'page') throw new Unavailable(`${peer} does not list any more`)
    return pageFrom(peer, answer)
  }))
  const vouchedFor = pages.find(({ peer }) => peer === lister) as ReplicaPage
  return [...pages, ...await vouching.pages(vouchedFor.entries, { truncated: vouchedFor.truncated, partitionOf: ({ rowKey }) => partitionOf(rowKey) })]
}

/** The names that are there, in order: agreed ones as they stand, doubtful ones read, a few at once. */
async function * presentNames (
  { read, describe }: ListingPorts,
  { names, table, scope, prefix, delimiter, wanted }: ListRequest & { names: readonly MergedName[], wanted: number },
  signal: AbortSignal,
): AsyncIterable<{ name: Uint8Array, summary: Uint8Array }> {
  let given = 0
  let rolled: Uint8Array | undefined
  for (let at = 0; at < names.length; at += listingLimits.concurrentReads) {
    const batch = names.slice(at, at + listingLimits.concurrentReads).filter(({ name }) => rolled === undefined || !startsWith(name, rolled))
    const found = await Promise.all(batch.map(async (merged) => {
      if (merged.kind === 'agreed') return merged.summary === undefined ? undefined : { name: merged.name, summary: merged.summary }
      const value = await read({ table, scope, key: merged.name }, { signal })
      const listed = value === undefined ? undefined : describe(table, value)
      return listed?.summary === undefined ? undefined : { name: merged.name, summary: listed.summary }
    }))
    for (const entry of found) {
      if (entry === undefined || (rolled !== undefined && startsWith(entry.name, rolled))) continue
      yield entry
      rolled = commonPrefixOf(entry.name, { prefix, delimiter })
      // one beyond what is wanted tells that there is more
      if (++given > wanted) return
    }
  }
}

interface Deciders { readonly version: bigint, readonly groups: readonly PartitionGroup[], readonly electorates: readonly Electorate[] }

/** Gathered once for each version of the layout that is in force while a listing goes on. */
function decidersOf (voters: Voters): () => Deciders {
  let known: Deciders | undefined
  return () => {
    if (known?.version !== voters.version) known = partitionGroups(voters)
    return known
  }
}

/** Partitions by their electorates: a cluster of a hundred nodes has at most 4,096 groups, one of five has one. All of one moment, for a layout may be adopted while pages come. */
function partitionGroups (voters: Voters): Deciders {
  const { version } = voters
  const electorates = Array.from({ length: partitionCount }, (_, partition) => voters.electorate(partition))
  // most layouts hand out the same few arrays: those need not be compared by what stands in them
  const nameOfSet = new Map<readonly PeerId[], string>()
  const nameOf = (group: readonly PeerId[]): string => {
    const name = nameOfSet.get(group) ?? group.toSorted((a, b) => (a < b ? -1 : 1)).join(' ')
    nameOfSet.set(group, name)
    return name
  }
  const groups = new Map<string, { electorate: Electorate, partitions: number[] }>()
  for (const [partition, electorate] of electorates.entries()) {
    const name = electorate.groups.map(nameOf).join(' and ')
    const group = groups.get(name)
    if (group === undefined) groups.set(name, { electorate, partitions: [partition] })
    else group.partitions.push(partition)
  }
  return { version, groups: [...groups.values()], electorates }
}
