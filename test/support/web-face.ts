import { request, type IncomingHttpHeaders } from 'node:http'
import type { Gate, Wish } from '../../src/api/gate.ts'
import type { PublicListenerOptions } from '../../src/api/server/public-listener.ts'
import { webFace, type WebParts } from '../../src/api/web/index.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { type Objects, objectStore, type PutOptions, shares, type Shares } from '../../src/objects/index.ts'
import { type ObjectWorld, objectWorld } from './object-parts.ts'
import { servedPublicly, type ServedPublicly } from './public-listener.ts'

export interface ServedWeb extends ServedPublicly {
  readonly objects: { -readonly [M in keyof Objects]: Objects[M] }
  readonly world: ObjectWorld
  readonly shares: Shares
  put (target: string, content: string, options?: PutOptions): Promise<void>
  ask (path: string, options?: AskOptions): Promise<Answer>
}

export interface AskOptions { readonly method?: string, readonly headers?: Record<string, string>, readonly body?: string | Uint8Array }

export interface Answer { readonly status: number, readonly headers: IncomingHttpHeaders, readonly body: string, readonly isWhole: boolean }

/** Bucket "open" may be read by anybody, "photos" with the key reader:secret, and listed and written with writer:secret; with dropper:secret it is written alone. */
export const testGate: Gate = {
  judge: async ({ bucket, action, isOfVersions }) => bucket === 'open' && isOfVersions !== true && (action === 'read' || action === 'list') ? 'allow' : 'silent',
  prove: async ({ id, secret }) => {
    if (secret !== 'secret' || !['reader', 'writer', 'dropper'].includes(id)) return undefined
    return { id, may: ({ bucket, action }: Wish) => bucket === 'photos' && (id === 'writer' || action === (id === 'dropper' ? 'write' : 'read')), mayEnter: (bucket) => bucket === 'photos' }
  },
}

export const basic = (id: string, secret = 'secret'): { authorization: string } => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` })

/** The HTTP face over objects in memory. */
export async function servedWeb (parts: Partial<WebParts> = {}, options: Partial<PublicListenerOptions> = {}): Promise<ServedWeb> {
  const world = objectWorld()
  const objects = { ...objectStore(world.parts) }
  for (const bucket of ['open', 'photos']) await objects.createBucket(bucket)
  const links = shares({ registers: world.parts.registers, objects, clock: systemClock, random: systemRandom })
  const face = webFace({ objects, gate: testGate, shares: links, clock: systemClock, ...parts })
  const served = await servedPublicly((exchange) => face.answer(exchange), { face, ...options })
  return {
    ...served, objects, world, shares: links,
    async put (target, content, putOptions) {
      const at = target.indexOf('/')
      await objects.put({ bucket: target.slice(0, at), key: target.slice(at + 1) }, piecesOf(content), putOptions)
    },
    ask: (path, { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: served.listener.port, method, path, headers, agent: false }, (response) => {
        const pieces: Buffer[] = []
        const end = (isWhole: boolean) => () => { resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces).toString(), isWhole }) }
        response.on('data', (piece: Buffer) => { pieces.push(piece) }).on('end', end(true)).on('error', end(false))
      })
      asked.on('error', reject)
      asked.end(body)
    }),
  }
}

async function * piecesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }
