import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type { Stream, StreamHandler } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { Uint8ArrayList } from 'uint8arraylist'
import { ByteWriter, concat } from '../../src/base/bytes.ts'
import { deadline, systemClock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { Admission } from '../../src/network/admission.ts'
import type { Requests } from '../../src/network/index.ts'
import { LibRequests } from '../../src/network/requests.ts'
import { transportOptions } from '../../src/network/transport.ts'
import { type Greeting, helloProtocol, type Introduction } from '../../src/protocols/hello.ts'

/** A real libp2p peer whose streams the test holds in its hands: it may say anything, and hears everything. */
export interface RawPeer extends AsyncDisposable {
  readonly peerId: PeerId
  /** The honest way to ask. */
  readonly requests: Requests
  handle (protocol: string, handler: StreamHandler): Promise<void>
  connect (addresses: readonly string[]): Promise<PeerId>
  /** On a connection that is there. */
  open (peer: PeerId, protocol: string): Promise<Stream>
  /** What comes first after these bytes; nothing, if the stream is refused or ends. Rejects if the peer does neither. */
  firstAnswer (peer: PeerId, protocol: string, bytes: Uint8Array): Promise<Uint8Array>
  /** Introduces itself, and believes whatever the other shows. @throws RequestRefused */
  greet (peer: PeerId, as: Pick<Introduction, 'certificate' | 'era'> & Partial<Introduction>): Promise<Greeting>
}

const answerTimeoutMs = 30_000

export async function rawPeer (seed: Uint8Array): Promise<RawPeer> {
  const node = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', seed), ...transportOptions(), connectionMonitor: { enabled: false },
    services: { identify: identify(), ping: ping() },
  } as never)
  const requests = new LibRequests({ node, admission: new Admission(), clock: systemClock, warn: () => {} })
  let introduction: Introduction | undefined
  const hello = helloProtocol({
    self: () => introduction as Introduction, verify: async () => ({ isValid: true }), greeted: () => {},
  })
  await hello.register(requests)
  const peer: RawPeer = {
    peerId: node.peerId.toString() as PeerId,
    requests,
    async handle (protocol, handler) { await node.handle(protocol, handler, { maxInboundStreams: 64 }) },
    async connect (addresses) {
      const { remotePeer } = await node.dial(addresses.map((address) => multiaddr(address)), { signal: AbortSignal.timeout(answerTimeoutMs) })
      return remotePeer.toString() as PeerId
    },
    async open (to, protocol) {
      const connection = node.getConnections(peerIdFromString(to)).find(({ status }) => status === 'open')
      if (connection === undefined) throw new Error(`${to} is not connected`)
      return connection.newStream(protocol, { signal: AbortSignal.timeout(answerTimeoutMs), maxOutboundStreams: 64 })
    },
    async firstAnswer (to, protocol, bytes) {
      using limit = deadline(systemClock, answerTimeoutMs, { what: `an answer of ${protocol}` })
      let stream: Stream
      try {
        stream = await peer.open(to, protocol)
      } catch (error) {
        limit.signal.throwIfAborted()
        if ((error as Error).message.includes('is not connected')) throw error
        return new Uint8Array(0)
      }
      return await answerOn(stream, bytes, limit.signal)
    },
    async greet (to, { certificate, era, ...more }) {
      introduction = { ...introductionOf({ certificate, era }), ...more }
      return hello.greet(to)
    },
    async [Symbol.asyncDispose] () { await node.stop() },
  }
  return peer
}

/** What a member says of itself that has stored nothing. */
export const introductionOf = ({ certificate, era }: Pick<Introduction, 'certificate' | 'era'>): Introduction =>
  ({ certificate, era, versions: [1], capabilities: [], freeBytes: 1e9, layoutVersion: 0n, addresses: [], store: { id: new Uint8Array(16), position: 0n }, yours: undefined })

async function answerOn (stream: Stream, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const received = new Uint8ArrayList()
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => { reject(signal.reason as Error) })
    stream.addEventListener('message', ({ data }) => { received.append(data); resolve() })
    stream.addEventListener('close', () => { resolve() })
    stream.addEventListener('end' as 'close', () => { resolve() })
    // a stream that was reset takes nothing any more
    try { stream.send(bytes) } catch { resolve() }
  })
  stream.abort(new Error('that was all'))
  return received.subarray()
}

/** Frames of "Streams and requests" in docs/PROTOCOLS.md; `length` as the frame claims it. */
export const frame = (id: number, kind: 'request' | 'answer' | 'refusal', body: Uint8Array, length = body.byteLength + 5): Uint8Array =>
  concat([new ByteWriter().u32(length).u32(id).u8({ request: 1, answer: 2, refusal: 3 }[kind]).finish(), body])
