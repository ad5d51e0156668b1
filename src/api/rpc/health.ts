import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { untilStopped } from './calls.ts'
import { type Health, HealthCheckResponse_ServingStatus as ServingStatus } from './generated/grpc/health/v1/health_pb.ts'
import { permitIn } from './permit.ts'
import { looks } from './looks.ts'
import type { RpcParts } from './service.ts'

export const healthLimits = { everyMs: 500 } as const

/** The standard health service, as /readyz: whether this node can serve a read and a write. `names`: the services that it knows, beside "" for the node. */
export function healthService ({ node, clock }: Pick<RpcParts, 'node' | 'clock'>, names: ReadonlySet<string>): ServiceImpl<typeof Health> {
  let last: { readonly atMs: number, readonly status: Promise<ServingStatus> } | undefined
  const ask = async (): Promise<ServingStatus> => (await node.status()).isReady ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
  // whoever asks needs no token: however many do, the node is looked at so often
  const look = (): Promise<ServingStatus> => {
    if (last === undefined || clock.monotonicMs() - last.atMs > healthLimits.everyMs) last = { atMs: clock.monotonicMs(), status: ask() }
    return last.status
  }
  const isKnown = (service: string): boolean => service === '' || names.has(service)
  return {
    async check ({ service }) {
      if (!isKnown(service)) throw new ConnectError(`there is no service "${service}"`, Code.NotFound)
      return { status: await look() }
    },
    watch: ({ service }, context) => untilStopped(context, async function * (signal) {
      // clients ask again and again then, as they are told to (the standard says so)
      if (permitIn(context).isBounded) throw new ConnectError('health is watched at the local API alone', Code.Unimplemented)
      // a service that comes later would be told then: the stream does not end
      const unknown = async (): Promise<ServingStatus> => ServingStatus.SERVICE_UNKNOWN
      for await (const status of looks(0, { clock, signal, look: isKnown(service) ? look : unknown, sameness: (value) => value })) yield { status }
    }),
  }
}
