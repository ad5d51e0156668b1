/** As much as can flow from one node to another, as cheaply as possible: by stages of paths of the same cost (Dijkstra's with potentials, then Dinic's). Costs are whole and not negative. */
export class CheapestFlow {
  readonly #first: Int32Array
  readonly #next: number[] = []
  readonly #to: number[] = []
  readonly #left: number[] = []
  readonly #cost: number[] = []
  /** What the cheapest path so far costs to each node. */
  readonly #potential: Int32Array

  constructor (nodes: number) {
    this.#first = new Int32Array(nodes).fill(-1)
    this.#potential = new Int32Array(nodes)
  }

  edge (from: number, to: number, { capacity, cost }: { readonly capacity: number, readonly cost: number }): void {
    for (const [a, b, left, price] of [[from, to, capacity, cost], [to, from, 0, -cost]] as const) {
      this.#to.push(b)
      this.#left.push(left)
      this.#cost.push(price)
      this.#next.push(this.#first[a] as number)
      this.#first[a] = this.#to.length - 1
    }
  }

  send (source: number, sink: number): { readonly amount: number, readonly cost: number } {
    let [amount, cost] = [0, 0]
    while (this.#reach(source, sink)) {
      const price = (this.#potential[sink] as number) - (this.#potential[source] as number)
      for (let sent = this.#sendAlike(source, sink); sent > 0; sent = this.#sendAlike(source, sink)) {
        amount += sent
        cost += sent * price
      }
    }
    return { amount, cost }
  }

  /** New potentials; false: the sink is not reached any more. */
  #reach (source: number, sink: number): boolean {
    const distances = new Int32Array(this.#first.length).fill(-1)
    const isDone = new Uint8Array(this.#first.length)
    // by distance: those are small, or few
    const queues = new Map<number, number[]>([[0, [source]]])
    const open = [0]
    distances[source] = 0
    let furthest = 0
    while (open.length > 0) {
      const at = Math.min(...open)
      open.splice(open.indexOf(at), 1)
      const queue = queues.get(at) as number[]
      for (const node of queue) {
        if (isDone[node] === 1 || distances[node] !== at) continue
        isDone[node] = 1
        furthest = at
        for (let edge = this.#first[node] as number; edge !== -1; edge = this.#next[edge] as number) {
          if (this.#left[edge] === 0) continue
          const to = this.#to[edge] as number
          const distance = at + this.#reduced(node, edge)
          if (distances[to] !== -1 && (distances[to] as number) <= distance) continue
          distances[to] = distance
          const known = queues.get(distance)
          if (known === undefined) { queues.set(distance, [to]); open.push(distance) } else known.push(to)
        }
      }
      queues.delete(at)
    }
    for (let node = 0; node < distances.length; node++) this.#potential[node]! += distances[node] === -1 ? furthest : distances[node] as number
    return distances[sink] !== -1
  }

  #reduced (from: number, edge: number): number { return (this.#cost[edge] as number) + (this.#potential[from] as number) - (this.#potential[this.#to[edge] as number] as number) }

  /** Along the cheapest paths, the shortest of them. */
  #sendAlike (source: number, sink: number): number {
    const depths = new Int32Array(this.#first.length).fill(-1)
    depths[source] = 0
    const queue = [source]
    for (const node of queue) {
      for (let edge = this.#first[node] as number; edge !== -1; edge = this.#next[edge] as number) {
        const to = this.#to[edge] as number
        if (this.#left[edge] === 0 || depths[to] !== -1 || this.#reduced(node, edge) !== 0) continue
        depths[to] = (depths[node] as number) + 1
        queue.push(to)
      }
    }
    if (depths[sink] === -1) return 0
    const at = this.#first.slice()
    const push = (node: number, most: number): number => {
      if (node === sink) return most
      for (; (at[node] as number) !== -1; at[node] = this.#next[at[node] as number] as number) {
        const edge = at[node] as number
        const to = this.#to[edge] as number
        if (this.#left[edge] === 0 || depths[to] !== (depths[node] as number) + 1 || this.#reduced(node, edge) !== 0) continue
        const pushed = push(to, Math.min(most, this.#left[edge] as number))
        if (pushed === 0) continue
        this.#left[edge]! -= pushed
        this.#left[edge ^ 1]! += pushed
        return pushed
      }
      return 0
    }
    let sum = 0
    for (let pushed = push(source, Infinity); pushed > 0; pushed = push(source, Infinity)) sum += pushed
    return sum
  }
}
