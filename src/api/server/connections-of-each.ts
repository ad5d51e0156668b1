import type { Socket } from 'node:net'
import { clientAddressOf } from './client-address.ts'
import { plainAddressOf, type TrustedProxies } from './trusted-proxies.ts'

/** For a server's 'connection' event: closes what one address opens beyond its part, so that it cannot take all. A proxy's part is all. */
export function connectionsOfEach (maxConnections: number, proxies: TrustedProxies): (socket: Socket) => void {
  const counts = new Map<string, number>()
  return (socket) => {
    if (proxies.has(plainAddressOf(socket.remoteAddress ?? ''))) return
    const address = clientAddressOf(socket.remoteAddress)
    const count = (counts.get(address) ?? 0) + 1
    if (count > maxConnections) { socket.destroy(); return }
    counts.set(address, count)
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1
      if (left === 0) counts.delete(address)
      else counts.set(address, left)
    })
  }
}
