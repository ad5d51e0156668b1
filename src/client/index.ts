import { homedir } from 'node:os'
import { join } from 'node:path'
import { clientOver } from './client.ts'
import { type Credentials, headerOf } from './credentials.ts'
import { provenNode } from './local.ts'
import { agentOptions, type Connection, nodeTransport, plainAgent } from './node-transport.ts'
import type { Client } from './types.ts'

export { ClientError, NoRunningNode, Unreachable } from './errors.ts'
export type { Credentials } from './credentials.ts'
export { connectLocal, type Download, type LocalClient } from './local.ts'
export { clientLimits } from './node-transport.ts'
export { objectPath } from './paths.ts'
export type * from './types.ts'

export type ConnectOptions =
  /** The node that runs over this folder on this machine; default: DFS_DATA, or ~/.dfs. */
  | { readonly data?: string, readonly url?: undefined }
  /** A node elsewhere, at its `rpc-listen`. `ca`: of the certificate's authority, in PEM, where it is none of the system's. */
  | { readonly url: string, readonly ca?: string | Uint8Array } & Credentials

/** A client of a node, by HTTP. Of a local one the node proves first that it is that. @throws NoRunningNode */
export async function connect (options: ConnectOptions = {}): Promise<Client> {
  if (options.url === undefined) return clientOver(nodeTransport((await provenNode(options.data ?? process.env.DFS_DATA ?? join(homedir(), '.dfs'))).connection))
  const { protocol, hostname, port } = new URL(options.url)
  const isSecure = protocol === 'https:'
  return clientOver(nodeTransport({
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port === '' ? isSecure ? 443 : 80 : port),
    authorization: headerOf(options),
    ...(isSecure ? await secure(options.ca) : { agent: plainAgent() }),
  }))
}

async function secure (ca: string | Uint8Array | undefined): Promise<Pick<Connection, 'agent' | 'request'>> {
  const { Agent, request } = await import('node:https')
  return { agent: new Agent({ ...agentOptions, ca: ca as string | undefined }), request }
}
