import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Bytes that went through this process's TCP sockets, everything above TCP counted: noise, yamux, questions, gossip. Imported before the first socket is made. */
export interface SocketBytes {
  readonly received: number
  readonly sent: number
}

/** By the port they were accepted on; those that were dialled together, as port 0. */
export type SocketBytesByPort = Readonly<Record<number, SocketBytes>>

const dialled = 0
const open = new Map<Socket, number>()
const closed: Record<number, SocketBytes> = {}

const sum = (a: SocketBytes = { received: 0, sent: 0 }, b: SocketBytes): SocketBytes => ({ received: a.received + b.received, sent: a.sent + b.sent })
const bytesOf = ({ bytesRead, bytesWritten }: Socket): SocketBytes => ({ received: bytesRead, sent: bytesWritten })

function watch (socket: Socket, port: number): void {
  open.set(socket, port)
  socket.once('close', () => {
    open.delete(socket)
    closed[port] = sum(closed[port], bytesOf(socket))
  })
}

subscribe('net.client.socket', (message) => { watch((message as { socket: Socket }).socket, dialled) })
subscribe('net.server.socket', (message) => { const { socket } = message as { socket: Socket }; watch(socket, socket.localPort ?? dialled) })

export function socketBytes (): SocketBytesByPort {
  const bytes = { ...closed }
  for (const [socket, port] of open) bytes[port] = sum(bytes[port], bytesOf(socket))
  return bytes
}

/** All together but those accepted on `exceptPort`, e.g. the local API's. */
export function totalOf (bytes: SocketBytesByPort, { exceptPort }: { exceptPort?: number } = {}): SocketBytes {
  return Object.entries(bytes).filter(([port]) => Number(port) !== exceptPort).reduce((total, [, of]) => sum(total, of), { received: 0, sent: 0 })
}
