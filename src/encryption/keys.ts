import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { concat, empty, utf8 } from '../base/bytes.ts'

/**
 * Every key of a cluster follows from a few secrets: S_e, one for each epoch, seals data; N names rows and is never rotated. Each use has a label of its
 * own, so no two uses share a key (docs/FORMAT.md, "Keys").
 */
export interface ClusterSecrets {
  /** 16 bytes, public. */
  readonly clusterId: Uint8Array
  /** N, 32 bytes. */
  readonly names: Uint8Array
  /** S_e by epoch, from 1; the highest seals what is new. */
  readonly epochs: ReadonlyMap<number, Uint8Array>
}

/** Keys of one epoch for rows, votes and versions; 32 bytes each. */
export interface EpochKeys {
  readonly row: KeyObject
  readonly salt: Uint8Array
  readonly vote: Uint8Array
  readonly delete: Uint8Array
  readonly random: Uint8Array
  /** Proves to a joiner that it was given the right secret. */
  readonly check: Uint8Array
}

/** Keys that make equal content equal within one domain. */
export interface DomainKeys {
  readonly convergence: Uint8Array
  readonly gear: Uint8Array
}

/** HK(s, label, x): HKDF-SHA256 (RFC 5869) under the cluster's id. 32 bytes. */
export function derived (secret: Uint8Array, clusterId: Uint8Array, label: string, x: Uint8Array = empty): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, clusterId, concat([utf8(`dfs/v1/${label}`), Uint8Array.of(0), x]), 32))
}

/** HKDF-Expand-SHA256 (RFC 5869 §2.3). `key` may be a KeyObject, which is cheaper when it is used often. */
export function expanded (key: Uint8Array | KeyObject, info: Uint8Array, length: number): Uint8Array {
  const output = Buffer.allocUnsafe(Math.ceil(length / 32) * 32)
  // a key that is bytes costs five times as much (aead.ts)
  const secret = key instanceof Uint8Array ? createSecretKey(key) : key
  let previous: Uint8Array = empty
  for (let i = 1; (i - 1) * 32 < length; i++) {
    previous = createHmac('sha256', secret).update(previous).update(info).update(Uint8Array.of(i)).digest()
    output.set(previous, (i - 1) * 32)
  }
  return output.subarray(0, length)
}

/** The keys of a cluster, derived on first use and kept. */
export class ClusterKeys {
  readonly clusterId: Uint8Array
  readonly name: Uint8Array
  readonly checkNames: Uint8Array
  readonly #secrets: Map<number, Uint8Array>
  #currentEpoch: number
  readonly #epochs = new Map<number, EpochKeys>()
  readonly #domains = new Map<string, DomainKeys>()

  constructor (secrets: ClusterSecrets) {
    this.#secrets = new Map(secrets.epochs)
    this.clusterId = secrets.clusterId
    this.#currentEpoch = Math.max(...secrets.epochs.keys())
    this.name = derived(secrets.names, secrets.clusterId, 'name')
    this.checkNames = derived(secrets.names, secrets.clusterId, 'check')
  }

  /** What is new is sealed in it, and tagged. */
  get currentEpoch (): number { return this.#currentEpoch }

  /** The secret of another epoch; what this opens can be read from the call on. */
  learn (epoch: number, secret: Uint8Array): void { this.#secrets.set(epoch, secret) }

  /** From the call on what is new is sealed in this epoch. @throws UnknownEpoch */
  sealIn (epoch: number): void {
    this.#secretOf(epoch)
    this.#currentEpoch = epoch
  }

  /** @throws UnknownEpoch if this node was not given the epoch's secret */
  epoch (epoch: number): EpochKeys {
    const known = this.#epochs.get(epoch)
    if (known !== undefined) return known
    const of = (label: string): Uint8Array => derived(this.#secretOf(epoch), this.clusterId, label)
    const keys = { row: createSecretKey(of('row-key')), salt: of('row-salt'), vote: of('vote'), delete: of('delete'), random: of('random-key'), check: of('check') }
    this.#epochs.set(epoch, keys)
    return keys
  }

  /** `domain`: a bucket's id (16 bytes), or empty for the whole cluster. @throws UnknownEpoch */
  domain (epoch: number, domain: Uint8Array): DomainKeys {
    const name = `${epoch} ${Buffer.from(domain).toString('hex')}`
    const known = this.#domains.get(name)
    if (known !== undefined) return known
    const of = (label: string): Uint8Array => derived(this.#secretOf(epoch), this.clusterId, label, domain)
    const keys = { convergence: of('chunk-convergence'), gear: of('gear') }
    if (this.#domains.size >= maxKeptDomains) this.#domains.clear()
    this.#domains.set(name, keys)
    return keys
  }

  #secretOf (epoch: number): Uint8Array {
    const secret = this.#secrets.get(epoch)
    if (secret === undefined) throw new UnknownEpoch(epoch)
    return secret
  }
}

const maxKeptDomains = 1024

/** Sealed in an epoch whose secret this node does not hold. */
export class UnknownEpoch extends Error {
  override name = 'UnknownEpoch'
  readonly epoch: number
  constructor (epoch: number) { super(`the secret of epoch ${epoch} is not in this node's keyring`); this.epoch = epoch }
}
