import type { LocalClient } from '../client/local.ts'
import { interruptSignal } from './interrupt.ts'
import { type Output, outputOf } from './output.ts'
import { type GivenOptions, type Settings, settingsOf } from './settings.ts'

/** What a command that talks to the running node needs. */
export interface CommandContext extends Settings {
  readonly client: LocalClient
  readonly output: Output
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal
}

/** Connects, runs, closes. @throws Interrupted after Ctrl-C, whatever the command made of it */
export async function withNode (options: GivenOptions, run: (context: CommandContext) => Promise<void>): Promise<void> {
  const settings = await settingsOf(options)
  const { connectLocal } = await import('../client/local.ts')
  const client = await connectLocal(settings.config.data)
  const signal = interruptSignal()
  try {
    await run({ ...settings, client, output: outputOf(options), signal })
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    client.close()
  }
}
