import os from 'node:os'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { startNetwork } from '../../src/network/libp2p-network.ts'
import { networks } from '../support/networks.ts'

// for the library these are public, and yet no test can reach anybody there: the kernel makes no TCP connection to a multicast address
const [loopback, publicOne, publicTwo] = ['127.0.0.1', '239.8.4.4', '239.1.0.1']
const cidr = (address: string): os.NetworkInterfaceInfo => ({ address, netmask: '255.255.255.0', family: 'IPv4', mac: '00:00:00:00:00:00', internal: address === loopback, cidr: `${address}/24` })
/** A machine that has these addresses and no other: of all interfaces, the library takes them from here. */
const machineWith = (...addresses: readonly string[]): void => { vi.spyOn(os, 'networkInterfaces').mockReturnValue(Object.fromEntries(addresses.map((address, i) => [`eth${i}`, [cidr(address)]]))) }
const hostsOf = (addresses: readonly string[]): readonly string[] => addresses.map((address) => address.split('/')[2] ?? '').toSorted()

afterEach(() => { vi.restoreAllMocks() })

describe('a node on a public address', () => {
  test('tells it of itself, also where it has no other, and where it got another while it runs', async () => {
    machineWith(publicOne)
    await using pair = await networks(0)
    const network = await pair.start(1, { listen: '/ip4/0.0.0.0/tcp/0' })
    pair.all.push(network)
    await network.listen()
    expect(network.addresses()).toEqual([expect.stringMatching(new RegExp(`^/ip4/${publicOne}/tcp/[0-9]+/p2p/${network.peerId}$`))])
    machineWith(loopback, publicOne, publicTwo)
    expect(hostsOf(network.addresses())).toEqual([loopback, publicTwo, publicOne])
    machineWith()
    expect(hostsOf(network.addresses())).toEqual([loopback, publicTwo, publicOne])
  })

  test('is found there by a member that asks others over Kademlia', async () => {
    machineWith(loopback, publicOne)
    await using three = await networks(0)
    for (const seed of [1, 2, 3]) {
      // each knows the first alone
      const network = await three.start(seed, { listen: '/ip4/0.0.0.0/tcp/0', bootstrap: three.all.slice(0, 1) })
      await network.listen()
      three.all.push(network)
    }
    const second = three.at(1).peerId
    await until('the third has been told of the second, with its public address', 30_000, async () =>
      hostsOf(await three.at(2).find(second, { signal: AbortSignal.timeout(10_000) })).includes(publicOne))
  }, 60_000)

  test('tells what it is set to announce, and nothing else', async () => {
    machineWith(loopback, publicOne)
    await using network = await startNetwork({
      seed: systemRandom.bytes(32), listen: ['/ip4/0.0.0.0/tcp/0'], announce: ['/dns4/node.example.org/tcp/4201'], bootstrap: [], mdns: false, clock: systemClock, random: systemRandom,
      greet: undefined, isMember: () => false, log: { debug: () => {}, info: () => {}, warn: () => {} },
    })
    await network.listen()
    expect(network.addresses()).toEqual([`/dns4/node.example.org/tcp/4201/p2p/${network.peerId}`])
  })

  test('that has no address at all does not start, and says why', async () => {
    machineWith()
    await using pair = await networks(0)
    const network = await pair.start(1, { listen: '/ip4/0.0.0.0/tcp/0' })
    pair.all.push(network)
    await expect(network.listen()).rejects.toThrow('nothing listens at /ip4/0.0.0.0/tcp/0')
  })
})

test('a port that another program has is told with what to set, and not in the words of the library', async () => {
  await using taken = await networks(1)
  const [address = ''] = taken.at(0).addresses()
  const port = /tcp\/(\d+)/.exec(address)?.[1]
  await using all = await networks(0)
  const second = await all.start(9, { listen: `/ip4/127.0.0.1/tcp/${port}` })
  await expect(second.listen()).rejects.toMatchObject({ code: 'invalid', field: 'listen', message: `127.0.0.1:${port} is in use by another program (another node?): give --listen another port, or tcp/0 for any that is free` })
  await second[Symbol.asyncDispose]()
  const elsewhere = await all.start(10, { listen: '/ip4/192.0.2.7/tcp/4201' })
  await expect(elsewhere.listen()).rejects.toMatchObject({ code: 'invalid', field: 'listen', message: expect.stringContaining('no address of this machine') as string })
  await elsewhere[Symbol.asyncDispose]()
})
