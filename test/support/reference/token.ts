import { base64url, cat, demand, fieldsOf, fromBase64url, same, u8 } from './bytes.ts'
import { chain, readChain } from './certificate.ts'
import { H } from './keys.ts'
import { publicKeyOf } from './signature.ts'

/** docs/FORMAT.md, "Tokens". */
export interface Token { readonly clusterId: Uint8Array, readonly authority: Uint8Array, readonly seed: Uint8Array, readonly statements: readonly Uint8Array[], readonly addresses: readonly Uint8Array[] }

export function token ({ clusterId, authority, seed, statements, addresses }: Token): string {
  const body = cat(u8(1), clusterId, authority, seed, chain(statements), u8(addresses.length), ...addresses.flatMap((address) => [u8(address.length), address]))
  return `dfs1-${base64url(cat(body, H(body).slice(0, 4)))}`
}

export function openToken (spelled: string): Token {
  const trimmed = spelled.trim()
  demand(trimmed.startsWith('dfs1-') && trimmed.length <= 8192, 'prefix')
  const bytes = fromBase64url(trimmed.slice(5))
  demand(bytes.length > 4 && same(H(bytes.slice(0, -4)).slice(0, 4), bytes.slice(-4)), 'check')
  const fields = fieldsOf(bytes.slice(0, -4))
  demand(fields.u8() === 1, 'version')
  const [clusterId, authority, seed, links] = [fields.take(16), fields.take(32), fields.take(32), readChain(fields)]
  const count = fields.u8()
  demand(count <= 16, 'addresses')
  const addresses = Array.from({ length: count }, () => fields.take(fields.u8()))
  fields.end()
  demand(/^(admin )?invite$/.test(links.map(({ statement }) => statement.body.kind).join(' ')), 'kinds')
  demand(links.every(({ statement }) => same(statement.clusterId, clusterId)), 'cluster')
  demand(same(links.at(-1)?.statement.subject ?? new Uint8Array(0), publicKeyOf(seed)), 'seed')
  return { clusterId, authority, seed, statements: links.map((link) => link.bytes), addresses }
}
