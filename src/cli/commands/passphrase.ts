import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { utf8 } from '../../base/bytes.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import type { Secrets } from '../../node.ts'
import { outputOf } from '../output.ts'
import { keyFileIn, newSecretsOf, secretsOf } from '../secrets.ts'
import { type GivenOptions, readSettings, settingsName, settingsOf } from '../settings.ts'
import { demandNode } from './start.ts'

/** `dfs passphrase`: the keyring first, then what names the old secret, so that one that is cut off can be repeated. */
export async function passphrase (options: GivenOptions): Promise<void> {
  const { config } = await settingsOf(options)
  await demandNode(config.data)
  const from = await secretsOf(config)
  const to = await newSecretsOf(config.data, options)
  const { changeSecrets } = await import('../../node.ts')
  await changeSecrets(config, { from, to })
  await keepSettings(config.data, to, options)
  if (to.kind !== 'key-file' || to.path !== keyFileIn(config.data)) await rm(keyFileIn(config.data), { force: true })
  const what = to.kind === 'key-file' ? `the key file ${to.path}` : 'the new passphrase'
  outputOf(options).fact({ data: config.data, opensWith: to.kind === 'key-file' ? to.path : 'passphrase' }, `${what} opens the keyring in ${config.data} now`)
}

/** dfs.json names the secret that opens the keyring now, where a file holds it, and no other. */
async function keepSettings (data: string, to: Secrets, { newPassphraseFile }: GivenOptions): Promise<void> {
  const { 'key-file': _key, 'passphrase-file': _passphrase, ...others } = (await readSettings(join(data, settingsName), { mustExist: false }) ?? {}) as Record<string, unknown>
  const named = to.kind === 'key-file' ? { 'key-file': to.path } : newPassphraseFile === undefined ? {} : { 'passphrase-file': resolve(String(newPassphraseFile)) }
  await nodeFiles(data).writeDurable(settingsName, [utf8(`${JSON.stringify({ ...others, ...named }, null, 2)}\n`)])
}
