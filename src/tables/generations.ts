/**
 * What is answered under one version of the layout ends before anything under a later one begins. Who takes over a partition under the new version reads what
 * a majority has of it; an accept of the old version that was let in before, and were saved after, would be missing there and yet be counted by its proposer.
 */
export class Generations {
  readonly #running = new Map<bigint, Set<Promise<unknown>>>()

  /** To be called in one go with the check that the version is the present one. */
  async run<T> (version: bigint, act: () => Promise<T>): Promise<T> {
    const older = [...this.#running].filter(([other]) => other < version).flatMap(([, running]) => [...running])
    const answering = older.length === 0 ? act() : Promise.allSettled(older).then(act)
    const running = this.#running.get(version) ?? new Set<Promise<unknown>>()
    this.#running.set(version, running.add(answering))
    try {
      return await answering
    } finally {
      running.delete(answering)
      if (running.size === 0) this.#running.delete(version)
    }
  }

  /** Resolves when what is answered now has been, well or not. */
  async ended (): Promise<void> { await Promise.allSettled([...this.#running.values()].flatMap((running) => [...running])) }
}
