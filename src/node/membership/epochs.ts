import { equals } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Refused } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Random } from '../../base/random.ts'
import { describeMember, type Era, newestEpochOf } from '../../cluster/index.ts'
import type { Files } from '../../disk/index.ts'
import { type ClusterKeys, type Keyring, type KeyringKey, keyringLimits, openRing, type Ring, ringPurpose, sealRing } from '../../encryption/index.ts'
import type { RingKeeper, RingPeers } from '../../protocols/ring.ts'
import { checkedRing, checkOf } from './checked-ring.ts'
import { writeKeyring } from './keys.ts'
import type { ClusterState } from '../state.ts'

/**
 * The secrets of epochs on a member. An epoch begins with an era that carries its check, when somebody who could read has been removed. Its secret is made by
 * the remover and is on the disks of a majority of the members that remain before that era is proposed: *prepared*, and no use to anybody before. So the
 * era can be chosen, its remover die, and the secret not be lost with it. Whoever adopts the era without having the secret asks any member
 * for it; the answer is held against the era's check, and in the keyring on disk before it is used.
 *
 * A removed member learns nothing new: a box goes to the exchange key in the certificate of whom this node's own era has, and holds the epochs of that era.
 */
export interface EpochsParts {
  readonly files: Files
  readonly keyring: Keyring & { readonly ring: Ring }
  /** What seals the keyring. */
  readonly key: KeyringKey
  readonly keys: ClusterKeys
  readonly state: Pick<ClusterState, 'clusterId' | 'era' | 'isMember' | 'members'>
  readonly peers: Pick<RingPeers, 'ask'>
  /** Members that answer now, and the newest epoch that each has said to have. */
  readonly members: () => ReadonlyArray<{ readonly peer: PeerId, readonly epoch: number }>
  readonly random: Random
  readonly clock: Clock
}

export const epochLimits = {
  /** New epochs in one offer: a node that missed more eras asks for their keys when it hears of them. */
  maxOffered: 4,
  /** How long sealing in a new epoch waits for members that have not said to have it. They cannot read what is sealed in it until they have asked for it. */
  patienceMs: 30_000,
} as const

export class Epochs implements Pick<RingKeeper, 'keep' | 'give'> {
  readonly #parts: EpochsParts
  #keyring: EpochsParts['keyring']
  #writing: Promise<void> = Promise.resolve()
  #heldSinceMs: number | undefined

  constructor (parts: EpochsParts) {
    this.#parts = parts
    this.#keyring = parts.keyring
    // what was sealed before a restart is sealed in the same epoch after it
    const held = this.#newestHeld()
    if (held !== undefined) parts.keys.sealIn(held)
  }

  /** The newest epoch of the era whose secret is here. */
  get newest (): number { return this.#newestHeld() ?? 0 }

  /** A fresh secret for the epoch after those of the era; on this node's disk when it resolves. Never one that another had a part in making. */
  async prepare (): Promise<{ readonly epoch: number, readonly secret: Uint8Array, readonly check: Uint8Array }> {
    const { random, state } = this.#parts
    const { ring: { names } } = this.#keyring
    const epoch = newestEpochOf(state.era) + 1
    const secret = random.bytes(32)
    await this.#hold({ epoch, secret })
    return { epoch, secret, check: checkOf(secret, { clusterId: state.clusterId, names, epoch }) }
  }

  /** For a member to keep until the era comes. */
  boxOf ({ epoch, secret }: { epoch: number, secret: Uint8Array }, { kx, era }: { kx: Uint8Array, era: number }): Uint8Array {
    const { names, epochs } = this.#keyring.ring
    return this.#sealed({ names, epochs: new Map([...epochs, [epoch, secret]]) }, { kx, era })
  }

  /** The ring of an era, this node's unless it is told, sealed to an exchange key. @throws Refused while an epoch of it is not here yet */
  ringFor ({ kx, era, of = this.#parts.state.era }: { kx: Uint8Array, era: number, of?: Pick<Era, 'checkN' | 'checks'> }): Uint8Array {
    if (this.#missingOf(of).length > 0) throw new Refused('this node waits for the keys itself: ask another member')
    return this.#sealed(checkedRing(this.#keyring.ring, this.#parts.state.clusterId, of), { kx, era })
  }

  async keep (peer: PeerId, { era, box }: { era: number, box: Uint8Array }): Promise<void> {
    const { state } = this.#parts
    if (!state.isMember(peer)) throw new Refused('keys are kept for members')
    if (era <= state.era.number) throw new Refused('that era has begun')
    const ring = this.#opened(box, era)
    try { checkedRing(ring, state.clusterId, state.era) } catch (cause) { throw new Refused('not a ring of this cluster', { cause }) }
    // several, if this node has an era still to hear of
    const later = [...ring.epochs].filter(([epoch]) => epoch > newestEpochOf(state.era)).map(([epoch, secret]) => ({ epoch, secret }))
    if (later.length === 0 || later.length > epochLimits.maxOffered) throw new Refused(`an offer of ${later.length} new epochs`)
    for (const prepared of later) await this.#hold(prepared)
  }

  give (peer: PeerId, era: number): Uint8Array {
    const { state } = this.#parts
    const row = state.members.get(peer)
    if (row === undefined || !state.isMember(peer)) throw new Refused('keys are for members')
    if (era > state.era.number) throw new Refused('this node does not know that era yet')
    return this.ringFor({ kx: describeMember(row).kx, era })
  }

  /** Resolves when every key of the era is here. @throws Refused while nobody has them */
  async complete (wait: { signal?: AbortSignal } = {}): Promise<void> {
    await this.step(wait)
    if (this.#missingOf(this.#parts.state.era).length > 0) throw new Refused('the keys of this era are not here yet')
  }

  /** Gets what the era demands and this node lacks; then seals in the newest epoch, once every member that answers has it. */
  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { keys, members, clock } = this.#parts
    if (this.#missingOf(this.#parts.state.era).length > 0 && !await this.#promote()) return await this.#ask(signal) ? 'busy' : 'idle'
    const held = this.#newestHeld()
    if (held === undefined || held <= keys.currentEpoch) return 'idle'
    this.#heldSinceMs ??= clock.monotonicMs()
    const isComplete = members().every(({ epoch }) => epoch >= held)
    if (!isComplete && clock.monotonicMs() - this.#heldSinceMs < epochLimits.patienceMs) return 'idle'
    this.#heldSinceMs = undefined
    keys.sealIn(held)
    return 'busy'
  }

  #missingOf ({ checks }: Pick<Era, 'checks'>): readonly number[] {
    return checks.map(({ epoch }) => epoch).filter((epoch) => !this.#keyring.ring.epochs.has(epoch))
  }

  #newestHeld (): number | undefined {
    const held = this.#parts.state.era.checks.map(({ epoch }) => epoch).filter((epoch) => this.#keyring.ring.epochs.has(epoch))
    return held.length === 0 ? undefined : Math.max(...held)
  }

  /** What was prepared is taken into the ring, as far as the era vouches for it. Whether that was all. */
  async #promote (): Promise<boolean> {
    const { state: { era, clusterId } } = this.#parts
    const { names } = this.#keyring.ring
    const fitting = (this.#keyring.prepared ?? []).filter(({ epoch, secret }) =>
      era.checks.some((of) => of.epoch === epoch && equals(of.check, checkOf(secret, { clusterId, names, epoch }))))
    await this.#take(new Map(fitting.map(({ epoch, secret }) => [epoch, secret])))
    return this.#missingOf(era).length === 0
  }

  async #ask (signal: AbortSignal | undefined): Promise<boolean> {
    const { state, peers, members } = this.#parts
    const { era } = state
    const failures: unknown[] = []
    for (const { peer } of members()) {
      try {
        const ring = checkedRing(this.#opened(await peers.ask(peer, era.number, { signal }), era.number), state.clusterId, era)
        await this.#take(ring.epochs)
        return true
      } catch (error) {
        signal?.throwIfAborted()
        failures.push(error)
      }
    }
    // told by whoever runs this in the background, and tried again
    if (failures.length > 0) throw new Refused(`no member hands on the keys of era ${era.number}`, { cause: failures[0] })
    return false
  }

  /** Into the ring, on disk, and only then into use. */
  async #take (secrets: ReadonlyMap<number, Uint8Array>): Promise<void> {
    const { keys, state } = this.#parts
    await this.#change((keyring) => {
      const missing = [...secrets].filter(([epoch]) => !keyring.ring.epochs.has(epoch))
      if (missing.length === 0) return keyring
      const ring = { names: keyring.ring.names, epochs: new Map([...keyring.ring.epochs, ...missing]) }
      // what else was prepared for these epochs lost the race, and is no use any more
      return { ...keyring, ring, prepared: (keyring.prepared ?? []).filter(({ epoch }) => epoch > newestEpochOf(state.era)) }
    })
    for (const [epoch, secret] of this.#keyring.ring.epochs) keys.learn(epoch, secret)
  }

  async #hold (prepared: { epoch: number, secret: Uint8Array }): Promise<void> {
    await this.#change((keyring) => {
      const others = (keyring.prepared ?? []).filter(({ secret }) => !equals(secret, prepared.secret))
      return { ...keyring, prepared: [...others, prepared].slice(-keyringLimits.maxPrepared) }
    })
  }

  // one after the other, each of what the one before has left
  async #change (next: (keyring: EpochsParts['keyring']) => EpochsParts['keyring']): Promise<void> {
    const { files, key, random } = this.#parts
    const writing = this.#writing.catch(() => {}).then(async () => { // told to whom it was for
      const keyring = next(this.#keyring)
      if (keyring === this.#keyring) return
      await writeKeyring(files, keyring, key, { random })
      this.#keyring = keyring
    })
    this.#writing = writing
    await writing
  }

  #opened (box: Uint8Array, era: number): Ring {
    return openRing(box, { seed: this.#keyring.exchangeSeed, clusterId: this.#parts.state.clusterId, purpose: ringPurpose(era) })
  }

  #sealed (ring: Ring, { kx, era }: { kx: Uint8Array, era: number }): Uint8Array {
    const { state, random } = this.#parts
    return sealRing(ring, { clusterId: state.clusterId, purpose: ringPurpose(era), to: kx, fresh: random.bytes(32) })
  }
}
