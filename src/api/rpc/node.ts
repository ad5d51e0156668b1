import type { JsonObject } from '@bufbuild/protobuf'
import type { ServiceImpl } from '@connectrpc/connect'
import type { NodeService } from './generated/dfs/v1/node_pb.ts'
import type { RpcParts } from './service.ts'

export function nodeService ({ node, describeConfig, stop }: RpcParts): ServiceImpl<typeof NodeService> {
  return {
    async getConfig () {
      // as JSON has it: without what is undefined
      const { config = {}, origins = {} } = JSON.parse(JSON.stringify(describeConfig())) as { config?: JsonObject, origins?: Record<string, string> }
      return { config, origins }
    },
    getMetrics: async () => ({ text: await node.metrics() }),
    async inspect () {
      const { routingTable, gossip } = node.inspect()
      return { routingTable: [...routingTable], gossip: [...gossip] }
    },
    emptyCache: async () => ({ freedBytes: BigInt((await node.emptyCache()).freedBytes) }),
    async stop () {
      stop()
      return {}
    },
  }
}
