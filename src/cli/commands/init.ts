import { isAbsolute, join as joinPath, relative } from 'node:path'
import { utf8 } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { type Config, type ConfigField, optionNames } from '../../config.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import type { Secrets } from '../../node.ts'
import { type Output, outputOf } from '../output.ts'
import { secretsOf } from '../secrets.ts'
import { type GivenOptions, readSettings, type Settings, settingsName, settingsOf } from '../settings.ts'

/** `dfs init` */
export async function init (options: GivenOptions): Promise<void> {
  const output = outputOf(options)
  const { initCluster } = await import('../../node.ts')
  const { config, made } = await makeNode(options, output, initCluster)
  output.fact({ ...made, data: config.data }, `made cluster ${made.clusterId} with this node, ${made.peerId}, as its founder in ${config.data}\nnext: dfs start`)
}

/** `dfs join TOKEN` */
export async function join (token: string, options: GivenOptions): Promise<void> {
  const output = outputOf(options)
  demandToken(token)
  const { joinCluster } = await import('../../node.ts')
  const { config, made } = await makeNode(options, output, async (config, secrets) => joinCluster(config, secrets, token))
  if (options.start !== true) {
    output.fact({ ...made, data: config.data }, `joined cluster ${made.clusterId} as ${made.peerId}\nnext: dfs start`)
    return
  }
  const { start } = await import('./start.ts')
  await start(options)
}

/** Before a passphrase is asked for: what else is wrong with a token the join finds out. @throws InvalidInput */
function demandToken (token: string): void {
  if (!token.startsWith('dfs1-')) throw new InvalidInput('token', `"${token.slice(0, 40)}" is no token: one begins with dfs1-, and "dfs invite" prints it on a node of the cluster`)
}

async function makeNode<T> (options: GivenOptions, output: Output, make: (config: Config, secrets: Secrets) => Promise<T>): Promise<{ config: Config, made: T }> {
  const settings = await settingsOf(options)
  const { config } = settings
  // before anything is made: a file that cannot be read shall not be found out when the node is there and its settings are not
  const kept = await keptSettings(settings)
  const secrets = await secretsOf(config, { isNew: true, noPassphrase: options.passphrase === false })
  const made = await make(config, secrets)
  if (Object.keys(kept).length > 0) await nodeFiles(config.data).writeDurable(settingsName, [utf8(`${JSON.stringify(kept, null, 2)}\n`)])
  if (secrets.kind === 'key-file' && isBelow(config.data, secrets.path)) output.warn('the keyring opens without a passphrase, by a key file in the same folder: whoever has the folder has the data')
  return { config, made }
}

/** What dfs.json shall hold: what is there, and what this node is made with from wherever it was given, so that later starts need nothing said again. Paths are absolute. */
async function keptSettings ({ config, origins }: Settings): Promise<Record<string, unknown>> {
  const there = await readSettings(joinPath(config.data, settingsName), { mustExist: false })
  const fields = Object.keys(optionNames) as ConfigField[]
  const given = fields.filter((field) => field !== 'data' && origins[field] !== 'default').map((field) => [optionNames[field], config[field]] as const)
  return { ...there as object, ...Object.fromEntries(given) }
}

function isBelow (folder: string, path: string): boolean {
  const way = relative(folder, path)
  return !way.startsWith('..') && !isAbsolute(way)
}
