import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DfsNode } from '../node.ts'
import { ApiError } from './errors.ts'
import type { Transfers } from './transfers.ts'

/** One request on its way through a route. */
export interface Exchange {
  readonly node: DfsNode
  readonly transfers: Transfers
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** As it came, still percent-encoded: a URL parser would resolve ".." and change the key. */
  readonly path: string
  readonly query: URLSearchParams
  /** Aborts when the client goes away, or the node stops and this has taken too long. */
  readonly signal: AbortSignal
  /** Aborts as soon as the node stops: for what would never end by itself. */
  readonly stopping: AbortSignal
}

/** Not `isLast`: the answer is out, the connection stays until response.end(). */
export function sendJson ({ response }: Pick<Exchange, 'response'>, value: unknown, { status = 200, isLast = true }: { status?: number, isLast?: boolean } = {}): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.byteLength })
  // of a HEAD Node sends the headers alone
  if (isLast) response.end(body)
  else response.write(body)
}

/** @throws ApiError, with the methods it takes, for another */
export function requireMethod ({ request, response }: Exchange, ...methods: readonly string[]): void {
  if (methods.includes(request.method ?? '')) return
  response.setHeader('allow', methods.join(', '))
  throw new ApiError(405, 'invalid', `this takes ${methods.join(', ')}`)
}

/** The body as it comes. Whoever stops reading it half way leaves the connection open, so that a refusal can still be answered. */
export const bodyOf = ({ request }: Pick<Exchange, 'request'>): AsyncIterable<Buffer> => request.iterator({ destroyOnReturn: false })

const maxJsonBytes = 64 * 1024

/** The body as a JSON object; an empty body is an empty object. @throws ApiError */
export async function jsonBody (exchange: Exchange): Promise<Readonly<Record<string, unknown>>> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of bodyOf(exchange)) {
    length += piece.byteLength
    if (length > maxJsonBytes) throw new ApiError(413, 'invalid', `a request body of this kind has at most ${maxJsonBytes} bytes`)
    pieces.push(piece)
  }
  if (length === 0) return {}
  const value = parsed(Buffer.concat(pieces).toString('utf8'))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ApiError(400, 'invalid', 'the body must be one JSON object')
  return value as Readonly<Record<string, unknown>>
}

function parsed (text: string): unknown {
  try { return JSON.parse(text) } catch { throw new ApiError(400, 'invalid', 'the body is not JSON') }
}
