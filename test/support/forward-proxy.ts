import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface ForwardProxy extends AsyncDisposable {
  readonly url: string
  /** What it was asked for, as "GET host:port" or "CONNECT host:port". */
  readonly asked: readonly string[]
}

/**
 * A forward proxy on loopback for which every name leads to this machine: so programs that cannot be told an address for a name use names that no resolver knows. It passes
 * on what it gets as it is, the Host above all; https goes through it unread.
 */
export async function forwardProxy (): Promise<ForwardProxy> {
  const asked: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((incoming, response) => {
    const { host, port, pathname, search } = new URL(incoming.url ?? '')
    asked.push(`${incoming.method} ${host}`)
    // neither path nor headers are made anew: they are signed
    const path = (incoming.url ?? '').slice(`http://${host}`.length) || `${pathname}${search}`
    const sent = request({ host: '127.0.0.1', port, method: incoming.method, path, headers: incoming.rawHeaders.flatMap((name, i, all) => i % 2 === 0 && name.toLowerCase() !== 'proxy-connection' ? [name, all[i + 1] ?? ''] : []) }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(response)
    })
    sent.on('continue', () => { response.writeContinue() })
    sent.on('error', () => { response.destroy() })
    incoming.pipe(sent)
  })
  // asked of the server behind, not answered by the proxy
  server.on('checkContinue', (incoming, response) => { server.emit('request', incoming, response) })
  server.on('connect', (incoming, client: Socket, head: Buffer) => {
    asked.push(`CONNECT ${incoming.url}`)
    const behind = connect({ host: '127.0.0.1', port: Number(incoming.url?.split(':').at(-1)) }, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      behind.write(head)
      behind.pipe(client)
      client.pipe(behind)
    })
    for (const [one, other] of [[client, behind], [behind, client]] as const) one.on('error', () => { other.destroy() })
  })
  server.on('connection', (socket) => { sockets.add(socket); socket.on('close', () => { sockets.delete(socket) }) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose] () {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
