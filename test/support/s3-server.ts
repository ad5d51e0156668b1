import { openPublicListener, type PublicListenerOptions } from '../../src/api/server/public-listener.ts'
import { s3Face, type S3FaceParts } from '../../src/api/s3/face.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { type AccessKeys, accessKeys, type AccessRight, type Objects, objectStore, type SecretAccessKey } from '../../src/objects/index.ts'
import { type ObjectWorld, objectWorld } from './object-parts.ts'

/** The S3 face over objects in memory, with one key that may do everything and the bucket "photos". */
export interface S3Server extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly world: ObjectWorld
  readonly objects: Objects
  readonly keys: AccessKeys
  readonly key: SecretAccessKey
  readonly logged: string[]
  keyWith (rights: readonly AccessRight[], notAfterMs?: number): Promise<SecretAccessKey>
}

export const allRights: readonly AccessRight[] = [{ bucket: '*', prefix: '', actions: ['read', 'write', 'list', 'admin'] }]

/** `objects`: those of another world, with its buckets. `isNear`: as if whoever asks were on this machine, or were not. */
export async function s3Server ({ face = {}, listener = {}, objects: given, isNear }: { face?: Partial<S3FaceParts>, listener?: Partial<PublicListenerOptions>, objects?: Objects, isNear?: boolean } = {}): Promise<S3Server> {
  const world = objectWorld()
  const objects = given ?? objectStore(world.parts)
  const keys = accessKeys(world.parts)
  const logged: string[] = []
  const log = (fields: object, message: string): void => { logged.push(JSON.stringify({ ...fields, message }, (_, value: unknown) => value instanceof Error ? value.stack : value)) }
  const made = s3Face({ node: { objects, keys }, clock: systemClock, region: undefined, hosts: [], allowInsecure: false, ...face })
  const served = await openPublicListener({
    name: 's3', listen: { host: '127.0.0.1', port: 0 }, clock: systemClock, random: systemRandom, log: { info: log, error: log },
    face: { ...made, answer: async (exchange) => made.answer(isNear === undefined ? exchange : { ...exchange, isNear }) }, ...listener,
  })
  if (given === undefined) await objects.createBucket('photos')
  const keyWith: S3Server['keyWith'] = async (rights, notAfterMs) => keys.create({ name: 'test', rights, notAfterMs })
  return {
    url: served.url, port: served.port, world, objects, keys, key: await keyWith(allRights), logged, keyWith,
    async [Symbol.asyncDispose] () { await served[Symbol.asyncDispose]() },
  }
}
