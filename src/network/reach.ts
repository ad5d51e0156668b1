import { connect } from 'node:net'
import { systemClock } from '../base/clock.ts'

export const reachLimits = { timeoutMs: 2000 } as const

/** What a TCP connection to an address (a multiaddr) comes to: 'open', or why not. Undefined: it names no TCP port. */
export async function reach (multiaddr: string): Promise<string | undefined> {
  const [, protocol = '', host = '', port = ''] = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)/.exec(multiaddr) ?? []
  if (protocol === '' || port === '0') return undefined
  return new Promise((resolve) => {
    const socket = connect({ host: anyAddress.get(host) ?? host, port: Number(port) })
    const end = (outcome: string): void => { cancel(); socket.destroy(); resolve(outcome) }
    const cancel = systemClock.after(reachLimits.timeoutMs, () => { end(`does not answer within ${reachLimits.timeoutMs / 1000} s`) })
    socket.once('connect', () => { end('open') })
    socket.once('error', (error: NodeJS.ErrnoException) => { end(error.code === 'ECONNREFUSED' ? 'refuses' : error.message) })
  })
}

/** A node that listens on all of them is on this machine's own, too. */
const anyAddress: ReadonlyMap<string, string> = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])

/** All of them, those at which somebody answers first, as soon as that is known; whoever dials them one after another need not wait for those at which nobody does. */
export async function * answeringFirst (addresses: readonly string[], look: (multiaddr: string) => Promise<string | undefined> = reach): AsyncIterable<string> {
  const looks = new Map(addresses.map((address) => [address, look(address).then((outcome) => ({ address, isOpen: outcome === 'open' }))]))
  const others: string[] = []
  while (looks.size > 0) {
    const { address, isOpen } = await Promise.race(looks.values())
    looks.delete(address)
    if (isOpen) yield address
    else others.push(address)
  }
  yield * others
}
