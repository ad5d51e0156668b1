import type { AssignmentRequest, Holder } from './assignment.ts'
import { ChainSearch, searchLimits, type Step } from './chain-search.ts'
import { type FairShares, fairShares, rounding } from './fair-shares.ts'
import { holderSets } from './holder-sets.ts'
import { mixed, saltOf } from './mixing.ts'
import { type Zones, zonesOf } from './zones.ts'

/** A load may be off its fair share by as much before seats are moved for it: half of what is promised, so that what rounds up at each position stays within. */
const tolerance = 0.02
/** One seat either way, where that is not too much: where shares are whole numbers everybody else would have to have exactly his, and a seat too many at one had to wander through many lists. */
const slackOf = (share: number): number => Math.max(share * tolerance, share * 2 * tolerance >= 1 ? 1 : 0)

/** What moving a seat costs, in the search for whom to move: each a seat that changes hands, now or at a later position, and the length of the chain last. */
const costs = { hop: 1, keptSeat: 8, laterSeat: 12 } as const

/**
 * Lists of `positions` distinct holders for every partition, position by position: the first n positions are balanced for every n, because a block of rf:n
 * uses only those. At each position whoever sat there keeps the seat; empty seats go to the least filled holder; then, as long as one holder is over its
 * share or under it, the cheapest chain of seats (h gives one to g, g gives one to …) from a fuller one to an emptier is moved. A list has a second holder
 * of a zone only when no other zone has one left, and so on level by level.
 *
 * Chains, because the holder that is over and the one that is under may share no list in which they could take turns; and demands, because a choice at one
 * position may make a fair share at a later one impossible: who is to sit in every list by position n must not be passed over until then.
 */
export function assignLevelly ({ holders, positions, previous, widths }: AssignmentRequest): ReadonlyArray<readonly number[]> {
  const seating = new Seating({ holders: holders.toSorted((a, b) => a.index - b.index), positions, previous, widths })
  for (let position = 0; position < positions; position++) seating.fill(position)
  return seating.lists()
}

const nobody = -1

class Seating {
  #looks = 0
  readonly #holders: readonly Holder[]
  readonly #salts: readonly number[]
  readonly #positions: number
  readonly #partitions: number
  readonly #zones: Zones
  readonly #shares: FairShares
  /** By partition and position, as numbers of holders. */
  readonly #seats: Int32Array
  readonly #before: Int32Array
  /** Whoever sat there before, or has followed it. */
  readonly #first: Int32Array
  /** Seats so far. */
  readonly #loads: Int32Array
  /** By holder and position, as numbers: how many seats it had there before, and so will want to keep. */
  readonly #kept: Int32Array
  /** Who is in each list; of a tier of positions in whatever order. */
  readonly #sets: ReadonlyArray<readonly number[]>
  /** Where tiers end. */
  readonly #tiers: readonly number[]
  /** How full one more seat would make each. */
  readonly #fills: Float64Array
  /** 1: with one more seat it would have to give one away at a later position. */
  readonly #isOverLater: Uint8Array
  /** Holders of a zone in a list so far: by partition and zone. */
  readonly #counts: Uint8Array
  /** Seats that a holder may and must have by n positions: [n - 1][holder]. */
  readonly #most: ReadonlyArray<readonly number[]>
  readonly #least: ReadonlyArray<readonly number[]>
  // of the position that is being filled
  #position = 0
  #tier: ReadonlyArray<readonly number[]> = []
  /** Lists in whose tier a holder is. */
  #listsOf: number[][] = []
  /** How many of a zone a list must have for the zone to give one more. */
  readonly #levels: Uint8Array
  /** Bit n: whoever sits here now must be one whom position n of this list demands. */
  readonly #demands: Uint32Array
  /** Partitions in which a holder has the seat. */
  #of: ReadonlyArray<Set<number>> = []

  constructor ({ holders, positions, previous, widths }: AssignmentRequest) {
    this.#holders = holders
    this.#salts = holders.map(({ key }) => saltOf(key))
    this.#positions = positions
    this.#partitions = previous.length
    this.#zones = zonesOf(holders)
    this.#shares = fairShares({ holders, zoneOf: this.#zones.of, zones: this.#zones.sizes.length, positions })
    this.#seats = new Int32Array(previous.length * positions).fill(nobody)
    this.#before = new Int32Array(previous.length * positions).fill(nobody)
    this.#first = new Int32Array(previous.length * positions)
    this.#kept = new Int32Array(holders.length * positions)
    const numbers = new Map(holders.map(({ index }, number) => [index, number]))
    for (const [partition, list] of previous.entries()) {
      for (let p = 0; p < Math.min(positions, list.length); p++) {
        const number = numbers.get(list[p] ?? nobody) ?? nobody
        this.#before[partition * positions + p] = number
      }
    }
    this.#loads = new Int32Array(holders.length)
    this.#fills = new Float64Array(holders.length)
    this.#isOverLater = new Uint8Array(holders.length)
    const seats = this.#shares.ofHolder.map((shares) => shares.map((share) => share * previous.length))
    this.#most = seats.map((shares) => shares.map((share) => Math.min(previous.length, Math.max(Math.ceil(share - rounding), Math.floor(share + slackOf(share))))))
    this.#least = seats.map((shares) => shares.map((share) => Math.min(Math.floor(share + rounding), Math.ceil(share - slackOf(share)))))
    this.#counts = new Uint8Array(previous.length * this.#zones.sizes.length)
    this.#levels = new Uint8Array(previous.length)
    this.#demands = new Uint32Array(previous.length)
    const numbered = previous.map((list) => list.map((index) => numbers.get(index ?? nobody) ?? nobody))
    const quotas = seats.map((of, p) => of.map((share, holder) => share - (seats[p - 1]?.[holder] ?? 0)))
    let sets: ReadonlyArray<readonly number[]> = previous.map(() => [])
    this.#tiers = [...new Set([...widths.filter((width) => width < positions), positions])]
    for (const width of this.#tiers) {
      sets = holderSets({
        salts: this.#salts, zones: this.#zones, positions: width, fixed: sets, isWider: width < positions, previous: numbered,
        most: this.#most[width - 1] ?? [], least: this.#least[width - 1] ?? [], shares: seats[width - 1] ?? [], quotas,
      })
    }
    this.#sets = sets
    for (const [partition, list] of this.#sets.entries()) {
      for (const [p, holder] of list.entries()) {
        this.#first[partition * positions + p] = holder
        this.#kept[holder * positions + p]!++
      }
    }
  }

  lists (): ReadonlyArray<readonly number[]> {
    return Array.from({ length: this.#partitions }, (_, partition) => Array.from(this.#seats.subarray(partition * this.#positions, (partition + 1) * this.#positions), (number) => (this.#holders[number] as Holder).index))
  }

  fill (position: number): void {
    this.#begin(position)
    for (let partition = 0; partition < this.#partitions; partition++) {
      const first = this.#first[partition * this.#positions + position] ?? nobody
      if (this.#isAllowed(partition, first)) this.#sit(partition, first)
    }
    for (let partition = 0; partition < this.#partitions; partition++) if (this.#sitter(partition) === nobody) this.#fillSeat(partition)
    this.#supply()
    this.#relieve()
    for (let partition = 0; partition < this.#partitions; partition++) this.#counts[partition * this.#zones.sizes.length + this.#zoneOf(this.#sitter(partition))]!++
  }

  #begin (position: number): void {
    this.#position = position
    this.#of = this.#holders.map(() => new Set())
    for (let holder = 0; holder < this.#holders.length; holder++) this.#refill(holder)
    if (position === 0 || this.#tiers.includes(position)) {
      const end = this.#tiers.find((tier) => tier > position)
      this.#tier = this.#sets.map((list) => list.slice(position, end))
      this.#listsOf = this.#holders.map(() => [])
      for (const [partition, tier] of this.#tier.entries()) for (const holder of tier) this.#listsOf[holder]?.push(partition)
    }
    const demanding = this.#demanding()
    for (let partition = 0; partition < this.#partitions; partition++) {
      this.#levels[partition] = this.#levelAt(partition)
      this.#demands[partition] = demanding.reduce((bits, n) => (this.#missing(partition, n) >= n - position ? bits | (1 << n) : bits), 0)
    }
  }

  /** The numbers of positions, from the next on, by which some but not all must have been seated in every list. */
  #demanding (): readonly number[] {
    return Array.from({ length: this.#positions - this.#position }, (_, i) => this.#position + 1 + i).filter((n) => {
      const demanded = this.#holders.filter((_, holder) => this.#isDemanded(holder, n)).length
      return demanded < this.#holders.length && (demanded > 0 || (this.#shares.demandOfZone[n - 1] ?? []).some((count) => count > 0))
    })
  }

  #isDemanded (holder: number, n: number): boolean { return (this.#shares.ofHolder[n - 1]?.[holder] ?? 0) >= 1 - rounding }

  #among (partition: number): readonly number[] { return this.#tier[partition] ?? [] }

  /** How many more a list must seat to have by n positions whom every list must have by then. */
  #missing (partition: number, n: number): number {
    return this.#zones.members.reduce((sum, _, zone) => sum + this.#missingOfZone(partition, zone, n), 0)
  }

  #missingOfZone (partition: number, zone: number, n: number): number {
    const demanded = this.#zones.members[zone]?.filter((holder) => this.#isDemanded(holder, n) && !this.#isIn(partition, holder)).length ?? 0
    return Math.max(demanded, (this.#shares.demandOfZone[n - 1]?.[zone] ?? 0) - this.#countAt(partition, zone))
  }

  #levelAt (partition: number): number {
    const { sizes } = this.#zones
    let least = Infinity
    for (let zone = 0; zone < sizes.length && least > 0; zone++) {
      const count = this.#countAt(partition, zone)
      if (count < (sizes[zone] ?? 0) && count < least) least = count
    }
    return least
  }

  #countAt (partition: number, zone: number): number { return this.#counts[partition * this.#zones.sizes.length + zone] ?? 0 }
  #zoneOf (holder: number): number { return this.#zones.of[holder] ?? 0 }
  #sitter (partition: number): number { return this.#seats[partition * this.#positions + this.#position] ?? nobody }

  /** At an earlier position. */
  #isIn (partition: number, holder: number): boolean {
    const first = partition * this.#positions
    for (let at = first; at < first + this.#position; at++) if (this.#seats[at] === holder) return true
    return false
  }

  #isAllowed (partition: number, holder: number): boolean {
    return this.#among(partition).includes(holder) && this.#countAt(partition, this.#zoneOf(holder)) === this.#levels[partition] && !this.#isIn(partition, holder) && this.#isAsDemanded(partition, holder)
  }

  #isAsDemanded (partition: number, holder: number): boolean {
    const bits = this.#demands[partition] ?? 0
    for (let n = this.#position + 1; bits >> n > 0; n++) if ((bits >> n & 1) === 1 && !this.#isContributing(partition, holder, n)) return false
    return true
  }

  #isContributing (partition: number, holder: number, n: number): boolean {
    const zone = this.#zoneOf(holder)
    const demanded = this.#zones.members[zone]?.filter((other) => this.#isDemanded(other, n) && !this.#isIn(partition, other)).length ?? 0
    const byZone = (this.#shares.demandOfZone[n - 1]?.[zone] ?? 0) - this.#countAt(partition, zone)
    return this.#isDemanded(holder, n) ? demanded >= byZone || byZone > 0 : byZone > demanded
  }

  /** Whether it sat at a later position of this list, which it could have kept. */
  #hasLaterSeat (partition: number, holder: number): boolean {
    const first = partition * this.#positions
    for (let at = first + this.#position + 1; at < first + this.#positions; at++) if (this.#before[at] === holder) return true
    return false
  }

  #isKept (partition: number): boolean { return this.#before[partition * this.#positions + this.#position] === this.#sitter(partition) }

  #sit (partition: number, holder: number): void {
    const at = partition * this.#positions + this.#position
    const left = this.#seats[at] ?? nobody
    if (left !== nobody) { this.#loads[left]!--; this.#of[left]?.delete(partition) }
    this.#seats[at] = holder
    this.#loads[holder]!++
    this.#of[holder]?.add(partition)
    this.#refill(holder)
    if (left !== nobody) this.#refill(left)
  }

  /** How full one more seat would make it, now or when it keeps what it had at later positions; 1: just as it should be. */
  #refill (holder: number): void {
    let [fill, isOver, seats] = [0, false, (this.#loads[holder] ?? 0) + 1]
    for (let p = this.#position; p < this.#positions; p++) {
      if (p > this.#position) seats += this.#kept[holder * this.#positions + p] ?? 0
      if (p > this.#position && seats > (this.#most[p]?.[holder] ?? 0)) isOver = true
      fill = Math.max(fill, seats / Math.max((this.#shares.ofHolder[p]?.[holder] ?? 0) * this.#partitions, rounding))
    }
    this.#fills[holder] = fill
    this.#isOverLater[holder] = isOver ? 1 : 0
  }

  #fillOf (holder: number): number { return this.#fills[holder] ?? 0 }
  #isBelowMost (holder: number): boolean { return (this.#loads[holder] ?? 0) < (this.#most[this.#position]?.[holder] ?? 0) }

  /** Seats that it can do without, now and when it keeps what it had at later positions; the share of them in what it should have. */
  #slackOf (holder: number): number {
    let [slack, seats] = [Infinity, this.#loads[holder] ?? 0]
    for (let p = this.#position; p < this.#positions; p++) {
      if (p > this.#position) seats += this.#kept[holder * this.#positions + p] ?? 0
      const share = (this.#shares.ofHolder[p]?.[holder] ?? 0) * this.#partitions
      slack = Math.min(slack, (seats - (this.#least[p]?.[holder] ?? 0)) / Math.max(share, 1))
    }
    return slack
  }

  #mayGive (holder: number): boolean { return (this.#loads[holder] ?? 0) > (this.#least[this.#position]?.[holder] ?? 0) }
  #isOver (holder: number): boolean { return (this.#loads[holder] ?? 0) > (this.#most[this.#position]?.[holder] ?? 0) }
  #isShort (holder: number): boolean { return (this.#loads[holder] ?? 0) < (this.#least[this.#position]?.[holder] ?? 0) }

  #fillSeat (partition: number): void {
    let [best, bestCost, bestTie] = [nobody, Infinity, 0]
    for (const holder of this.#among(partition)) {
      if (!this.#isBelowMost(holder)) continue
      const fill = this.#fillOf(holder)
      const dearer = this.#isOverLater[holder] === 1 ? costs.keptSeat : 0
      if (dearer > bestCost || (bestCost === 0 && fill > this.#fillOf(best))) continue
      const cost = dearer + (this.#hasLaterSeat(partition, holder) ? costs.laterSeat : 0)
      if (cost > bestCost || (cost === bestCost && fill > this.#fillOf(best))) continue
      const tie = this.#mixed(holder, partition)
      const isBetter = cost < bestCost || fill < this.#fillOf(best) || tie < bestTie
      if (isBetter && this.#isAllowed(partition, holder)) [best, bestCost, bestTie] = [holder, cost, tie]
    }
    if (best !== nobody) { this.#sit(partition, best); return }
    // all who may sit here have enough: one of them takes it and gives another away, if there is somebody to take that
    const allowed = this.#candidates(partition)
    const chain = this.#chainFrom(allowed.map((holder) => ({ holder, cost: this.#hasLaterSeat(partition, holder) ? costs.laterSeat : 0 })))
    const taker = chain?.[0]?.from ?? allowed.reduce((a, b) => (this.#fillOf(b) < this.#fillOf(a) ? b : a))
    this.#sit(partition, taker)
    this.#move(chain ?? [])
  }

  #candidates (partition: number): readonly number[] {
    const all = this.#among(partition)
    const allowed = all.filter((holder) => this.#isAllowed(partition, holder))
    // a demand that cannot be met any more is none
    return allowed.length > 0 ? allowed : all.filter((holder) => this.#countAt(partition, this.#zoneOf(holder)) === this.#levels[partition] && !this.#isIn(partition, holder))
  }

  #mixed (holder: number, partition: number): number { return mixed(this.#salts[holder] ?? 0, partition) }

  /** Whoever has more than its share gives seats away, while somebody can take them. */
  #relieve (): void {
    for (let holder = 0; holder < this.#holders.length; holder++) {
      for (const ofLater of [false, true]) if (this.#isOver(holder)) this.#relieveDirectly(holder, ofLater)
      while (this.#isOver(holder)) {
        const chain = this.#chainFrom([{ holder, cost: 0 }])
        if (chain === undefined) break
        this.#move(chain)
      }
    }
  }

  /** To the emptiest, one seat after the other: what chains of one step would do, without a search for each. */
  #relieveDirectly (holder: number, ofLater: boolean): void {
    const offers = new Map<number, Offer[]>()
    for (const partition of this.#of[holder] ?? []) {
      for (const taker of this.#among(partition)) {
        if (taker === holder || !this.#isBelowMost(taker) || (!ofLater && this.#hasLaterSeat(partition, taker)) || !this.#isAllowed(partition, taker)) continue
        const of = offers.get(taker)
        const offer = { partition, cost: this.#costOf(partition, taker), tie: this.#mixed(taker, partition) }
        if (of === undefined) offers.set(taker, [offer])
        else of.push(offer)
      }
    }
    for (const of of offers.values()) of.sort((a, b) => b.cost - a.cost || b.tie - a.tie)
    const takers = new Set([...offers.keys()].toSorted((a, b) => a - b))
    while (this.#isOver(holder) && takers.size > 0) {
      const taker = [...takers].reduce((a, b) => (this.#fillOf(b) < this.#fillOf(a) ? b : a))
      const offer = this.#isBelowMost(taker) ? offers.get(taker)?.pop() : undefined
      if (offer === undefined) takers.delete(taker)
      else if (this.#sitter(offer.partition) === holder) this.#sit(offer.partition, taker)
    }
  }

  /** Whoever has less than its share is given seats, while somebody can do without. */
  #supply (): void {
    for (let holder = 0; holder < this.#holders.length; holder++) {
      for (const ofLater of [false, true]) if (this.#isShort(holder)) this.#supplyDirectly(holder, ofLater)
      while (this.#isShort(holder)) {
        const chain = this.#chainTo(holder)
        if (chain === undefined) break
        this.#move(chain)
      }
    }
  }

  /** From whoever can do best without, one seat after the other: what chains of one step would do, without a search for each. */
  #supplyDirectly (holder: number, ofLater: boolean): void {
    const offers = new Map<number, Offer[]>()
    for (const partition of this.#listsOf[holder] ?? []) {
      const giver = this.#sitter(partition)
      if (giver === holder || !this.#mayGive(giver) || (!ofLater && this.#hasLaterSeat(partition, holder)) || !this.#isAllowed(partition, holder)) continue
      const offer = { partition, cost: this.#costOf(partition, holder), tie: this.#mixed(giver, partition) }
      const of = offers.get(giver)
      if (of === undefined) offers.set(giver, [offer])
      else of.push(offer)
    }
    // the best last
    for (const of of offers.values()) of.sort((a, b) => b.cost - a.cost || b.tie - a.tie)
    const slacks = new Map([...offers.keys()].toSorted((a, b) => a - b).map((giver) => [giver, this.#slackOf(giver)]))
    while (this.#isShort(holder) && slacks.size > 0) {
      const [giver] = [...slacks].reduce((a, b) => (b[1] > a[1] ? b : a))
      const offer = this.#mayGive(giver) ? offers.get(giver)?.pop() : undefined
      if (offer === undefined) { slacks.delete(giver); continue }
      this.#sit(offer.partition, holder)
      slacks.set(giver, this.#slackOf(giver))
    }
  }

  #move (chain: readonly Step[]): void { for (const { partition, to } of chain) this.#sit(partition, to) }

  #costOf (partition: number, to: number): number {
    return costs.hop + (this.#isKept(partition) ? costs.keptSeat : 0) + (this.#hasLaterSeat(partition, to) ? costs.laterSeat : 0)
  }

  /** The cheapest chain of seats from one of these to somebody below its share; of equally cheap ones to the emptiest. */
  #chainFrom (starts: ReadonlyArray<{ readonly holder: number, readonly cost: number }>): readonly Step[] | undefined {
    if (this.#looks > searchLimits.maxLooks) return undefined
    const search = new ChainSearch(this.#holders.length)
    for (const { holder, cost } of starts) search.reach(holder, cost, undefined)
    let end: number | undefined
    for (let from = search.next(); from !== undefined; from = search.next()) {
      const isEnd = this.#isBelowMost(from) && !starts.some(({ holder }) => holder === from)
      if (end !== undefined && search.costOf(from) > search.costOf(end)) break
      if (isEnd && (end === undefined || this.#fillOf(from) < this.#fillOf(end))) end = from
      if (isEnd || end !== undefined) continue
      for (const partition of this.#of[from] ?? []) {
        this.#looks += this.#among(partition).length
        for (const to of this.#among(partition)) {
          if (to === from || search.isDone(to)) continue
          const cost = search.costOf(from) + this.#costOf(partition, to)
          if (!search.isBetter(to, cost, this.#mixed(to, partition)) || !this.#isAllowed(partition, to)) continue
          search.reach(to, cost, { from, partition, to }, this.#mixed(to, partition))
          // no step is cheaper
          if (cost === costs.hop && this.#isBelowMost(to) && !starts.some(({ holder }) => holder === to)) return search.stepsTo(to)
        }
      }
    }
    return end === undefined ? undefined : search.stepsTo(end)
  }

  /** The cheapest chain of seats to this one from somebody above its least; of equally cheap ones from the fullest. */
  #chainTo (holder: number): readonly Step[] | undefined {
    if (this.#looks > searchLimits.maxLooks) return undefined
    const search = new ChainSearch(this.#holders.length)
    search.reach(holder, 0, undefined)
    let start: number | undefined
    for (let to = search.next(); to !== undefined; to = search.next()) {
      if (start !== undefined && search.costOf(to) > search.costOf(start)) break
      const isStart = to !== holder && this.#mayGive(to)
      if (isStart && (start === undefined || this.#slackOf(to) > this.#slackOf(start))) start = to
      if (isStart || start !== undefined) continue
      for (const partition of this.#listsOf[to] ?? []) {
        this.#looks++
        const from = this.#sitter(partition)
        if (from === to || search.isDone(from)) continue
        const cost = search.costOf(to) + this.#costOf(partition, to)
        if (!search.isBetter(from, cost, this.#mixed(from, partition)) || !this.#isAllowed(partition, to)) continue
        search.reach(from, cost, { from, partition, to }, this.#mixed(from, partition))
        if (cost === costs.hop && this.#mayGive(from)) return search.stepsTo(from).toReversed()
      }
    }
    return start === undefined ? undefined : search.stepsTo(start).toReversed()
  }
}

interface Offer { readonly partition: number, readonly cost: number, readonly tie: number }
