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
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

export function sendJson ({ request, response }: Pick<Exchange, 'request' | 'response'>, value: unknown, { status = 200 }: { status?: number } = {}): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.byteLength })
  response.end(request.method === 'HEAD' ? undefined : body)
}

const maxJsonBytes = 64 * 1024

/** The body as a JSON object; an empty body is an empty object. @throws ApiError */
export async function jsonBody ({ request }: Exchange): Promise<Readonly<Record<string, unknown>>> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
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
