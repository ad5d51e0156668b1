import type { Address } from '@libp2p/interface'
import { loopbackAddressLast, publicAddressesFirst } from '@libp2p/utils'
import type { Multiaddr } from '@multiformats/multiaddr'

export const dialOrderLimits = {
  /** Addresses that failed and are remembered; those that failed longest ago are forgotten. */
  maxFailed: 10_000,
} as const

/**
 * In which order the addresses of a peer are dialled. The library takes public ones first and loopback last, one after the other, and gives each some seconds:
 * two that a firewall swallows use up the whole time of a dial, and the one that answers would never have its turn. So an address that failed comes behind
 * those that did not, and of those that did, the one whose failure is longest ago comes first.
 */
export class DialOrder {
  /** In the order of their last failures. */
  readonly #failed = new Map<string, number>()
  #failures = 0

  /** Dials, and remembers how it ended. */
  async dialled<T> (address: Multiaddr, dial: () => Promise<T>): Promise<T> {
    const name = address.toString()
    try {
      const connection = await dial()
      this.#failed.delete(name)
      return connection
    } catch (error) {
      this.#failed.delete(name)
      this.#failed.set(name, ++this.#failures)
      const [oldest] = this.#failed.keys()
      if (this.#failed.size > dialOrderLimits.maxFailed && oldest !== undefined) this.#failed.delete(oldest)
      throw error
    }
  }

  readonly compare = ({ multiaddr: a }: Address, { multiaddr: b }: Address): number =>
    (this.#failed.get(a.toString()) ?? 0) - (this.#failed.get(b.toString()) ?? 0) || loopbackAddressLast(a, b) || publicAddressesFirst(a, b)
}
