import { mkdir, writeFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { optionNames } from '../../config.ts'
import { outputOf } from '../output.ts'
import { secretsOf } from '../secrets.ts'
import { type GivenOptions, settingsOf } from '../settings.ts'

/** `dfs init` */
export async function init (options: GivenOptions): Promise<void> {
  const { config } = await settingsOf(options)
  const output = outputOf(options)
  const { initCluster } = await import('../../node.ts')
  const noPassphrase = options.passphrase === false
  const made = await initCluster(config, await secretsOf(config, { isNew: true, noPassphrase }))
  await keepSettings(config.data, options)
  if (noPassphrase) output.note(keyFileWarning)
  output.fact({ ...made, data: config.data }, `made cluster ${made.clusterId} with this node, ${made.peerId}, as its founder in ${config.data}\nnext: dfs start`)
}

/** `dfs join TOKEN` */
export async function join (token: string, options: GivenOptions): Promise<void> {
  const { config } = await settingsOf(options)
  const output = outputOf(options)
  const { joinCluster } = await import('../../node.ts')
  const noPassphrase = options.passphrase === false
  const joined = await joinCluster(config, await secretsOf(config, { isNew: true, noPassphrase }), token)
  await keepSettings(config.data, options)
  if (noPassphrase) output.note(keyFileWarning)
  if (options.start !== true) {
    output.fact({ ...joined, data: config.data }, `joined cluster ${joined.clusterId} as ${joined.peerId}\nnext: dfs start`)
    return
  }
  const { start } = await import('./start.ts')
  await start(options)
}

const keyFileWarning = 'the keyring opens without a passphrase, by a key file in the same folder: whoever has the folder has the data'

// what was asked for at init or join is what later starts shall do
async function keepSettings (data: string, options: GivenOptions): Promise<void> {
  const names = new Set<string>(Object.values(optionNames).filter((name) => name !== 'data'))
  const settings = Object.fromEntries(Object.entries(options)
    .map(([name, value]) => [name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), value] as const)
    .filter(([name]) => names.has(name)))
  if (Object.keys(settings).length === 0) return
  await mkdir(data, { recursive: true, mode: 0o700 })
  await writeFile(joinPath(data, 'dfs.json'), `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 })
}
