import { isIPv4, isIPv6 } from 'node:net'

/**
 * Whether a Host header names this server. A web page whose name was pointed at this machine (DNS rebinding) sends that name, so only known ones are answered:
 * `allowed` ("files.example.org"; "*.s3.example.org" for all below; "*" for any), localhost and what is below it, and addresses, which nobody can point elsewhere.
 */
export function isOurHost (host: string, allowed: readonly string[]): boolean {
  const name = hostNameOf(host)
  if (name === undefined) return false
  if (isIPv4(name) || isIPv6(name) || isBelow(name, 'localhost') || name === 'localhost') return true
  return allowed.some((rule) => rule === '*' || name === rule.toLowerCase() || (rule.startsWith('*.') && isBelow(name, rule.slice(2).toLowerCase())))
}

const isBelow = (name: string, domain: string): boolean => name.endsWith(`.${domain}`)

/** The host alone, in lower case, without brackets, port and final dot; undefined: this is no host. */
export function hostNameOf (host: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host) ?? []
  return (bracketed ?? plain?.replace(/\.$/, ''))?.toLowerCase()
}
