import { ChainSearch, searchLimits, type Step } from './chain-search.ts'
import { levelOf, rounding } from './fair-shares.ts'
import { mixed } from './mixing.ts'
import type { Zones } from './zones.ts'

export interface HolderSetsRequest {
  /** Holders are numbers from 0. */
  readonly salts: readonly number[]
  readonly zones: Zones
  /** Lists are this wide after it. */
  readonly positions: number
  /** By partition and position: the beginning of each list, which stands. */
  readonly fixed: ReadonlyArray<readonly number[]>
  /** Who sat beyond `positions` keeps a place there. */
  readonly isWider: boolean
  /** By partition and position; -1: nobody who is a holder still. */
  readonly previous: ReadonlyArray<readonly number[]>
  /** Lists that each may and must be in, and should. */
  readonly most: readonly number[]
  readonly least: readonly number[]
  readonly shares: readonly number[]
  /** [position][holder]: of the share, what should be at that position. */
  readonly quotas: ReadonlyArray<readonly number[]>
}

/**
 * Who holds each partition: as many as there are positions, zones level, everybody within its bounds, and of those who held it before as
 * many as that allows. Whoever may stay stays; empty places go to the least filled; then the cheapest chains of places are moved, from who has too much to
 * who can take, and to who has too little from who can give.
 *
 * Whoever follows another takes its position, and of places that are as good as each other the one at the position where it lacks most is taken. So the
 * order of the lists is a good beginning, and no more.
 */
export function holderSets (request: HolderSetsRequest): ReadonlyArray<readonly number[]> {
  const sets = new HolderSets(request)
  sets.keep()
  sets.fill()
  sets.supply()
  sets.relieve()
  return sets.lists
}

const nobody = -1
/** Of one step in a chain: who held the partition before is parted from it; who has a place there further on leaves that; and the length of the chain last. */
const costs = { hop: 1, parting: 8, laterPlace: 1 } as const

class HolderSets {
  #looks = 0
  readonly #request: HolderSetsRequest
  readonly #holders: number
  readonly #leastOfZone: readonly number[]
  readonly #mostOfZone: readonly number[]
  /** Places that zones may have beyond the least of each. */
  readonly #extras: number
  readonly lists: number[][]
  readonly #loads: Int32Array
  /** By position and holder. */
  readonly #loadsAt: Int32Array
  readonly #partitionsOf: ReadonlyArray<Set<number>>

  constructor (request: HolderSetsRequest) {
    const { zones: { sizes }, positions, previous, salts } = request
    this.#request = request
    this.#holders = salts.length
    const level = levelOf(sizes, positions)
    this.#leastOfZone = sizes.map((size) => Math.min(size, level))
    this.#mostOfZone = sizes.map((size) => Math.min(size, level + 1))
    this.#extras = positions - this.#leastOfZone.reduce((a, b) => a + b, 0)
    this.lists = previous.map(() => Array.from({ length: positions }, () => nobody))
    this.#loadsAt = new Int32Array(salts.length * positions)
    this.#loads = new Int32Array(salts.length)
    this.#partitionsOf = salts.map(() => new Set())
  }

  /** All who were there, but where a zone would have too many: there the fullest go. */
  keep (): void {
    const { previous, positions, fixed, isWider } = this.#request
    for (const [partition, list] of this.lists.entries()) {
      for (const [position, holder] of fixed[partition]?.entries() ?? []) this.#sit(partition, position, holder)
      const from = this.#from(partition)
      for (const [i, holder] of previous[partition]?.slice(from, positions).entries() ?? []) if (holder !== nobody && !list.includes(holder)) this.#sit(partition, from + i, holder)
    }
    for (const [partition, list] of this.lists.entries()) {
      const from = this.#from(partition)
      for (;;) {
        const zoneWithTooMany = this.#zones(list).find((zone) => this.#countOf(list, zone) > (this.#mostOfZone[zone] ?? 0))
        if (zoneWithTooMany === undefined && this.#extrasIn(list) <= this.#extras) break
        const leaving = list.filter((holder, position) => position >= from && holder !== nobody && (zoneWithTooMany === undefined ? this.#isExtra(list, this.#zoneOf(holder)) : this.#zoneOf(holder) === zoneWithTooMany))
        const fullest = leaving.reduce((a, b) => (this.#fillOf(b) > this.#fillOf(a) ? b : a))
        this.#sit(partition, list.indexOf(fullest), nobody)
      }
      // those whose position there is no more, or has become another's
      for (const holder of previous[partition]?.slice(0, isWider ? positions : undefined) ?? []) {
        if (list.includes(holder)) continue
        const position = list.indexOf(nobody)
        if (position !== nobody && holder !== nobody && this.#mayTake(holder) && this.#zonesWithRoom(list)[this.#zoneOf(holder)] === true) this.#sit(partition, position, holder)
      }
    }
  }

  fill (): void {
    for (let position = 0; position < this.#request.positions; position++) {
      for (const [partition, list] of this.lists.entries()) if (list[position] === nobody) this.#fillPlace(partition, position, list)
    }
  }

  #fillPlace (partition: number, position: number, list: readonly number[]): void {
    const { previous, isWider } = this.#request
    let [best, bestFill, bestTie] = [nobody, Infinity, 0]
    const room = this.#zonesWithRoom(list)
    for (let holder = 0; holder < this.#holders; holder++) {
      const fill = this.#fillOf(holder) + this.#fillAt(position, holder) + (isWider && previous[partition]?.includes(holder) === true ? costs.laterPlace : 0)
      if (fill > bestFill || !this.#mayTake(holder) || room[this.#zoneOf(holder)] !== true || list.includes(holder)) continue
      const tie = this.#mixed(holder, partition)
      if (fill < bestFill || tie < bestTie) [best, bestFill, bestTie] = [holder, fill, tie]
    }
    if (best !== nobody) { this.#sit(partition, position, best); return }
    // all who may have enough: one of them takes it, and gives another away if somebody can take that
    const allowed = Array.from(this.#loads.keys()).filter((holder) => room[this.#zoneOf(holder)] === true && !list.includes(holder))
    const chain = this.#chainFrom(allowed, partition)
    this.#sit(partition, position, chain?.[0]?.from ?? allowed.reduce((a, b) => (this.#fillOf(b) < this.#fillOf(a) ? b : a)))
    this.#move(chain ?? [])
  }

  /** Whoever has too little is given places: by those who can do best without, each in one step if that is possible. */
  supply (): void {
    for (let holder = 0; holder < this.#holders; holder++) {
      if (this.#isShort(holder)) this.#supplyDirectly(holder)
      while (this.#isShort(holder)) {
        const chain = this.#chainTo(holder)
        if (chain === undefined || !this.#move(chain.toReversed())) break
      }
    }
  }

  #supplyDirectly (holder: number): void {
    const offers = new Map<number, readonly Offer[][]>()
    for (const [partition, list] of this.lists.entries()) {
      if (list.includes(holder)) continue
      for (const [position, giver] of list.entries()) {
        if (position < this.#from(partition) || !this.#mayGive(giver) || !this.#mayFollow(list, giver, holder)) continue
        const of = offers.get(giver) ?? list.map(() => [])
        offers.set(giver, of)
        of[position]?.push({ partition, cost: this.#costOf(partition, giver, holder), tie: this.#mixed(giver, partition) })
      }
    }
    // the best last
    for (const of of offers.values()) for (const at of of) at.sort((a, b) => b.cost - a.cost || b.tie - a.tie)
    const givers = new Set([...offers.keys()].toSorted((a, b) => a - b))
    while (this.#isShort(holder) && givers.size > 0) {
      const giver = [...givers].reduce((a, b) => (this.#fillOf(b) > this.#fillOf(a) ? b : a))
      const offer = this.#mayGive(giver) ? this.#bestOffer(offers.get(giver) ?? [], giver, holder)?.pop() : undefined
      if (offer === undefined) givers.delete(giver)
      else this.#move([{ from: giver, partition: offer.partition, to: holder }])
    }
  }

  /** Those at the position where the one lacks most, and the other has most. */
  #bestOffer (of: readonly Offer[][], giver: number, taker: number): Offer[] | undefined {
    let best: Offer[] | undefined
    let [bestCost, bestGap] = [Infinity, Infinity]
    for (const [position, offers] of of.entries()) {
      const cost = offers.at(-1)?.cost ?? Infinity
      const gap = this.#fillAt(position, taker) - this.#fillAt(position, giver)
      if (cost < bestCost || (cost === bestCost && gap < bestGap)) [best, bestCost, bestGap] = [offers, cost, gap]
    }
    return best
  }

  /** Whoever has too much gives places away: to the emptiest that can take one, in one step if that is possible. */
  relieve (): void {
    for (let holder = 0; holder < this.#holders; holder++) {
      if (this.#isOver(holder)) this.#relieveDirectly(holder)
      while (this.#isOver(holder)) {
        const chain = this.#chainFrom([holder])
        if (chain === undefined || !this.#move(chain.toReversed())) break
      }
    }
  }

  #relieveDirectly (holder: number): void {
    const takers = new Set(Array.from(this.#loads.keys()).filter((other) => other !== holder && this.#mayTake(other)))
    const offers = new Map(Array.from(takers, (taker) => [taker, Array.from({ length: this.#request.positions }, (): Offer[] => [])]))
    for (const partition of this.#partitionsOf[holder] ?? []) {
      const list = this.lists[partition] ?? []
      const position = list.indexOf(holder)
      if (position < this.#from(partition)) continue
      for (const taker of takers) {
        if (!list.includes(taker) && this.#mayFollow(list, holder, taker)) offers.get(taker)?.[position]?.push({ partition, cost: this.#costOf(partition, holder, taker), tie: this.#mixed(taker, partition) })
      }
    }
    for (const of of offers.values()) for (const at of of) at.sort((a, b) => b.cost - a.cost || b.tie - a.tie)
    while (this.#isOver(holder) && takers.size > 0) {
      const taker = [...takers].reduce((a, b) => (this.#fillOf(b) < this.#fillOf(a) ? b : a))
      const offer = this.#mayTake(taker) ? this.#bestOffer(offers.get(taker) ?? [], holder, taker)?.pop() : undefined
      if (offer === undefined) takers.delete(taker)
      // given to another meanwhile, or not level any more
      else this.#move([{ from: holder, partition: offer.partition, to: taker }])
    }
  }

  #chainFrom (starts: readonly number[], except?: number): readonly Step[] | undefined {
    if (this.#looks > searchLimits.maxLooks) return undefined
    const search = new ChainSearch(this.#holders)
    for (const holder of starts) search.reach(holder, 0, undefined)
    let end: number | undefined
    for (let from = search.next(); from !== undefined; from = search.next()) {
      if (end !== undefined && search.costOf(from) > search.costOf(end)) break
      const isEnd = this.#mayTake(from) && !starts.includes(from)
      if (isEnd && (end === undefined || this.#fillOf(from) < this.#fillOf(end))) end = from
      if (isEnd || end !== undefined) continue
      for (const partition of this.#partitionsOf[from] ?? []) {
        const list = this.lists[partition] ?? []
        this.#looks += this.#holders
        if (partition === except || list.indexOf(from) < this.#from(partition)) continue
        const mayEnter = this.#zonesAfter(list, from)
        for (let to = 0; to < this.#holders; to++) {
          if (search.isDone(to) || mayEnter[this.#request.zones.of[to] ?? 0] !== true) continue
          const cost = search.costOf(from) + this.#costOf(partition, from, to)
          if (!search.isBetter(to, cost, this.#mixed(to, partition)) || list.includes(to)) continue
          search.reach(to, cost, { from, partition, to }, this.#mixed(to, partition))
          // no step is cheaper
          if (cost === costs.hop && this.#mayTake(to) && !starts.includes(to)) return search.stepsTo(to)
        }
      }
    }
    return end === undefined ? undefined : search.stepsTo(end)
  }

  #chainTo (holder: number): readonly Step[] | undefined {
    if (this.#looks > searchLimits.maxLooks) return undefined
    const search = new ChainSearch(this.#holders)
    search.reach(holder, 0, undefined)
    let start: number | undefined
    for (let to = search.next(); to !== undefined; to = search.next()) {
      if (start !== undefined && search.costOf(to) > search.costOf(start)) break
      const isStart = to !== holder && this.#mayGive(to)
      if (isStart && (start === undefined || this.#fillOf(to) > this.#fillOf(start))) start = to
      if (isStart || start !== undefined) continue
      for (const [partition, list] of this.lists.entries()) {
        this.#looks += list.length
        if (list.includes(to)) continue
        for (const [position, from] of list.entries()) {
          if (position < this.#from(partition) || from === nobody || search.isDone(from)) continue
          const [cost, tie] = [search.costOf(to) + this.#costOf(partition, from, to), this.#mixed(from, partition)]
          if (!search.isBetter(from, cost, tie) || !this.#mayFollow(list, from, to)) continue
          search.reach(from, cost, { from, partition, to }, tie)
          if (cost === costs.hop && this.#mayGive(from)) return search.stepsTo(from).toReversed()
        }
      }
    }
    return start === undefined ? undefined : search.stepsTo(start).toReversed()
  }

  /** Each step, as long as it may be: two in one list can be in each other's way. Whether all were made. */
  #move (chain: readonly Step[]): boolean {
    for (const step of chain) {
      const list = this.lists[step.partition] ?? []
      if (!list.includes(step.from) || list.includes(step.to) || !this.#mayFollow(list, step.from, step.to)) return false
      this.#replace(step)
    }
    return true
  }

  #replace ({ from, partition, to }: Step): void { this.#sit(partition, this.lists[partition]?.indexOf(from) ?? nobody, to) }

  #sit (partition: number, position: number, holder: number): void {
    const list = this.lists[partition] as number[]
    const left = list[position] ?? nobody
    list[position] = holder
    if (left !== nobody) { this.#loads[left]!--; this.#loadsAt[position * this.#holders + left]!--; this.#partitionsOf[left]?.delete(partition) }
    if (holder !== nobody) { this.#loads[holder]!++; this.#loadsAt[position * this.#holders + holder]!++; this.#partitionsOf[holder]?.add(partition) }
  }

  #zoneOf (holder: number): number { return this.#request.zones.of[holder] ?? nobody }
  #zones (list: readonly number[]): readonly number[] { return list.flatMap((holder) => (holder === nobody ? [] : [this.#zoneOf(holder)])) }
  #mixed (holder: number, partition: number): number { return mixed(this.#request.salts[holder] ?? 0, partition) }
  #loadOf (holder: number): number { return this.#loads[holder] ?? 0 }
  #fillOf (holder: number): number { return (this.#loadOf(holder) + 1) / Math.max(this.#request.shares[holder] ?? 0, rounding) }
  #fillAt (position: number, holder: number): number { return ((this.#loadsAt[position * this.#holders + holder] ?? 0) + 1) / Math.max(this.#request.quotas[position]?.[holder] ?? 0, 1) }
  #mayTake (holder: number): boolean { return this.#loadOf(holder) < (this.#request.most[holder] ?? 0) }
  #mayGive (holder: number): boolean { return this.#loadOf(holder) > (this.#request.least[holder] ?? 0) }
  #isShort (holder: number): boolean { return this.#loadOf(holder) < (this.#request.least[holder] ?? 0) }
  #isOver (holder: number): boolean { return this.#loadOf(holder) > (this.#request.most[holder] ?? 0) }
  #from (partition: number): number { return this.#request.fixed[partition]?.length ?? 0 }
  #costOf (partition: number, from: number, to: number): number {
    const { previous, positions, isWider } = this.#request
    const [left, entered] = [previous[partition]?.indexOf(from) ?? nobody, previous[partition]?.indexOf(to) ?? nobody]
    return costs.hop + (left !== nobody && (left < positions || !isWider) ? costs.parting : 0) + (isWider && entered >= positions ? costs.laterPlace : 0)
  }

  #countOf (list: readonly number[], zone: number): number {
    let count = 0
    for (const holder of list) if (this.#zoneOf(holder) === zone) count++
    return count
  }

  #isExtra (list: readonly number[], zone: number): boolean { return this.#countOf(list, zone) > (this.#leastOfZone[zone] ?? 0) }
  #extrasIn (list: readonly number[]): number {
    return this.#leastOfZone.reduce((sum, least, zone) => sum + Math.max(0, this.#countOf(list, zone) - least), 0)
  }

  /** Whether a list stays level when one follows another. */
  #mayFollow (list: readonly number[], from: number, to: number): boolean {
    const [left, entered] = [this.#zoneOf(from), this.#zoneOf(to)]
    return left === entered || (this.#isExtra(list, left) && this.#countOf(list, entered) < (this.#mostOfZone[entered] ?? 0))
  }

  /** From which zones somebody may follow this one. */
  #zonesAfter (list: readonly number[], from: number): readonly boolean[] {
    const left = this.#zoneOf(from)
    const isExtra = this.#isExtra(list, left)
    return this.#mostOfZone.map((most, zone) => zone === left || (isExtra && this.#countOf(list, zone) < most))
  }

  #zonesWithRoom (list: readonly number[]): readonly boolean[] {
    const isExtraLeft = this.#extrasIn(list) < this.#extras
    return this.#leastOfZone.map((least, zone) => {
      const count = this.#countOf(list, zone)
      return count < least || (isExtraLeft && count < (this.#mostOfZone[zone] ?? 0))
    })
  }
}

interface Offer { readonly partition: number, readonly cost: number, readonly tie: number }
