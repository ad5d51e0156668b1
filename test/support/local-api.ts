import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type LocalApi, type LocalApiOptions, serveApi } from '../../src/api/local/http.ts'
import { hexOf } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { connectLocal, type LocalClient } from '../../src/client/index.ts'
import type { DfsNode } from '../../src/node.ts'
import { type Objects, objectStore } from '../../src/objects/index.ts'
import { type ObjectWorld, objectWorld } from './object-parts.ts'
import { type TemporaryFolder, temporaryFolder } from './temporary.ts'

export interface ServedApi extends AsyncDisposable {
  readonly api: LocalApi
  readonly client: LocalClient
  readonly world: ObjectWorld
  /** The API with its node's objects; methods may be replaced. */
  readonly objects: { -readonly [M in keyof Objects]: Objects[M] }
  readonly logged: string[]
}

/** The local API over objects in memory, with the bucket "photos" in it, and a client of it. */
export async function servedApi (node: Partial<DfsNode> = {}, options: Partial<LocalApiOptions> = {}): Promise<ServedApi> {
  const world = objectWorld()
  const objects = { ...objectStore(world.parts) }
  const logged: string[] = []
  const log = (fields: object, message: string): void => { logged.push(JSON.stringify({ ...fields, message })) }
  const api = await serveApi({
    node: {
      peerId: '12D3KooWTest', objects, metrics: async () => 'dfs_test 1\n', status: async () => ({ isReady: true, health: [] }), peers: () => [],
      invite: async () => ['token'], emptyCache: async () => ({ freedBytes: 0 }), inspect: () => ({}), ...node,
    } as unknown as DfsNode,
    port: 0, clock: systemClock, random: systemRandom, metricsOpen: false, reflection: false, log: { info: log, error: log }, describeConfig: () => ({}), shareBase: () => 'https://files.example.org', stop: () => {}, ...options,
  })
  await objects.createBucket('photos')
  const { client, folder } = await clientOf(api)
  return {
    api, client, world, objects, logged,
    async [Symbol.asyncDispose] () {
      client.close()
      await api[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** A client of whatever listens at the port and proves that it knows the token. */
export async function clientOf ({ port, token }: Pick<LocalApi, 'port' | 'token'>): Promise<{ client: LocalClient, folder: TemporaryFolder }> {
  const folder = await temporaryFolder()
  await writeFile(join(folder.path, 'api.json'), JSON.stringify({ port, token: hexOf(token) }))
  return { client: await connectLocal(folder.path), folder }
}

/** The system's, in which what takes seconds takes hundredths. */
export const hurriedClock: Clock = { ...systemClock, after: (durationMs, action) => systemClock.after(durationMs / 50, action) }
