import { setFlagsFromString } from 'node:v8'
import { type Logger, pino } from 'pino'
import type { Endpoints } from './api/public-faces.ts'
import { systemClock } from './base/clock.ts'
import { systemRandom } from './base/random.ts'
import type { Config, ConfigOrigins } from './config.ts'
import { openDoors } from './doors.ts'
import { openNode, type Secrets } from './node.ts'

export interface DaemonOptions {
  readonly config: Config
  readonly origins: ConfigOrigins
  readonly secrets: Secrets
  readonly onReady: (ready: Ready) => void
}

export interface Ready {
  readonly event: 'ready'
  readonly peerId: string
  readonly clusterId: string
  readonly addresses: readonly string[]
  readonly api: string
  /** URLs of the public faces that are on. */
  readonly endpoints: Endpoints
  readonly data: string
}

const gracefulStopMs = 10_000

/**
 * Bytes in flight are external memory, of which V8 lets the heap (30 MB here) grow by a fraction before it collects all of it: for every 10 MiB that pass
 * through a node it marked the whole heap, on every core, half of a transfer's time. At four times its size it waits for 64 MiB, V8's own mark.
 */
const heapGrowingPercent = 300

/**
 * A node with its local API as a process: opens both, writes api.json, runs until SIGINT, SIGTERM or POST /v1/stop, and closes in reverse order.
 * A second signal, or ten seconds, ends it at once: nothing acknowledged depends on a graceful end.
 */
export async function runDaemon (options: DaemonOptions): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`)
  const logger = loggerOf(options.config)
  const stop = Promise.withResolvers<string>()
  const open = new AsyncDisposableStack()
  try {
    options.onReady(await opened(open, options, { logger, stop: () => { stop.resolve('asked to stop') } }))
    logger.info({ reason: await Promise.race([stop.promise, signalled()]) }, 'stopping')
  } finally {
    using _limit = endingAnyway(logger)
    await open.disposeAsync()
  }
}

async function opened (open: AsyncDisposableStack, { config, origins, secrets }: DaemonOptions, { logger, stop }: { logger: Logger, stop: () => void }): Promise<Ready> {
  const node = open.use(await openNode(config, secrets, { logger, clock: systemClock, random: systemRandom }))
  const doors = open.use(await openDoors({ node, config, origins, logger, stop }))
  open.use(onHangUp(() => { void doors.reload() }))
  const { clusterId, addresses } = await node.status()
  const ready = { event: 'ready', peerId: node.peerId, clusterId, addresses, api: doors.api, endpoints: doors.endpoints, data: config.data } as const
  logger.info(ready, 'ready')
  return ready
}

function signalled (): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { resolve(signal) })
  })
}

/** While it is held, SIGHUP runs the action instead of ending the process. */
function onHangUp (action: () => void): Disposable {
  process.on('SIGHUP', action)
  return { [Symbol.dispose] () { process.off('SIGHUP', action) } }
}

/** While it is held, a second signal or the time limit ends the process at once. */
function endingAnyway (logger: Logger): Disposable {
  const end = (why: string): void => { logger.warn({ why }, 'ended at once'); process.exit(0) }
  const onSignal = (): void => { end('a second signal') }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  const cancel = systemClock.after(gracefulStopMs, () => { end(`not closed within ${gracefulStopMs} ms`) })
  return {
    [Symbol.dispose] () {
      cancel()
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    },
  }
}

function loggerOf ({ logLevel, logFormat }: Config): Logger {
  const options = { level: logLevel, base: undefined, redact: ['token', 'passphrase', '*.token', '*.passphrase'] }
  if (logFormat === 'json') return pino(options, pino.destination({ fd: 2, sync: false }))
  return pino(options, { write: (line: string) => { process.stderr.write(prettyLine(line)) } })
}

function prettyLine (line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as { time: number, level: number, msg: string }
  const name = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' }[level] ?? ''
  return `${new Date(time).toISOString()} ${name.padEnd(5)} ${msg} ${Object.keys(fields).length === 0 ? '' : JSON.stringify(fields)}\n`
}
