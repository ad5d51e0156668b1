import type { IncomingHttpHeaders } from 'node:http'
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { isNetwork } from '../../config.ts'

/** Servers that stand before this one, and whose word on who their client is counts; everybody else could write what it likes into a header. */
export interface TrustedProxies {
  has (address: string): boolean
}

/** `rules`: addresses, or networks such as 10.0.0.0/8. @throws RangeError for one that is neither */
export function trustedProxies (rules: readonly string[]): TrustedProxies {
  const list = new BlockList()
  for (const rule of rules) {
    const [address = '', prefix] = rule.split('/')
    if (!isNetwork(rule)) throw new RangeError(`"${rule}" is no address and no network`)
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  return { has: (address) => rules.length > 0 && isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4') }
}

/** Who asks, where a trusted proxy is asked by it, and whether its connection to that is encrypted. */
export interface Hop {
  readonly address: string
  readonly isSecure: boolean
}

/**
 * X-Forwarded-For is read from its end: each trusted proxy has added who asked it, so the last address that is none of theirs is the client; what stands before
 * that the client wrote itself. What is no address ends the reading: the one who was asked by it is as far as anybody knows.
 */
export function clientBehind (proxies: TrustedProxies, connected: Hop, headers: IncomingHttpHeaders): Hop {
  let address = plainAddressOf(connected.address)
  if (!proxies.has(address)) return { address, isSecure: connected.isSecure }
  const isSecure = connected.isSecure || lastOf(headers['x-forwarded-proto']) === 'https'
  for (const told of listOf(headers['x-forwarded-for']).toReversed()) {
    const next = plainAddressOf(told)
    if (isIP(next) === 0) break
    address = next
    if (!proxies.has(address)) break
  }
  return { address, isSecure }
}

const listOf = (header: string | string[] | undefined): string[] => [header ?? []].flat().join(',').split(',').map((entry) => entry.trim()).filter((entry) => entry !== '')
const lastOf = (header: string | string[] | undefined): string | undefined => listOf(header).at(-1)?.toLowerCase()

/** An address without a port, brackets, a zone, and the six bytes that make an address of IPv4 one of IPv6. */
export function plainAddressOf (text: string): string {
  const bare = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? (/^[^:]*:\d+$/.test(text) ? text.replace(/:\d+$/, '') : text)
  return bare.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
}
