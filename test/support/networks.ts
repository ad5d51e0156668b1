import { type Clock, systemClock } from '../../src/base/clock.ts'
import { seededRandom, systemRandom } from '../../src/base/random.ts'
import { type Network, startNetwork } from '../../src/network/libp2p-network.ts'
import { until } from '../../scripts/local-cluster.ts'

const quiet = { debug: () => {}, info: () => {}, warn: () => {} }

export interface Networks extends AsyncDisposable {
  readonly all: Network[]
  at (index: number): Network
  /** One more, or one again: the same seed is the same peer. */
  start (seed: number, options?: { listen?: string, clock?: Clock, greets?: boolean, bootstrap?: readonly Network[] }): Promise<Network>
}

/** Real libp2p nodes on loopback that take each other for members; a greeting is one request that admits both sides. */
export async function networks (count: number): Promise<Networks> {
  const all: Network[] = []
  const made: Networks = {
    all,
    at: (index) => all[index] as Network,
    async start (seed, { listen = '/ip4/127.0.0.1/tcp/0', clock = systemClock, greets = true, bootstrap = all } = {}) {
      const network: Network = await startNetwork({
        seed: seededRandom(seed).bytes(32), listen: [listen], announce: [], bootstrap: greets ? bootstrap.flatMap((other) => other.addresses()) : [], mdns: false, clock, random: systemRandom,
        greet: async (peer, { signal }) => { if (greets) await network.requests.request(peer, '/test/hello', [], { signal, timeoutMs: 5000, maxAnswerBytes: 10 }) },
        isMember: () => true, log: quiet,
      })
      await network.requests.handle('/test/hello', async (peer) => { network.admit(peer); return [] }, { maxRequestBytes: 10, maxConcurrent: 4, strangers: true })
      return network
    },
    async [Symbol.asyncDispose] () { await Promise.all(all.map(async (network) => network[Symbol.asyncDispose]())) },
  }
  for (let i = 0; i < count; i++) {
    const network = await made.start(i + 1)
    await network.listen()
    all.push(network)
  }
  await until('everybody is admitted by everybody', 20_000, () => all.every((network) => network.reachable().length === count - 1))
  return made
}
