import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { describe, expect, test } from 'vitest'
import { DialOrder, dialOrderLimits } from '../../src/network/dial-order.ts'
import { transportOptions } from '../../src/network/transport.ts'

const [loopback, home, out, away] = ['/ip4/127.0.0.1/tcp/1', '/ip4/192.168.1.2/tcp/1', '/ip4/8.8.4.4/tcp/1', '/ip4/8.8.8.8/tcp/1'].map((text) => multiaddr(text)) as [Multiaddr, Multiaddr, Multiaddr, Multiaddr]
const sorted = (order: DialOrder): readonly Multiaddr[] => [loopback, home, out, away].map((address) => ({ multiaddr: address, isCertified: false })).toSorted(order.compare).map(({ multiaddr: address }) => address)
const fail = async (order: DialOrder, address: Multiaddr): Promise<void> => { await expect(order.dialled(address, async () => { throw new Error('no answer') })).rejects.toThrow('no answer') }

describe('the addresses of a peer are dialled', () => {
  test('public ones first and loopback last, those that failed behind the others, until they answer', async () => {
    const order = new DialOrder()
    expect(sorted(order)).toEqual([out, away, home, loopback])
    await fail(order, out)
    await fail(order, away)
    expect(sorted(order)).toEqual([home, loopback, out, away])
    await fail(order, home)
    await fail(order, out)
    expect(sorted(order)).toEqual([loopback, away, home, out])
    expect(await order.dialled(out, async () => 'connected')).toBe('connected')
    expect(sorted(order)).toEqual([out, loopback, away, home])
  })

  test('so that each has its turn, however little time a dial has', async () => {
    const order = new DialOrder()
    const tried = new Set<Multiaddr>()
    // each dial ends after one address
    for (let dial = 0; dial < 4; dial++) {
      const [first] = sorted(order) as [Multiaddr]
      tried.add(first)
      await fail(order, first)
    }
    expect(tried.size).toBe(4)
  })

  test('with a bound on what is remembered of failures', async () => {
    const order = new DialOrder()
    await fail(order, out)
    for (let port = 1; port <= dialOrderLimits.maxFailed; port++) await order.dialled(multiaddr(`/ip4/10.0.0.1/tcp/${port}`), async () => { throw new Error('no answer') }).catch(() => {})
    expect(sorted(order)[0]).toEqual(out)
  })

  test('by the library in that order', async () => {
    const order = new DialOrder()
    const asked: string[] = []
    const dialled = order.dialled.bind(order)
    order.dialled = async (address, dial) => { asked.push(address.toString().split('/')[4] ?? ''); return dialled(address, dial) }
    const node = await createLibp2p({ ...transportOptions({ order }), connectionManager: { addressSorter: order.compare } } as never)
    try {
      // nothing listens there
      const [first, second] = ['/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/2'].map((text) => multiaddr(text)) as [Multiaddr, Multiaddr]
      await expect(node.dial(first)).rejects.toThrow()
      await expect(node.dial([first, second])).rejects.toThrow()
      expect(asked).toEqual(['1', '2', '1'])
    } finally {
      await node.stop()
    }
  })
})
