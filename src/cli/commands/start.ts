import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { Refused } from '../../base/errors.ts'
import { outputOf } from '../output.ts'
import { secretsOf } from '../secrets.ts'
import { type GivenOptions, settingsOf } from '../settings.ts'

/** `dfs start`: runs until a signal, or `dfs stop`, ends it. */
export async function start (options: GivenOptions): Promise<void> {
  const settings = await settingsOf(options)
  await demandNode(settings.config.data)
  const secrets = await secretsOf(settings.config)
  const { runDaemon } = await import('../../daemon.ts')
  const output = outputOf(options)
  await runDaemon({
    ...settings,
    secrets,
    onReady: (ready) => {
      output.fact(ready, `node ${ready.peerId} of cluster ${ready.clusterId} is up\n  peers reach it at ${ready.addresses.join(', ') || 'no address'}\n  local API ${ready.api}\n${Object.entries(ready.endpoints).map(([name, url]) => `  ${name} at ${url}\n`).join('')}  data ${ready.data}`)
    },
  })
}

/** Before a passphrase is asked for that would open nothing. @throws Refused */
export async function demandNode (data: string): Promise<void> {
  await access(join(data, 'keyring')).catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === 'ENOENT' ? new Refused(`${data} is no node's data folder yet; "dfs init" makes a cluster, "dfs join TOKEN" joins one`, { cause }) : cause
  })
}
