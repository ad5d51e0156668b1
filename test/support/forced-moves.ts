import type { Holder } from '../../src/cluster/assignment.ts'
import { fairShares } from '../../src/cluster/fair-shares.ts'

type Lists = ReadonlyArray<ReadonlyArray<number | undefined>>

/**
 * How many copies any assignment must move that gives each of `holders` its fair share within `tolerance`, and a second copy to no zone before the others
 * have one: a lower bound, by maximum flow. What can stay is a flow from holders (as many as each may have) through the zones of each list (as many as a
 * zone may have in one) to the lists (their width); all else moves. And whoever has too little must be given the rest.
 */
export function forcedMoves ({ holders, positions, previous, tolerance }: { holders: readonly Holder[], positions: number, previous: Lists, tolerance: number }): number {
  const partitions = previous.length
  const names = [...new Set(holders.map(({ zone }) => zone))]
  const zoneOf = holders.map(({ zone }) => names.indexOf(zone))
  const sizes = names.map((_, zone) => zoneOf.filter((of) => of === zone).length)
  const shares = (fairShares({ holders, zoneOf, zones: names.length, positions }).ofHolder[positions - 1] ?? []).map((share) => share * partitions)
  let level = 0
  while (sizes.some((size) => size > level) && sizes.reduce((sum, size) => sum + Math.min(size, level + 1), 0) <= positions) level++
  const numbers = new Map(holders.map(({ index }, number) => [index, number]))
  const had = previous.map((list) => [...new Set(list.flatMap((index) => numbers.get(index ?? -1) ?? []))])

  const flow = new Flow(2 + holders.length + partitions * (names.length + 1))
  const [source, sink] = [0, 1]
  const holderNode = (holder: number): number => 2 + holder
  const listNode = (partition: number): number => 2 + holders.length + partition * (names.length + 1)
  shares.forEach((share, holder) => { flow.edge(source, holderNode(holder), Math.min(partitions, Math.max(Math.ceil(share - 1e-6), Math.floor(share * (1 + tolerance))))) })
  had.forEach((list, partition) => {
    flow.edge(listNode(partition), sink, positions)
    for (const zone of new Set(list.map((holder) => zoneOf[holder] as number))) flow.edge(listNode(partition) + 1 + zone, listNode(partition), Math.min(sizes[zone] as number, level + 1))
    for (const holder of list) flow.edge(holderNode(holder), listNode(partition) + 1 + (zoneOf[holder] as number), 1)
  })
  const kept = flow.maximum(source, sink)
  const given = shares.reduce((sum, share, holder) => sum + Math.max(0, Math.min(Math.floor(share + 1e-6), Math.ceil(share * (1 - tolerance))) - had.filter((list) => list.includes(holder)).length), 0)
  return Math.max(positions * partitions - kept, given)
}

/** Dinic's algorithm. */
class Flow {
  readonly #first: Int32Array
  readonly #next: number[] = []
  readonly #to: number[] = []
  readonly #left: number[] = []

  constructor (nodes: number) { this.#first = new Int32Array(nodes).fill(-1) }

  edge (from: number, to: number, capacity: number): void {
    for (const [a, b, left] of [[from, to, capacity], [to, from, 0]] as const) {
      this.#to.push(b)
      this.#left.push(left)
      this.#next.push(this.#first[a] as number)
      this.#first[a] = this.#to.length - 1
    }
  }

  maximum (source: number, sink: number): number {
    for (let total = 0; ;) {
      const depth = this.#depths(source)
      if (depth[sink] === -1) return total
      const at = this.#first.slice()
      const push = (node: number, most: number): number => {
        if (node === sink) return most
        for (; (at[node] as number) !== -1; at[node] = this.#next[at[node] as number] as number) {
          const edge = at[node] as number
          const to = this.#to[edge] as number
          if (this.#left[edge] === 0 || depth[to] !== (depth[node] as number) + 1) continue
          const pushed = push(to, Math.min(most, this.#left[edge] as number))
          if (pushed === 0) continue
          this.#left[edge]! -= pushed
          this.#left[edge ^ 1]! += pushed
          return pushed
        }
        return 0
      }
      for (let pushed = push(source, Infinity); pushed > 0; pushed = push(source, Infinity)) total += pushed
    }
  }

  #depths (source: number): Int32Array {
    const depth = new Int32Array(this.#first.length).fill(-1)
    depth[source] = 0
    const queue = [source]
    for (const node of queue) {
      for (let edge = this.#first[node] as number; edge !== -1; edge = this.#next[edge] as number) {
        const to = this.#to[edge] as number
        if (this.#left[edge] === 0 || depth[to] !== -1) continue
        depth[to] = (depth[node] as number) + 1
        queue.push(to)
      }
    }
    return depth
  }
}
