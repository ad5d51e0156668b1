import { type Client, type ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport, Http2SessionManager } from '@connectrpc/connect-node'
import type { DescService } from '@bufbuild/protobuf'
import type { LocalApi } from '../../src/api/local/http.ts'
import { hexOf } from '../../src/base/bytes.ts'

export const protocols = ['gRPC', 'gRPC-Web', 'Connect', 'Connect over HTTP/2'] as const
export type Protocol = typeof protocols[number]

export interface RpcClient extends Disposable {
  of<S extends DescService> (service: S): Client<S>
}

/** A client that speaks `protocol` to the API. Without its token if `token` is false. */
export function rpcClient ({ port, token }: Pick<LocalApi, 'port' | 'token'>, protocol: Protocol, { token: hasToken = true, headers = {} }: { token?: boolean, headers?: Record<string, string> } = {}): RpcClient {
  const baseUrl = `http://127.0.0.1:${port}`
  const sessions = new Http2SessionManager(baseUrl)
  const sending: Interceptor = (next) => (request) => {
    if (hasToken) request.header.set('authorization', `Bearer ${hexOf(token)}`)
    for (const [name, value] of Object.entries(headers)) request.header.set(name, value)
    return next(request)
  }
  const common = { baseUrl, interceptors: [sending] }
  const transports: Readonly<Record<Protocol, () => Transport>> = {
    gRPC: () => createGrpcTransport({ ...common, sessionManager: sessions }),
    'gRPC-Web': () => createGrpcWebTransport({ ...common, httpVersion: '1.1' }),
    Connect: () => createConnectTransport({ ...common, httpVersion: '1.1' }),
    'Connect over HTTP/2': () => createConnectTransport({ ...common, httpVersion: '2', sessionManager: sessions }),
  }
  const transport = transports[protocol]()
  return {
    of: (service) => createClient(service, transport),
    [Symbol.dispose]: () => { sessions.abort() },
  }
}

/** What a call that must fail failed with. */
export async function failureOf (call: Promise<unknown>): Promise<ConnectError> {
  return call.then(() => { throw new Error('it did not fail') }, (error: unknown) => error as ConnectError)
}

/** All that comes, in order. */
export async function collected<T> (source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of source) all.push(one)
  return all
}
