import { describe, expect, test } from 'vitest'
import { InvalidInput } from '../../src/base/errors.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { configOf, listenAddressOf } from '../../src/config.ts'

const home = '/home/somebody'
const peerId = peerIdOf(new Uint8Array(32).fill(7))

describe('configuration', () => {
  test('has defaults that a newcomer can start with', () => {
    const { config, origins } = configOf({ home })
    expect(config).toMatchObject({ data: '/home/somebody/.dfs', apiPort: 4200, listen: ['/ip4/0.0.0.0/tcp/4201'], capacityBytes: undefined })
    expect(new Set(Object.values(origins))).toEqual(new Set(['default']))
  })

  test('but for S3, which is on loopback, public faces are off until they are given a place', () => {
    expect(configOf({ home }).config).toMatchObject({ s3Listen: '127.0.0.1:9000', httpListen: 'off', rpcListen: 'off', insecurePublic: false })
    const { config } = configOf({ home, options: { 's3-listen': '127.0.0.1:9000', 'http-listen': '[::1]:0', 'rpc-listen': 'off', 'public-hosts': 'a.example,*.s3.example' } })
    expect(config).toMatchObject({ rpcListen: 'off', publicHosts: ['a.example', '*.s3.example'] })
    expect([config.s3Listen, config.httpListen, config.rpcListen].map(listenAddressOf)).toEqual([{ host: '127.0.0.1', port: 9000 }, { host: '::1', port: 0 }, undefined])
  })

  test('takes options before the environment, the environment before the file, the file before defaults', () => {
    const file = { path: '/d/dfs.json', content: { zone: 'file', 'api-port': 1, cache: '1MiB' } }
    const { config, origins } = configOf({ home, file, environment: { DFS_ZONE: 'environment', DFS_API_PORT: '2' }, options: { 'api-port': '3' } })
    expect(config).toMatchObject({ apiPort: 3, zone: 'environment', cacheBytes: 1024 ** 2 })
    expect(origins).toMatchObject({ apiPort: 'option --api-port', zone: 'environment DFS_ZONE', cacheBytes: '"cache" in /d/dfs.json', mdns: 'default' })
  })

  test.each([
    ['api-port', '70000', 'api-port is "70000" (option --api-port); it takes a port, 0 (any free one) to 65535'],
    ['capacity', 'much', 'capacity is "much" (option --capacity); it takes a size such as 500GiB, or 0'],
    ['capacity', '-1', 'capacity is "-1"'],
    ['listen', 'localhost:4201', 'listen is "localhost:4201"'],
    ['bootstrap', '/ip4/10.0.0.1/tcp/4201', 'it takes multiaddrs with a peer id'],
    ['zone', 'a b', 'zone is "a b"'],
    ['listen', '/ip4/0.0.0.0/tcp/99999', 'listen is "/ip4/0.0.0.0/tcp/99999" (option --listen); it takes multiaddrs with a TCP port, such as /ip4/0.0.0.0/tcp/4201'],
    ['listen', '/ip4/300.0.0.1/tcp/4201', 'it takes multiaddrs with a TCP port'],
    ['listen', '/ip4/10.0.0.1/udp/4201/quic-v1', 'it takes multiaddrs with a TCP port'],
    ['listen', '/ip4/10.0.0.1/tcp/4201,/ip6/::g/tcp/4201', 'it takes multiaddrs with a TCP port'],
    ['announce', '/dns4/node1.example.org/tcp/0', 'it takes multiaddrs with a TCP port, such as /dns4/'],
    ['announce', '/dns4/two..dots/tcp/4201', 'it takes multiaddrs with a TCP port'],
    ['bootstrap', '/ip4/10.0.0.1/tcp/4201/p2p/12D3KooW', 'it takes multiaddrs with a peer id'],
    ['bootstrap', `/ip4/10.0.0.1/tcp/4201/p2p/${peerId}/p2p-circuit`, 'it takes multiaddrs with a peer id'],
    ['s3-listen', '9000', 's3-listen is "9000" (option --s3-listen); it takes off, or a host and a port such as 127.0.0.1:9000'],
    ['http-listen', 'localhost', 'it takes off, or a host and a port such as 127.0.0.1:8080'],
    ['rpc-listen', '::1:9090', 'it takes off, or a host and a port'],
    ['http-listen', 'a:65536', 'it takes off, or a host and a port'],
    ['http-listen', 'two..dots:80', 'it takes off, or a host and a port'],
    ['public-hosts', 'files.example.org:80', 'it takes host names such as files.example.org'],
    ['rate-per-key', '0', 'it takes requests a second'],
    ['mdns', 'maybe', 'it takes true or false'],
    ['log-level', 'loud', 'it takes trace, debug'],
  ])('a wrong %s (%s) names the field, what it got and what it takes', (name, value, message) => {
    const wrong = (): unknown => configOf({ home, options: { [name]: value } })
    expect(wrong).toThrow(InvalidInput)
    expect(wrong).toThrow(message)
  })

  test.each([
    ['listen', '/ip4/127.0.0.1/tcp/0,/ip6/::1/tcp/4201'], ['announce', '/dns4/node1.example.org/tcp/4201'], ['announce', `/dns/host-1/tcp/1/p2p/${peerId}`], ['bootstrap', `/ip6/fe80::1/tcp/65535/p2p/${peerId}`], ['bootstrap', ''],
  ] as const)('%s takes %s', (name, value) => {
    expect(configOf({ home, options: { [name]: value } }).config[name].join(',')).toBe(value)
  })

  test('a setting that nobody knows is refused, with the ones there are', () => {
    expect(() => configOf({ home, file: { path: 'dfs.json', content: { prot: 1 } } })).toThrow('dfs.json sets "prot", which is no setting; there are data, listen')
  })

  test.each([['0', 0], ['1KiB', 1024], ['1.5GiB', 1.5 * 1024 ** 3], ['2GB', 2e9], ['12', 12]])('reads the size %s as %d bytes', (text, bytes) => {
    expect(configOf({ home, options: { capacity: text } }).config.capacityBytes).toBe(bytes)
  })
})
