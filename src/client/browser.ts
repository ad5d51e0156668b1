import { clientOver } from './client.ts'
import { type Credentials, headerOf } from './credentials.ts'
import { fetchTransport } from './fetch-transport.ts'
import type { Client } from './types.ts'

export { ClientError, Unreachable } from './errors.ts'
export type { Credentials } from './credentials.ts'
export type * from './types.ts'

/** A client of the node whose `rpc-listen` is at `url`, let in with an access key; the page's origin must be among that node's `rpc-origins`. Nothing is asked yet. */
export async function connect ({ url, ...credentials }: { readonly url: string } & Credentials): Promise<Client> {
  return clientOver(fetchTransport({ url, authorization: headerOf(credentials) }))
}
