import { base64url, cat, demand, fieldsOf, fromBase64url, same, u8 } from './bytes.ts'
import { H } from './keys.ts'

/** docs/FORMAT.md, "Read capability". */
export interface Capability { readonly clusterId: Uint8Array, readonly digest: Uint8Array, readonly ph: Uint8Array }

export function capability ({ clusterId, digest, ph }: Capability): string {
  const body = cat(u8(1), clusterId, digest, ph)
  return `dfs:r1:${base64url(cat(body, H(body).slice(0, 4)))}`
}

export function openCapability (spelled: string): Capability {
  demand(spelled.startsWith('dfs:r1:'), 'prefix')
  const bytes = fromBase64url(spelled.slice(7))
  const fields = fieldsOf(bytes)
  demand(fields.u8() === 1, 'version')
  const found = { clusterId: fields.take(16), digest: fields.take(32), ph: fields.take(32) }
  demand(same(fields.take(4), H(bytes.slice(0, 81)).slice(0, 4)), 'check')
  fields.end()
  return found
}
