import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { NodeStatus } from '../node.ts'

/** Counters that the node raises as it goes; gauges are read from the status when they are asked for. */
export interface NodeMetrics {
  count (event: 'shortBlocks' | 'wrongBlocks' | 'lostPartitions' | 'announced' | 'heard'): void
  /** Prometheus text. */
  text (status: NodeStatus): Promise<string>
}

export function nodeMetrics (): NodeMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'dfs_' })
  const counter = (name: string, help: string): Counter => new Counter({ name, help, registers: [registry] })
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers: [registry] })
  const counters = {
    shortBlocks: counter('dfs_blocks_short_total', 'Blocks stored with fewer copies than their redundancy asks'),
    wrongBlocks: counter('dfs_blocks_wrong_total', 'Blocks found corrupt here and set aside'),
    lostPartitions: counter('dfs_row_partitions_lost_total', 'Losses of row memory that were noticed'),
    announced: counter('dfs_announced_total', 'Objects announced by this node'),
    heard: counter('dfs_announcements_heard_total', 'Announcements heard from peers'),
  }
  const gauges: ReadonlyArray<readonly [Gauge, (status: NodeStatus) => number]> = [
    [gauge('dfs_blocks', 'Blocks held'), ({ blocks }) => blocks.count],
    [gauge('dfs_block_bytes', 'Bytes of blocks held'), ({ blocks }) => blocks.bytes],
    [gauge('dfs_free_bytes', 'Bytes free on the disk'), ({ blocks }) => blocks.freeBytes],
    [gauge('dfs_blocks_read_only', '1 if the block store takes no writes'), ({ blocks }) => Number(blocks.isReadOnly)],
    [gauge('dfs_cache_bytes', 'Bytes of fetched blocks cached'), ({ cache }) => cache.bytes],
    [gauge('dfs_members', 'Members of the cluster'), ({ members }) => members.length],
    [gauge('dfs_members_connected', 'Members connected now, this node too'), ({ members }) => members.filter(({ isConnected }) => isConnected).length],
    [gauge('dfs_lost_partitions', 'Partitions of rows that do not vote'), ({ rows }) => rows.lostPartitions],
    [gauge('dfs_health_problems', 'Lines under health in dfs status'), ({ health }) => health.length],
  ]
  return {
    count: (event) => { counters[event].inc() },
    async text (status) {
      for (const [target, read] of gauges) target.set(read(status))
      return registry.metrics()
    },
  }
}
