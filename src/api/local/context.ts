import type { DfsNode } from '../../node.ts'
import { bodyOf } from '../server/body.ts'
import { ApiError } from '../errors.ts'
import type { Incoming } from '../server/listener.ts'
import type { Permit } from '../rpc/permit.ts'
import type { Transfers } from './transfers.ts'

/** One request on its way through a route of the local API. */
export interface Exchange extends Incoming {
  readonly node: DfsNode
  readonly transfers: Transfers
  readonly query: URLSearchParams
  /** As of a put (`PutOptions`). */
  readonly askedBy?: string | undefined
  /** What whoever asks may do; absent: everything. It was asked about the request, and is again about what its body says, and while it lasts. */
  readonly permit?: Pick<Permit, 'demand' | 'demandStill'>
}

export function sendJson ({ response }: Pick<Incoming, 'response'>, value: unknown, { status = 200 }: { status?: number } = {}): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  // of a HEAD Node sends the headers alone
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.byteLength }).end(body)
}

/** @throws ApiError, with the methods it takes, for another */
export function requireMethod ({ request, response }: Pick<Incoming, 'request' | 'response'>, ...methods: readonly string[]): void {
  if (methods.includes(request.method ?? '')) return
  response.setHeader('allow', methods.join(', '))
  throw new ApiError(405, 'invalid', `this takes ${methods.join(', ')}`)
}

const maxJsonBytes = 64 * 1024

/** The body as a JSON object; an empty body is an empty object. @throws ApiError */
export async function jsonBody (exchange: Pick<Incoming, 'request' | 'goOn' | 'signal' | 'clock'>): Promise<Readonly<Record<string, unknown>>> {
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
