import { Socket } from 'node:net'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { afterThisTurn } from '../base/clock.ts'
import { DialOrder } from './dial-order.ts'
import { Listeners } from './listeners.ts'
import { sparingNoise } from './noise-crypto.ts'

export const transportLimits = {
  /** Yamux: a paused stream must hold a whole window, or it is reset. */
  windowBytes: 2 * 1024 * 1024,
  streamBufferBytes: 8 * 1024 * 1024,
  /** Messages up to here wait for the end of the turn, so that all of it goes out in one system call. */
  gatheredBytes: 16 * 1024,
  /** Of one connection, handed to the socket and not yet taken by the kernel, before senders wait. Node's own mark is one message. */
  unsentBytes: 256 * 1024,
} as const

/** TCP, noise and yamux as every node uses them; by themselves, what our protocols are measured against. `listeners` keeps those that are open, `order` how dials ended. */
export function transportOptions ({ listeners = new Listeners(), order = new DialOrder() }: { listeners?: Listeners, order?: DialOrder } = {}): { transports: unknown[], connectionEncrypters: unknown[], streamMuxers: unknown[] } {
  const { windowBytes, streamBufferBytes } = transportLimits
  const streamOptions = { maxStreamWindowSize: windowBytes, maxReadBufferLength: streamBufferBytes, maxWriteBufferLength: streamBufferBytes } as never
  return { transports: [gatheringTcp(listeners, order)], connectionEncrypters: [sparingNoise()], streamMuxers: [yamux({ streamOptions })] }
}

interface RawConnection { readonly socket?: unknown, sendData: (data: Iterable<Uint8Array> & { readonly byteLength: number }) => unknown }
type Upgrader = Record<'upgradeInbound' | 'upgradeOutbound', (connection: RawConnection, options: unknown) => unknown>

/**
 * TCP whose small messages of one turn of the event loop leave together, and large ones each at once. The library hands the socket each noise message in its
 * pieces, length, content and tag, and each is a system call (@libp2p/tcp 11.0): of a question and its answer, most of the processor time.
 */
function gatheringTcp (listeners: Listeners, order: DialOrder): unknown {
  const highWaterMark = transportLimits.unsentBytes
  const make = tcp({ dialOpts: { writableHighWaterMark: highWaterMark } as never, listenOpts: { highWaterMark } as never })
  return (components: never) => {
    const transport = make(components)
    const [dial, createListener] = [transport.dial.bind(transport), transport.createListener.bind(transport)]
    transport.dial = async (address, options) => order.dialled(address, async () => dial(address, withGathering(options)))
    transport.createListener = (options) => listeners.watched(createListener(withGathering(options)))
    return transport
  }
}

function withGathering<T extends { upgrader: unknown }> (options: T): T {
  const upgrader = options.upgrader as Upgrader
  return { ...options, upgrader: {
    upgradeInbound: (connection: RawConnection, wait: unknown) => upgrader.upgradeInbound(gathered(connection), wait),
    upgradeOutbound: (connection: RawConnection, wait: unknown) => upgrader.upgradeOutbound(gathered(connection), wait),
  } }
}

function gathered (connection: RawConnection): RawConnection {
  const { socket } = connection
  if (!(socket instanceof Socket)) return connection
  const send = connection.sendData.bind(connection)
  connection.sendData = (data) => {
    const isSmall = data.byteLength <= transportLimits.gatheredBytes
    if (socket.writableCorked === 0) {
      socket.cork()
      if (isSmall) afterThisTurn(() => { socket.uncork() })
    }
    try {
      return send(data)
    } finally {
      // with whatever waited before it
      while (!isSmall && socket.writableCorked > 0) socket.uncork()
    }
  }
  return connection
}
