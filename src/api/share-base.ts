import { type Config, listenAddressOf } from '../config.ts'

/** What links to the HTTP face begin with, as users reach it. Undefined: it is off on this node, and nobody said how others are reached. */
export function shareBaseOf ({ httpUrl, publicHosts, httpListen }: Pick<Config, 'httpUrl' | 'publicHosts' | 'httpListen'>, endpoint: string | undefined): string | undefined {
  if (httpUrl !== undefined) return httpUrl
  if (endpoint === undefined) return undefined
  const { protocol, port } = new URL(endpoint)
  const name = publicHosts.find((host) => !host.startsWith('*'))
  const host = listenAddressOf(httpListen)?.host ?? ''
  if (name === undefined && host !== '0.0.0.0' && host !== '::') return endpoint
  return `${protocol}//${name ?? '127.0.0.1'}${port === '' ? '' : `:${port}`}`
}
