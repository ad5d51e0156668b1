import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { untilStopped } from './calls.ts'
import { type Health, HealthCheckResponse_ServingStatus as ServingStatus } from './generated/grpc/health/v1/health_pb.ts'
import { looks } from './looks.ts'
import type { RpcParts } from './service.ts'

/** The standard health service, as /readyz: whether this node can serve a read and a write. `names`: the services that it knows, beside "" for the node. */
export function healthService ({ node, clock }: Pick<RpcParts, 'node' | 'clock'>, names: ReadonlySet<string>): ServiceImpl<typeof Health> {
  const look = async (): Promise<ServingStatus> => (await node.status()).isReady ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
  const isKnown = (service: string): boolean => service === '' || names.has(service)
  return {
    async check ({ service }) {
      if (!isKnown(service)) throw new ConnectError(`there is no service "${service}"`, Code.NotFound)
      return { status: await look() }
    },
    watch: ({ service }, context) => untilStopped(context, async function * (signal) {
      // a service that comes later would be told then: the stream does not end
      const unknown = async (): Promise<ServingStatus> => ServingStatus.SERVICE_UNKNOWN
      for await (const status of looks(0, { clock, signal, look: isKnown(service) ? look : unknown, sameness: (value) => value })) yield { status }
    }),
  }
}
