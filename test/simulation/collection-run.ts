import { erasureCode } from '../../src/erasure/index.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { NotFound } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { CollectingCluster, type CollectingProcess, collectionTimes, type CollectionVariant } from './collection.ts'

export interface CollectionRun {
  readonly seed: number
  readonly variant?: CollectionVariant
  /** One disk drops references, of versions that all nodes have recorded. */
  readonly isForgetting?: boolean
  /** Large blocks are kept in shards. */
  readonly isSpread?: boolean
}

export interface CollectionOutcome {
  /** What must not be, in words. */
  readonly violations: readonly string[]
  readonly acknowledged: number
  readonly collected: number
  /** How long nodes ran, all together. */
  readonly nodeMs: number
}

const [bucket, keys, letters] = ['bucket', ['k1', 'k2', 'k3', 'k4'], 'abcdefghWXYZ'.split('')]
const chaosMs = 8000
const settleMs = 40_000

/** Puts of a few blocks in many versions, overwrites, deletions, uploads that stand still, reads that take their time, nodes that are killed: then peace, and the account. */
export async function simulateCollection ({ seed, variant = {}, isForgetting = false, isSpread = false }: CollectionRun): Promise<CollectionOutcome> {
  const cluster = new CollectingCluster({ seed, variant })
  // compiled before: nothing may have a say while the run lasts but the virtual clock
  if (isSpread) await erasureCode({ k: 2, m: 1 })
  const run = new Run(cluster, { isForgetting, isSpread })
  let isOver = false
  const work = run.all().finally(() => { isOver = true })
  work.catch(() => {}) // awaited below
  await cluster.time.run(() => isOver)
  if (!isOver) throw new Error(`seed ${seed}: stuck, no event is left that could end this`)
  await work
  return { violations: [...cluster.ledger.violations, ...run.violations], acknowledged: run.acknowledged, collected: cluster.ledger.collectedCount, nodeMs: cluster.nodeMs }
}

class Run {
  readonly violations: string[] = []
  acknowledged = 0
  readonly #cluster: CollectingCluster
  readonly #isForgetting: boolean
  readonly #isSpread: boolean

  constructor (cluster: CollectingCluster, { isForgetting, isSpread }: { isForgetting: boolean, isSpread: boolean }) {
    this.#cluster = cluster
    this.#isForgetting = isForgetting
    this.#isSpread = isSpread
  }

  async all (): Promise<void> {
    const cluster = this.#cluster
    await cluster.open()
    await cluster.processOf(cluster.peers[0] as PeerId).objects.createBucket(bucket, this.#isSpread ? { shards: '2+1' } : {})
    await Promise.all([...cluster.peers.map(async (peer) => this.#writer(peer)), ...[...cluster.peers, ...cluster.peers].map(async (peer) => this.#reader(peer)), this.#weather(), this.#isForgetting ? this.#forgetting() : undefined])
    if (cluster.ledger.violations.length + this.violations.length > 0) return
    await this.#settled()
    await this.#everythingReadable()
  }

  #isOver (): boolean { return this.#cluster.time.nowMs > chaosMs }

  async #writer (peer: PeerId): Promise<void> {
    const cluster = this.#cluster
    while (!this.#isOver()) {
      await cluster.time.sleep(cluster.between(0, 400))
      const process = cluster.processOf(peer)
      if (!process.isAlive) continue
      const key = cluster.pick(keys)
      const isStored = await (cluster.chance(0.25) ? this.#remove(process, key) : this.#put(process, peer, key))
      if (isStored) this.acknowledged++
    }
  }

  async #put (process: CollectingProcess, peer: PeerId, key: string): Promise<boolean> {
    const cluster = this.#cluster
    const text = Array.from({ length: 1 + Math.floor(cluster.between(0, 3)) }, () => cluster.pick(letters)).join('')
    const isStill = cluster.chance(0.06)
    cluster.ledger.begins(peer, key)
    const outcome = await this.#unlessKilled(process, process.objects.put({ bucket, key }, this.#source(peer, text, isStill)).then(() => true, () => false))
    if (outcome !== undefined) cluster.ledger.ends(peer, outcome)
    return outcome === true
  }

  /** A part at a time; one that stands still does so before its last letter, for longer than an upload may. */
  async * #source (peer: PeerId, text: string, isStill: boolean): AsyncIterable<Uint8Array> {
    const cluster = this.#cluster
    for (const [i, letter] of text.split('').entries()) {
      if (isStill && i === text.length - 1) {
        await cluster.time.sleep(collectionTimes.giveUpAfterMs)
        cluster.ledger.standsStill({ owner: peer })
        await cluster.time.sleep(collectionTimes.giveUpAfterMs)
      } else await cluster.time.sleep(cluster.between(0, 60))
      yield utf8(letter)
    }
  }

  async #remove (process: CollectingProcess, key: string): Promise<boolean> {
    const { ledger } = this.#cluster
    ledger.replaces(key)
    const outcome = await this.#unlessKilled(process, process.objects.remove({ bucket, key }).then(() => true, () => false))
    ledger.replaces(key)
    return outcome === true
  }

  /** A version that was there when the read began is read to its end, if that takes less than the grace. */
  async #reader (peer: PeerId): Promise<void> {
    const cluster = this.#cluster
    while (!this.#isOver()) {
      await cluster.time.sleep(cluster.between(0, 400))
      const process = cluster.processOf(peer)
      if (!process.isAlive) continue
      const [startMs, key] = [cluster.time.nowMs, cluster.pick(keys)]
      const failure = await this.#unlessKilled(process, this.#read(process, key, { isPatient: true }))
      if (failure === undefined || failure === '' || cluster.disturbedMs > startMs || cluster.time.nowMs - startMs > collectionTimes.graceMs) continue
      this.violations.push(`a read of ${key} that began at ${startMs.toFixed(0)} ended at ${cluster.time.nowMs.toFixed(0)} with: ${failure}`)
    }
  }

  /** What is wrong with the object, in words. `isPatient`: that its row cannot be read now is not, and what is known to be there is read slowly. */
  async #read (process: CollectingProcess, key: string, { isPatient = false } = {}): Promise<string> {
    let isKnown = !isPatient
    try {
      const { body } = await process.objects.get({ bucket, key })
      isKnown = true
      await this.#cluster.time.sleep(this.#cluster.between(0, 0.85 * collectionTimes.graceMs))
      for await (const _ of body);
      return ''
    } catch (error) {
      if (!isKnown || (error instanceof NotFound && error.name === 'NotFound')) return ''
      return error instanceof Error ? error.message : String(error)
    }
  }

  async #weather (): Promise<void> {
    const cluster = this.#cluster
    while (!this.#isOver()) {
      await cluster.time.sleep(cluster.between(100, 1800))
      const peer = cluster.pick(cluster.peers)
      const other = cluster.pick(cluster.peers.filter((one) => one !== peer))
      if (cluster.chance(0.45)) await cluster.restart(peer, cluster.between(100, 1500))
      else if (cluster.chance(0.4)) await cluster.cut(peer, other, cluster.between(100, 1500))
      else cluster.network.loseAnswers(peer, other, 2)
    }
  }

  async #forgetting (): Promise<void> {
    const cluster = this.#cluster
    const bad = cluster.peers[1] as PeerId
    while (!this.#isOver()) {
      await cluster.time.sleep(cluster.between(100, 1500))
      // and then nobody can tell it what it forgot
      if (await cluster.forget(bad) && cluster.chance(0.3)) await Promise.all(cluster.peers.filter((peer) => peer !== bad).map(async (peer) => cluster.cut(bad, peer, collectionTimes.graceMs * 2)))
    }
  }

  /** Whatever a process that was killed was doing, nobody waits for it. */
  async #unlessKilled<T> (process: CollectingProcess, work: Promise<T>): Promise<T | undefined> {
    let isDone = false
    const watch = async (): Promise<undefined> => {
      while (process.isAlive && !isDone) await this.#cluster.time.sleep(50)
      return isDone ? new Promise(() => {}) : undefined
    }
    return await Promise.race([work.finally(() => { isDone = true }), watch()])
  }

  async #settled (): Promise<void> {
    const cluster = this.#cluster
    const endMs = cluster.time.nowMs + settleMs
    for (;;) {
      await cluster.time.sleep(1000)
      const { pending, dropped, garbage, leaked } = await cluster.remains()
      if (pending.length + dropped.length + garbage.length + leaked.length === 0) return
      if (cluster.time.nowMs < endMs) continue
      this.violations.push(...pending.map((key) => `an upload of ${key} is never given up`), ...dropped.map((key) => `a dead version of ${key} is still owed a proof`), ...garbage.map((what) => `garbage stays: ${what}`), ...leaked.map((what) => `it came back, and nothing refers to it: ${what}`))
      return
    }
  }

  async #everythingReadable (): Promise<void> {
    const cluster = this.#cluster
    for (const peer of cluster.peers) {
      for (const key of keys) {
        const failure = await this.#read(cluster.processOf(peer), key)
        if (failure !== '') this.violations.push(`${key} cannot be read at ${cluster.nameOf(peer)}: ${failure}`)
      }
    }
  }
}
