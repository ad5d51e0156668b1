import { outputOf } from '../output.ts'
import { secretsOf } from '../secrets.ts'
import { type GivenOptions, settingsOf } from '../settings.ts'

/** `dfs start`: runs until a signal, or `dfs stop`, ends it. */
export async function start (options: GivenOptions): Promise<void> {
  const settings = await settingsOf(options)
  const secrets = await secretsOf(settings.config)
  const { runDaemon } = await import('../../daemon.ts')
  const output = outputOf(options)
  await runDaemon({
    ...settings,
    secrets,
    onReady: (ready) => {
      output.fact(ready, `node ${ready.peerId} of cluster ${ready.clusterId} is up\n  peers reach it at ${ready.addresses.join(', ') || 'no address'}\n  local API ${ready.api}\n  data ${ready.data}`)
    },
  })
}
