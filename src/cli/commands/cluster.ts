import { Unavailable } from '../../base/errors.ts'
import type { AnnouncementSeen, NodeStatus, PeerStatus } from '../../node.ts'
import { Degraded } from '../degraded.ts'
import { hasLooked } from '../../node/health/looked.ts'
import { withNode } from '../context.ts'
import { linesOf } from '../lines.ts'
import { durationText, sizeText, table } from '../output.ts'
import { collectLine } from '../collect-text.ts'
import { convertLine } from '../convert-text.ts'
import { repairLine } from '../repair-text.ts'
import { scrubLine } from '../scrub-text.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs status`. @throws Unavailable, with what is shown already, when the cluster cannot serve now; Degraded when redundancy is below what it should be */
export async function status (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<NodeStatus>('GET', '/v1/status', { signal })
    output.fact(found, statusText(found))
    if (!found.isReady) throw new Unavailable('reads and writes do not succeed now; health says why')
    if (found.isDegraded) throw new Degraded('redundancy is below what it should be; health says why')
  })
}

function statusText (status: NodeStatus): string {
  const { blocks, layout, cache } = status
  const convert = convertLine(status.convert)
  const quota = blocks.quotaBytes === undefined ? `${sizeText(blocks.freeBytes)} free` : `of ${sizeText(blocks.quotaBytes)}`
  return table([
    ['node', `${status.peerId} (${status.role}, zone ${status.zone}, dfs ${status.version}, up ${durationText(status.uptimeMs / 1000)})`],
    ['cluster', status.clusterId],
    ['addresses', status.addresses.join(' ') || 'none'],
    ['layout', layoutLine(layout)],
    ...status.members.map((member) => ['', `${member.peerId}  ${member.role}  zone ${member.zone}${member.capacityBytes !== undefined ? `, ${sizeText(member.capacityBytes)}` : ', not in the layout'}  ${member.peerId === status.peerId ? 'this node' : member.isConnected ? 'connected' : 'not connected'}`]),
    ...status.change === undefined ? [] : [['change', changeLine(status.change)]],
    ['blocks', `${blocks.count}, ${sizeText(blocks.bytes)} ${quota}${blocks.corrupt > 0 ? `, ${blocks.corrupt} set aside as corrupt` : ''}`],
    ['repair', repairLine(status.repair, layout.version)],
    ['collect', collectLine(status.collect)],
    ['scrub', scrubLine(status.scrub)],
    ...convert === undefined ? [] : [['convert', convert]],
    ['at risk', riskLine(status.atRisk)],
    ['cache', `${sizeText(cache.bytes)} of ${sizeText(cache.limitBytes)}`],
    ['health', status.health.length > 0 ? status.health.join('; ') : hasLooked(status) ? 'good' : 'good as far as is known: not everything has been looked at yet'],
  ])
}

function changeLine ({ isDone, leftBytes, rowPartitionsLeft, waitingFor, mayBeSwitchedOff }: NonNullable<NodeStatus['change']>): string {
  const left = [...leftBytes > 0 ? [`${sizeText(leftBytes)} to be brought where they belong`] : [], ...rowPartitionsLeft > 0 ? [`${rowPartitionsLeft} partitions of rows to be taken over`] : []]
  const off = mayBeSwitchedOff.map((peer) => `${peer} may be switched off`)
  return [...isDone ? ['everything lies where it belongs'] : left.length > 0 ? left : waitingFor.slice(0, 3), ...off].join('; ') || 'nearly done'
}

function riskLine ({ objects, isAtLeast, silent }: NodeStatus['atRisk']): string {
  const number = objects === 0 ? `no object${isAtLeast ? ' as far as is known' : ''}` : `${isAtLeast ? 'at least ' : ''}${objects} objects, of the whole cluster`
  return `${number}${silent.length === 0 ? '' : `; ${silent.length} nodes that hold blocks have not told`}`
}

function layoutLine ({ state, version, members }: NodeStatus['layout']): string {
  switch (state) {
    case 'settled': return `version ${version}, ${members} members`
    case 'changing': return `version ${version}, ${members} members, changing: others are to hold and decide, and take over now`
    case 'open': case 'closing': return `${state}: the first bucket settles who holds what`
    default: return state satisfies never
  }
}

/** `dfs peers` */
export async function peers (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { peers: known } = await client.json<{ peers: PeerStatus[] }>('GET', '/v1/peers', { signal })
    if (output.isJson) for (const peer of known) output.fact(peer, '')
    else if (known.length === 0) output.note('no peers yet; "dfs invite" makes a token for another node')
    else output.fact({}, table(known.map((peer) => [peer.peerId, peer.isConnected ? 'connected' : 'not connected', peer.latencyMs === undefined ? '' : `${peer.latencyMs.toFixed(1)} ms`, peer.freeBytes === undefined ? '' : `${sizeText(peer.freeBytes)} free`, peer.addresses.join(' ')])))
  })
}

/** `dfs watch`: until Ctrl-C. @throws Unavailable when the node stops before */
export async function watch (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { body } = await client.download('/v1/watch', { signal })
    try {
      for await (const line of linesOf(body)) {
        const seen = JSON.parse(line) as AnnouncementSeen | { watching: true }
        if ('watching' in seen) output.fact(seen, 'watching; Ctrl-C ends it')
        else output.fact(seen, `${seen.at}  ${seen.object === undefined ? '(gone)' : `${seen.object.bucket}/${seen.object.key}`}  from ${seen.from}${seen.root === undefined ? '' : `  ${seen.root}`}`)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
    if (!signal.aborted) throw new Unavailable('the node has stopped; what is announced from now on is not shown')
  })
}
