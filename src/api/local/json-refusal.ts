import type { IncomingMessage } from 'node:http'
import { errorAnswerOf, errorHeaderOf, loggedReasonOf } from '../errors.ts'
import type { Refusal } from '../server/listener.ts'

/** An error as JSON; of a HEAD, which has no body, in the header x-dfs-error. */
export function jsonRefusalOf (error: unknown, { headers, method }: Pick<IncomingMessage, 'headers' | 'method'>): Refusal {
  const isConditional = ['if-match', 'if-none-match', 'if-unmodified-since'].some((name) => headers[name] !== undefined)
  const { status, body } = errorAnswerOf(error, { isConditional })
  return {
    status,
    headers: {
      'content-type': 'application/json',
      ...(status === 503 ? { 'retry-after': '1' } : {}),
      ...(method === 'HEAD' ? { 'x-dfs-error': errorHeaderOf(body) } : {}),
    },
    body: Buffer.from(`${JSON.stringify(body)}\n`),
    reason: loggedReasonOf(error),
  }
}
