import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import type { Endpoints } from './api/public-faces.ts'
import { Refused } from './base/errors.ts'
import { type Config, type ConfigField, configOf, optionNames } from './config.ts'
import { nodeFiles } from './disk/node-files.ts'
import { openDoors } from './doors.ts'
import { type DfsNode, initCluster, isNode, joinCluster, openNode, type Secrets } from './node.ts'

export interface CreateNodeOptions {
  /** Folder of everything the node keeps. An empty one, or one that is not there, becomes a node's. */
  readonly data: string
  /**
   * What opens the keyring: a passphrase, or the path of a key file, which is made when the keyring is. Default: the file `key` in the data folder, which
   * protects nothing from whoever has the folder.
   */
  readonly passphrase?: string
  readonly keyFile?: string
  /** An invite's token: an empty folder becomes a member of that cluster. Without it an empty folder founds a cluster. A folder that is a node's already needs none. */
  readonly join?: string
  /** As in `dfs.json`, by the names of docs/CLI.md in camel case: where to listen, how much to hold, the zone, where the public faces are. */
  readonly settings?: Partial<Omit<Config, 'data' | 'keyFile' | 'passphraseFile' | 'logLevel' | 'logFormat'>>
  /** Opens the doors: the local API (with api.json, so that `dfs` and `dfs/client` find the node) and the public faces that settings give a place. Default: none, and this program alone uses the node. */
  readonly doors?: boolean
  /** As of pino. Default: silent. */
  readonly logger?: Logger
  /** With doors: somebody with the token asks for a stop. Default: the node is closed. */
  readonly onStop?: () => void
}

/** A node inside this program. Disposing it ends what is under way in a bounded time and closes everything; nothing acknowledged depends on it. */
export interface EmbeddedNode extends DfsNode {
  /** Undefined: without doors. */
  readonly doors: undefined | { readonly api: string, readonly endpoints: Endpoints }
}

/**
 * Opens the node over a data folder, having made it first if the folder is no node's: one call from nothing to objects.
 * @throws Refused (the folder is in use, a wrong passphrase, what a sponsor says), Unavailable (no sponsor answers), InvalidInput (a setting, the token), what listening says
 */
export async function createNode (options: CreateNodeOptions): Promise<EmbeddedNode> {
  const { logger = pino({ level: 'silent' }) } = options
  const { config, origins } = configOf({ home: '/', options: settingsOf(options) })
  const secrets = secretsOf(options, config)
  if (!await isNode(nodeFiles(config.data))) await made(config, secrets, options.join)
  await using open = new AsyncDisposableStack()
  const node = open.use(await openNode(config, secrets, { logger }))
  const close = (): void => { void closing.disposeAsync().catch((error: unknown) => { logger.error({ err: error }, 'could not be closed') }) }
  const doors = options.doors === true ? open.use(await openDoors({ node, config, origins, logger, stop: options.onStop ?? close })) : undefined
  const closing = open.move()
  return { ...node, doors: doors === undefined ? undefined : { api: doors.api, endpoints: doors.endpoints }, [Symbol.asyncDispose]: () => closing.disposeAsync() }
}

async function made (config: Config, secrets: Secrets, token: string | undefined): Promise<void> {
  // a node that has lost the file that says so shall not become another one
  if (await stat(join(config.data, 'blocks')).then(() => true, ifAbsent)) throw new Refused(`${config.data} has the blocks of a node and not its file "cluster": put that back, or choose another folder`)
  await (token === undefined ? initCluster(config, secrets) : joinCluster(config, secrets, token))
}

function ifAbsent (error: NodeJS.ErrnoException): false {
  if (error.code !== 'ENOENT') throw error
  return false
}

function settingsOf ({ data, settings = {} }: CreateNodeOptions): Record<string, unknown> {
  // another program's port is not taken for doors that nobody asked for
  return { data, 's3-listen': 'off', ...Object.fromEntries(Object.entries(settings).map(([field, value]) => [optionNames[field as ConfigField] ?? field, value])) }
}

function secretsOf ({ passphrase, keyFile }: CreateNodeOptions, config: Config): Secrets {
  return passphrase === undefined ? { kind: 'key-file', path: keyFile ?? join(config.data, 'key') } : { kind: 'passphrase', passphrase }
}
