import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { loopback } from './api/local/guard.ts'
import { serveApi } from './api/local/http.ts'
import { type Endpoints, openPublicFaces, type PublicFaces } from './api/public-faces.ts'
import { shareBaseOf } from './api/share-base.ts'
import { hexOf } from './base/bytes.ts'
import { systemClock } from './base/clock.ts'
import { systemRandom } from './base/random.ts'
import type { Config, ConfigOrigins } from './config.ts'
import type { DfsNode } from './node.ts'

export interface DoorsOptions {
  readonly node: DfsNode
  readonly config: Config
  readonly origins: ConfigOrigins
  readonly logger: Logger
  /** Somebody with the token asks for a graceful stop. */
  readonly stop: () => void
}

/** What lets users in: the local API, and the public faces that were given a place. */
export interface Doors extends AsyncDisposable {
  /** Of the local API, whose token stands with its port in api.json. */
  readonly api: string
  /** URLs of the public faces that are on. */
  readonly endpoints: Endpoints
  /** Certificates afresh. */
  reload (): Promise<void>
}

/** Opens all of them and writes api.json; nothing stays open if one fails. @throws what listening says, InvalidInput for an address that would not be safe */
export async function openDoors ({ node, config, origins, logger, stop }: DoorsOptions): Promise<Doors> {
  await using open = new AsyncDisposableStack()
  let faces: PublicFaces | undefined
  const api = open.use(await serveApi({
    node,
    port: config.apiPort,
    clock: systemClock,
    random: systemRandom,
    metricsOpen: config.metricsOpen,
    reflection: config.rpcReflection,
    log: logger.child({ part: 'api' }),
    describeConfig: () => ({ config, origins }),
    shareBase: () => shareBaseOf(config, faces?.endpoints.http),
    stop,
  }))
  const apiFile = join(config.data, 'api.json')
  await writeFile(apiFile, `${JSON.stringify({ port: api.port, token: hexOf(api.token), pid: process.pid })}\n`, { mode: 0o600 })
  open.defer(async () => { await rm(apiFile, { force: true }) })
  const publicFaces = open.use(await openPublicFaces({ node, config, origins, clock: systemClock, random: systemRandom, log: logger.child({ part: 'public' }) }))
  faces = publicFaces
  // at once, for each has the same time to finish
  open.defer(async () => { await Promise.all([api, publicFaces].map((one) => one[Symbol.asyncDispose]())) })
  const closing = open.move()
  return { api: `http://${loopback}:${api.port}`, endpoints: publicFaces.endpoints, reload: () => publicFaces.reload(), [Symbol.asyncDispose]: () => closing.disposeAsync() }
}
