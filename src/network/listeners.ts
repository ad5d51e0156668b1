import type { Listener } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

/**
 * Where this node listens, as the operating system says. The library keeps a public address to itself until somebody outside has confirmed it (AutoNAT,
 * https://github.com/libp2p/specs/blob/master/autonat), and no member does: a node on the open Internet would tell of its private addresses alone, or of none
 * (libp2p 3.3). A member that dials an address in vain takes the next one; one that it is not told it never dials.
 */
export class Listeners {
  readonly #open = new Set<Listener>()
  #last: readonly Multiaddr[] = []

  watched (listener: Listener): Listener {
    listener.addEventListener('listening', () => { this.#open.add(listener) })
    listener.addEventListener('close', () => { this.#open.delete(listener) })
    return listener
  }

  /** Without /p2p; of all interfaces each, as they are now. While none has an address (a cable is out): where it was before. */
  addresses (): readonly Multiaddr[] {
    const now = [...this.#open].flatMap((listener) => listener.getAddrs())
    if (now.length > 0) this.#last = now
    return this.#last
  }
}
