import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../base/clock.ts'

export const lingerLimits = {
  maxBytes: 64 * 1024 * 1024,
  maxMs: 5000,
} as const

/**
 * Reads and lets go what still comes of a refused body, until it ends, the client goes, or a bound is met. A socket that is closed over unread bytes is reset,
 * and takes an answer with it that the client has not read yet (RFC 9112 §9.6): so the connection stays until the client has stopped sending.
 */
export function lingered (request: IncomingMessage, { clock }: { clock: Clock }): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => { cancel(); resolve() }
    const cancel = clock.after(lingerLimits.maxMs, resolve)
    let readBytes = 0
    // whoever read before is done; its listener would hold the flow
    request.removeAllListeners('data').removeAllListeners('readable')
    request.on('data', (piece: Uint8Array) => { if ((readBytes += piece.byteLength) > lingerLimits.maxBytes) end() })
    request.once('end', end).once('close', end).resume()
  })
}
