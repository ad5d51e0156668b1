import { once } from 'node:events'
import { InvalidInput } from '../../base/errors.ts'
import { type Exchange, requireMethod } from './context.ts'

/** GET /v1/verify?bucket&prefix&deep: one JSON object a line (VerifyEvent), until all is looked at, the client goes, or the node stops. */
export async function verifyRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET')
  const { node, request, response, query, signal, stopping } = exchange
  const [bucket, prefix, deep] = ['bucket', 'prefix', 'deep'].map((name) => query.get(name) ?? undefined)
  if (deep !== undefined && deep !== 'true' && deep !== 'false') throw new InvalidInput('deep', `deep is "${deep.slice(0, 80)}"; it takes true or false`)
  if (prefix !== undefined && bucket === undefined) throw new InvalidInput('prefix', 'a prefix is of keys in a bucket; say which')
  const ended = AbortSignal.any([signal, stopping])
  // whoever waits for the first line waits for a listing of everything
  request.socket.setTimeout(0)
  for await (const event of node.verify({ bucket, prefix, isDeep: deep === 'true', signal: ended })) {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    if (!response.write(`${JSON.stringify(event)}\n`)) await once(response, 'drain', { signal: ended })
  }
  response.end()
}
