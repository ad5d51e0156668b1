import { describe, expect, test } from 'vitest'
import { clientBehind, trustedProxies } from '../../../src/api/server/trusted-proxies.ts'
import { isNetwork } from '../../../src/config.ts'
import { answerTo, servedPublicly } from '../../support/public-listener.ts'

const proxies = trustedProxies(['10.0.0.0/8', '2001:db8::/32', '127.0.0.1'])
const behind = (connected: string, forwarded?: string | string[], proto?: string) => clientBehind(proxies, { address: connected, isSecure: false }, { ...(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded as string }), ...(proto === undefined ? {} : { 'x-forwarded-proto': proto }) })

describe('a client behind a proxy', () => {
  test.each<readonly [string, string, string | string[] | undefined, string]>([
    ['is who the proxy says', '10.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['is the last that is no proxy, whatever it wrote itself', '10.0.0.1', '1.2.3.4, 198.51.100.7, 10.9.9.9', '198.51.100.7'],
    ['is found over several headers', '10.0.0.1', ['1.2.3.4', '198.51.100.7'], '198.51.100.7'],
    ['may have a port', '127.0.0.1', '198.51.100.7:55555', '198.51.100.7'],
    ['may have IPv6', '::ffff:10.0.0.1', '[2001:dead::1]:443', '2001:dead::1'],
    ['may stand behind a proxy of IPv6', '2001:db8::5', '198.51.100.7', '198.51.100.7'],
    ['is the proxy where that says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['is as far as is known where what is said is no address', '10.0.0.1', '198.51.100.7, unknown, 10.2.2.2', '10.2.2.2'],
    ['is the outermost proxy where there are only proxies', '10.0.0.1', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
  ])('%s', (_what, connected, forwarded, client) => {
    expect(behind(connected, forwarded).address).toBe(client)
  })

  test('is not who somebody else says', () => {
    expect(behind('198.51.100.7', '1.2.3.4', 'https')).toEqual({ address: '198.51.100.7', isSecure: false })
    expect(clientBehind(trustedProxies([]), { address: '127.0.0.1', isSecure: false }, { 'x-forwarded-for': '1.2.3.4' }).address).toBe('127.0.0.1')
  })

  test('speaks TLS where the proxy says so', () => {
    expect([behind('10.0.0.1', '1.2.3.4', 'https').isSecure, behind('10.0.0.1', '1.2.3.4', 'http').isSecure, behind('10.0.0.1', '1.2.3.4').isSecure]).toEqual([true, false, false])
  })

  test.each([['10.0.0.0/33', false], ['10.0.0.0/8/8', false], ['proxy.example', false], ['::1/129', false], ['', false], ['::1', true], ['192.168.0.0/16', true]])('%s is a rule: %s', (rule, isRule) => {
    expect(isNetwork(rule)).toBe(isRule)
  })

  test('is counted by itself, and stands in the log', async () => {
    await using served = await servedPublicly(async ({ response }) => { response.end() }, { trustedProxies: ['127.0.0.1'], rates: { perAddress: { perSecond: 0.001, burst: 1 } } })
    const statusOf = async (client: string): Promise<string> => (await answerTo(served.listener.port, `GET / HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: ${client}\r\nconnection: close\r\n\r\n`)).slice(9, 12)
    expect([await statusOf('198.51.100.1'), await statusOf('198.51.100.1'), await statusOf('198.51.100.2')]).toEqual(['200', '429', '200'])
    expect(served.logged.join('\n')).toContain('"address":"198.51.100.2"')
  })
})
