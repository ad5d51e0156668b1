import type { DescMethod } from '@bufbuild/protobuf'
import type { ConnectRouter } from '@connectrpc/connect'
import type { Clock } from '../../base/clock.ts'
import type { DfsNode } from '../../node.ts'
import type { RouteOptions } from '../local/router.ts'
import { bucketService } from './buckets.ts'
import { clusterService } from './cluster.ts'
import { BucketService } from './generated/dfs/v1/bucket_pb.ts'
import { ClusterService } from './generated/dfs/v1/cluster_pb.ts'
import { JobService } from './generated/dfs/v1/job_pb.ts'
import { KeyService } from './generated/dfs/v1/key_pb.ts'
import { NodeService } from './generated/dfs/v1/node_pb.ts'
import { ObjectService } from './generated/dfs/v1/object_pb.ts'
import { ShareService } from './generated/dfs/v1/share_pb.ts'
import { Health } from './generated/grpc/health/v1/health_pb.ts'
import { ServerReflection } from './generated/grpc/reflection/v1/reflection_pb.ts'
import { healthService } from './health.ts'
import { jobService } from './jobs.ts'
import { keyService } from './keys.ts'
import { nodeService } from './node.ts'
import { objectService } from './objects.ts'
import { reflectionService } from './reflection.ts'
import { shareService } from './shares.ts'

export interface RpcParts extends RouteOptions {
  readonly node: DfsNode
  readonly clock: Clock
}

/** The first two are of objects. */
const own = [ObjectService, BucketService, KeyService, ShareService, ClusterService, JobService, NodeService] as const

/** One implementation of proto/dfs/v1, for whatever protocol a call comes by. */
export function rpcServices (router: ConnectRouter, parts: RpcParts, { reflection, offers, maxPutMessageBytes }: { reflection: boolean, offers: 'everything' | 'objects', maxPutMessageBytes: number }): void {
  const objects = objectService(parts)
  const offered = offers === 'everything' ? own : own.slice(0, 2)
  router
    .service(ObjectService, objects)
    // in place of the one above, which takes less
    .rpc(ObjectService.method.putObject, objects.putObject, { readMaxBytes: maxPutMessageBytes })
    .service(BucketService, bucketService(parts))
    .service(Health, healthService(parts, new Set(offered.map(({ typeName }) => typeName))))
  if (reflection) router.service(ServerReflection, reflectionService([...offered, Health, ServerReflection]))
  if (offers === 'objects') return
  router
    .service(KeyService, keyService(parts))
    .service(ShareService, shareService(parts))
    .service(ClusterService, clusterService(parts))
    .service(JobService, jobService(parts))
    .service(NodeService, nodeService(parts))
}

/** What answers without a token, as /readyz does: nothing that lasts. */
export const isOpen = (method: DescMethod): boolean => method === Health.method.check
