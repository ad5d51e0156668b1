import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { NodeStatus, ScrubFound } from '../../node.ts'

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
    [gauge('dfs_objects_at_risk', 'Versions of objects with a block here that has fewer copies than it should, as last looked at'), ({ repair }) => repair?.found?.objectsAtRisk ?? 0],
    [gauge('dfs_cluster_objects_at_risk', 'Versions of objects in the cluster of which a block has fewer copies than it should, each once, as its nodes tell'), ({ atRisk }) => atRisk.objects],
    [gauge('dfs_cluster_risk_silent', 'Nodes that hold blocks and have not told what is at risk'), ({ atRisk }) => atRisk.silent.length],
    [gauge('dfs_degraded', '1 if redundancy, of blocks or of rows, is below what it should be'), ({ isDegraded }) => Number(isDegraded)],
    [gauge('dfs_blocks_short', 'Blocks that have fewer copies than they should'), ({ repair }) => repair?.found?.shortBlocks ?? 0],
    [gauge('dfs_blocks_gone', 'Of those, blocks of which too few copies or shards are known to be left to read them'), ({ repair }) => repair?.found?.goneBlocks ?? 0],
    [gauge('dfs_blocks_narrow', 'Blocks of which the redundancy asks for more nodes than there are that hold blocks'), ({ repair }) => repair?.found?.narrowBlocks ?? 0],
    [gauge('dfs_blocks_misplaced', 'Blocks here that belong elsewhere'), ({ repair }) => repair?.found?.misplacedBlocks ?? 0],
    [gauge('dfs_repair_surveyed', '1 if everything has been looked at since the start: before, what is at risk, short, gone, narrow or misplaced here is not known'), ({ repair }) => Number(repair?.found !== undefined)],
    [gauge('dfs_repair_paused', '1 if repair is paused'), ({ repair }) => Number(repair?.state === 'paused')],
    [gauge('dfs_repair_done_share', '0 to 1, of looking at everything or of mending what was found'), ({ repair }) => repair?.doneShare ?? 1],
    [gauge('dfs_repair_blocks_brought', 'Copies and shards brought to others since the start'), ({ repair }) => repair?.total.broughtBlocks ?? 0],
    [gauge('dfs_repair_blocks_fetched', 'Copies and shards fetched since the start'), ({ repair }) => repair?.total.fetchedBlocks ?? 0],
    [gauge('dfs_repair_blocks_released', 'Copies and shards given up since the start'), ({ repair }) => repair?.total.releasedBlocks ?? 0],
    [gauge('dfs_repair_moved_bytes', 'Bytes brought and fetched since the start'), ({ repair }) => repair?.total.movedBytes ?? 0],
    [gauge('dfs_repair_failures', 'Blocks that could not be repaired when it was tried, since the start'), ({ repair }) => repair?.total.failures ?? 0],
    [gauge('dfs_collect_blocks_collected', 'Blocks that nobody needed, taken away since the start'), ({ collect }) => collect?.total.collectedBlocks ?? 0],
    [gauge('dfs_collect_collected_bytes', 'Their bytes'), ({ collect }) => collect?.total.collectedBytes ?? 0],
    [gauge('dfs_collect_blocks_condemned', 'Blocks that nobody needs, and that wait for the grace'), ({ collect }) => collect?.found?.condemnedBlocks ?? 0],
    [gauge('dfs_collect_condemned_bytes', 'Their bytes'), ({ collect }) => collect?.found?.condemnedBytes ?? 0],
    [gauge('dfs_collect_unreferenced_bytes', 'Bytes of blocks recorded for no version, which stay'), ({ collect }) => collect?.found?.unreferencedBytes ?? 0],
    [gauge('dfs_collect_blocks_held_up', 'Blocks that stay because too few of those that may need them answer'), ({ collect }) => collect?.found?.heldUpBlocks ?? 0],
    [gauge('dfs_collect_deaths_published', 'Deaths of versions published since the start'), ({ collect }) => collect?.total.publishedDeaths ?? 0],
    [gauge('dfs_collect_uploads_abandoned', 'Uploads that stood still and were given up, since the start'), ({ collect }) => collect?.total.abandonedUploads ?? 0],
    [gauge('dfs_collect_paused', '1 if collection is paused'), ({ collect }) => Number(collect?.state === 'paused')],
    [gauge('dfs_convert_left_bytes', 'Bytes of versions that this node looks after and that have not the redundancy of their bucket yet'), ({ convert }) => convert?.found?.bytes ?? 0],
    [gauge('dfs_convert_left_versions', 'How many versions those are'), ({ convert }) => convert?.found?.versions ?? 0],
    [gauge('dfs_convert_converted_bytes', 'Bytes of versions converted since the start'), ({ convert }) => convert?.total.convertedBytes ?? 0],
    [gauge('dfs_convert_failures', 'Versions that could not be converted when it was tried, since the start'), ({ convert }) => convert?.total.failures ?? 0],
    [gauge('dfs_convert_paused', '1 if conversion is paused'), ({ convert }) => Number(convert?.state === 'paused')],
    [gauge('dfs_compare_done_share', '0 to 1, of comparing rows with their other replicas'), ({ compare }) => compare?.doneShare ?? 1],
    [gauge('dfs_compare_rows_handed_over', 'Rows that other replicas lacked and were handed, since the start'), ({ compare }) => compare?.total.handedOverRows ?? 0],
    [gauge('dfs_compare_failures', 'Replicas that could not be compared with when it was tried, since the start'), ({ compare }) => compare?.total.failures ?? 0],
    [gauge('dfs_compare_paused', '1 if rows are not compared'), ({ compare }) => Number(compare?.state === 'paused')],
    [gauge('dfs_announce_objects', 'Objects announced again since the start'), ({ announce }) => announce?.total.announcedObjects ?? 0],
    [gauge('dfs_announce_roots', 'Roots provided again since the start'), ({ announce }) => announce?.total.providedRoots ?? 0],
    [gauge('dfs_scrub_done_share', '0 to 1, of reading everything on the disk again'), ({ scrub }) => scrub?.doneShare ?? 0],
    [gauge('dfs_scrub_last_finished_seconds', 'When everything on the disk had last been read, by this node\'s clock; 0: not yet'), ({ scrub }) => (scrub?.last?.finishedMs ?? 0) / 1000],
    [gauge('dfs_scrub_wrong', 'Blocks, shards, references, partitions of rows and files that the pass under way, or the last one, found not to be what was written'), ({ scrub }) => wrongIn(scrub?.found)],
    [gauge('dfs_scrub_paused', '1 if scrub is paused'), ({ scrub }) => Number(scrub?.state === 'paused')],
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

const wrongIn = (found: ScrubFound | undefined): number => found === undefined ? 0 : found.wrongPieces + found.wrongReferences + found.enteredFiles + found.lostPartitions + found.damagedFiles
