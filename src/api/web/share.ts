import type { Clock } from '../../base/clock.ts'
import { Conflict, NotFound } from '../../base/errors.ts'
import { KeyedQueue } from '../../base/keyed-queue.ts'
import { endOf, type FoundShare, type Objects, type ShareLink, type Shares } from '../../objects/index.ts'
import { bodyOf } from '../server/body.ts'
import { requireMethod, sendJson } from '../local/context.ts'
import { ApiError, TooMany } from '../errors.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { RateLimit } from '../server/rate-limit.ts'
import { sendObject } from './send-object.ts'
import { sharePage, sharePageHeaders } from './share-page.ts'

export interface ShareDoorParts {
  readonly objects: Objects
  readonly shares: Shares
  readonly clock: Clock
}

export const shareDoorLimits = {
  maxFormBytes: 4096,
  /** Wrong passwords of one share, at this node: so many at once, and then one in so many seconds. */
  passwordBurst: 10,
  passwordSeconds: 30,
} as const

/** No bucket has a name as short. */
export const isSharePath = (path: string): boolean => path.startsWith('/s/')

/**
 * GET /s/ID is a page that reads the secret from the link's fragment; with the secret in x-dfs-share it is the object. POST /s/ID is the same from a form, GET
 * /s/ID/about what the page shows. A share that is not there and a wrong secret are told alike.
 */
export function shareDoor (parts: ShareDoorParts): (exchange: PublicExchange) => Promise<void> {
  const passwords = new PasswordGuard(parts.clock)
  return async (exchange) => {
    const { request, response, path } = exchange
    const [, , id = '', action, ...rest] = path.split('/')
    // nothing that is no id: it may be a secret in the wrong place
    if (/^[\w-]{16}$/.test(id)) exchange.note({ share: id })
    if (rest.length > 0 || (action !== undefined && action !== 'about')) throw nothing()
    requireMethod(exchange, 'GET', 'HEAD', ...(action === undefined ? ['POST'] : []))
    response.setHeader('x-robots-tag', 'noindex')
    const given = request.method === 'POST' ? await givenInForm(exchange) : givenInHeaders(exchange)
    if (given === undefined && action === undefined) { sendPage(exchange); return }
    if (given === undefined) throw nothing()
    await (action === 'about' ? sendAbout : sendShared)({ ...parts, passwords }, exchange, { id, ...given })
  }
}

interface Given { readonly secret: string, readonly password: string }

interface Door extends ShareDoorParts { readonly passwords: PasswordGuard }

function givenInHeaders ({ request: { headers } }: PublicExchange): Given | undefined {
  const { 'x-dfs-share': secret, 'x-dfs-share-password': password = '' } = headers
  return typeof secret === 'string' ? { secret, password: decodedHeader(String(password)) } : undefined
}

/** Header bytes are latin1 to Node; what was sent is UTF-8. */
const decodedHeader = (value: string): string => Buffer.from(value, 'latin1').toString('utf8')

async function givenInForm (exchange: PublicExchange): Promise<Given> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of bodyOf(exchange)) {
    length += piece.byteLength
    if (length > shareDoorLimits.maxFormBytes) throw new ApiError(413, 'invalid', 'this form is too long')
    pieces.push(piece)
  }
  const form = new URLSearchParams(Buffer.concat(pieces).toString('utf8'))
  return { secret: form.get('secret') ?? '', password: form.get('password') ?? '' }
}

function sendPage ({ request, response }: PublicExchange): void {
  if (!(request.headers.accept ?? '').includes('text/html')) throw new ApiError(401, 'refused', 'the secret of a share, which follows the # of its link, is needed in the header x-dfs-share')
  response.writeHead(200, { ...sharePageHeaders, 'content-length': sharePage.byteLength }).end(sharePage)
}

async function sendAbout ({ objects, ...door }: Door, exchange: PublicExchange, link: ShareLink): Promise<void> {
  const { share: { bucket, key, isOnce, hasPassword, notAfterMs } } = await found({ objects, ...door }, exchange, link)
  const { sizeBytes } = await objects.head({ bucket, key }, { signal: exchange.signal }).catch(gone)
  exchange.response.setHeader('cache-control', 'no-store')
  sendJson(exchange, { name: key.split('/').findLast((part) => part !== '') ?? key, sizeBytes, isOnce, hasPassword, notAfterMs })
}

async function sendShared (door: Door, exchange: PublicExchange, link: ShareLink & { password: string }): Promise<void> {
  const { share, isPassword } = await found(door, exchange, link)
  if (share.hasPassword && !await door.passwords.holds(share.id, async () => isPassword(link.password))) {
    exchange.countFailure(share.id)
    throw new ApiError(403, 'refused', 'the password of this share is another')
  }
  const onBegun = share.isOnce ? async (): Promise<void> => door.shares.use(share.id, { signal: exchange.signal }).catch(usedUp) : undefined
  await sendObject(exchange, door.objects, share, { isPublic: false, asFile: true, isWhole: share.isOnce, onBegun }).catch(gone)
}

/** @throws ApiError, unless the link is right and still opens the object that it was made for */
async function found ({ shares, objects, clock }: Door, exchange: PublicExchange, link: ShareLink): Promise<FoundShare> {
  exchange.demandTrust(link.id, { isForAll: true })
  const { signal } = exchange
  const one = await shares.find(link, { signal })
  if (one === undefined) {
    exchange.countFailure(link.id)
    throw nothing()
  }
  const end = endOf(one.share, clock.wallMs())
  if (end !== undefined) throw new ApiError(410, 'gone', end === 'used' ? used : 'this share has expired')
  const { id } = await objects.bucket(one.share.bucket, { signal }).catch(gone)
  if (id !== one.share.bucketId) throw new ApiError(410, 'gone', removed)
  return one
}

const removed = 'what was shared is there no more'
const used = 'this share was for one download, which has begun'
const nothing = (): ApiError => new ApiError(404, 'not-found', 'there is no such share, or the link is not whole')

/** To somebody who has the link, without names of what there is. */
function gone (error: unknown): never {
  if (error instanceof NotFound) throw new ApiError(410, 'gone', removed)
  throw error
}

function usedUp (error: unknown): never {
  if (error instanceof Conflict) throw new ApiError(410, 'gone', used)
  return gone(error)
}

/** Passwords of one share are tried one after the other, and wrong ones are counted: each costs 19 MiB and some hundredths of a second. */
class PasswordGuard {
  readonly #queue = new KeyedQueue()
  readonly #wrong: RateLimit

  constructor (clock: Clock) {
    this.#wrong = new RateLimit({ clock, perSecond: 1 / shareDoorLimits.passwordSeconds, burst: shareDoorLimits.passwordBurst })
  }

  /** @throws TooMany */
  async holds (share: string, isRight: () => Promise<boolean>): Promise<boolean> {
    return this.#queue.run(share, async () => {
      const waitMs = this.#wrong.wait(share)
      if (waitMs > 0) throw new TooMany(waitMs, 'too many wrong passwords were given for this share')
      if (await isRight()) return true
      this.#wrong.take(share)
      return false
    })
  }
}
