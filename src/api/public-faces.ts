import type { Clock } from '../base/clock.ts'
import { InvalidInput } from '../base/errors.ts'
import { portError } from '../base/port-error.ts'
import type { Random } from '../base/random.ts'
import { type Config, type ConfigOrigins, listenAddressOf } from '../config.ts'
import type { DfsNode } from '../node.ts'
import { keyGate } from './key-gate.ts'
import type { ApiLog } from './server/listener.ts'
import { openPublicListener, type PublicFace, type PublicListener } from './server/public-listener.ts'

export type FaceName = 's3' | 'http' | 'rpc'

/** URLs of the faces that are on. */
export type Endpoints = Readonly<Partial<Record<FaceName, string>>>

export interface PublicFaces extends AsyncDisposable {
  readonly endpoints: Endpoints
  /** Certificates afresh, as of SIGHUP. */
  reload (): Promise<void>
}

export interface PublicFacesOptions extends FaceParts {
  /** Where the settings come from: an address that nobody chose is given up when another program has it, so that a second node on one machine starts. */
  readonly origins: Pick<ConfigOrigins, FaceRule['listen']>
  readonly log: ApiLog
}

/** What a face is made of. */
export interface FaceParts {
  readonly node: DfsNode
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
}

interface FaceRule {
  readonly listen: 's3Listen' | 'httpListen' | 'rpcListen'
  readonly http2: boolean
  readonly face: (parts: FaceParts) => Promise<PublicFace>
}

// what is off is not loaded
const faces: Readonly<Record<FaceName, FaceRule>> = {
  s3: { listen: 's3Listen', http2: false, face: async ({ node, config, clock }) => (await import('./s3/face.ts')).s3Face({ node, clock, region: config.s3Region, hosts: config.publicHosts, allowInsecure: config.insecurePublic, digestingSpans: node.digestingSpans }) },
  http: { listen: 'httpListen', http2: false, face: async ({ node: { objects, keys, shares }, config, clock }) => (await import('./web/index.ts')).webFace({ objects, shares, clock, gate: keyGate({ keys, objects, clock }), hosts: config.publicHosts }) },
  rpc: { listen: 'rpcListen', http2: true, face: async ({ node, config, clock }) => (await import('./public-api.ts')).publicApiFace({ node, config, clock, gate: keyGate({ keys: node.keys, objects: node.objects, clock }) }) },
}

/** Opens what the configuration asks for; disposing stops all at once. @throws what openPublicListener says; nothing stays open then */
export async function openPublicFaces (options: PublicFacesOptions): Promise<PublicFaces> {
  const listeners = new Map<FaceName, PublicListener>()
  const close = async (): Promise<void> => { await Promise.all([...listeners.values()].map((listener) => listener[Symbol.asyncDispose]())) }
  try {
    for (const [name, rule] of Object.entries(faces) as ReadonlyArray<[FaceName, FaceRule]>) {
      const listener = await opened(name, rule, options)
      if (listener !== undefined) listeners.set(name, listener)
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    endpoints: Object.fromEntries([...listeners].map(([name, { url }]) => [name, url])),
    async reload () { await Promise.all([...listeners.values()].map((listener) => listener.reload())) },
    [Symbol.asyncDispose]: close,
  }
}

async function opened (name: FaceName, rule: FaceRule, { log, origins, ...parts }: PublicFacesOptions): Promise<PublicListener | undefined> {
  const { config, clock, random } = parts
  const listen = listenAddressOf(config[rule.listen])
  if (listen === undefined) return undefined
  // without the data key there are no objects to speak of
  if (name !== 'rpc' && (await parts.node.status()).role !== 'member') return undefined
  const face = await rule.face(parts)
  return openPublicListener({
    name, listen, face, clock, random, log,
    http2: rule.http2,
    tls: tlsOf(config),
    allowInsecure: config.insecurePublic,
    hosts: config.publicHosts,
    trustedProxies: config.trustedProxies,
    rates: { perAddress: rateOf(config.ratePerAddress), perKey: rateOf(config.ratePerKey) },
  }).catch((cause: unknown) => {
    // a port that is taken is the commonest fault of a first start, and of a second node on one machine
    const error = portError(`${name}-listen`, { place: config[rule.listen], otherwise: '"off"', cause })
    if (error === cause || origins[rule.listen] !== 'default') throw error
    log.error({ face: name, reason: (error as Error).message }, 'a face is left off')
    return undefined
  })
}

function tlsOf ({ tlsCert: cert, tlsKey: key }: Config): { cert: string, key: string } | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) throw new InvalidInput(cert === undefined ? 'tls-cert' : 'tls-key', 'tls-cert and tls-key go together')
  return { cert, key }
}

const rateOf = (perSecond: number): { perSecond: number, burst: number } => ({ perSecond, burst: 2 * perSecond })
