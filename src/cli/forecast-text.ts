import type { ChangeForecast } from '../node.ts'
import { sizeText, table } from './output.ts'

/** What a change would move, for people. */
export function forecastText ({ isPossible, nodes, movedBytes, countedPartitions, silent, refusals, areBucketsKnown, layout }: ChangeForecast): string {
  const touched = nodes.filter(({ change, receiveBytes, giveUpBytes, rowPartitions, blockPartitions }) => change !== 'stays' || receiveBytes + giveUpBytes > 0 || [rowPartitions, blockPartitions].some(({ receive, giveUp }) => receive + giveUp > 0))
  const rows = touched.map((node) => [
    node.peerId ?? 'the new node', node.change === 'stays' ? '' : node.change, `zone ${node.zone}, ${sizeText(node.capacityBytes)}`,
    `receives ${sizeText(node.receiveBytes)}`, `gives up ${sizeText(node.giveUpBytes)}`,
    `partitions: blocks +${node.blockPartitions.receive} -${node.blockPartitions.giveUp}, rows +${node.rowPartitions.receive} -${node.rowPartitions.giveUp}`,
  ])
  return [
    rows.length === 0 ? 'nothing moves' : `${sizeText(movedBytes)} of blocks would be brought to other nodes`,
    ...rows.length === 0 ? [] : [table(rows)],
    basisText(countedPartitions),
    ...silent.length === 0 ? [] : [`not told by ${silent.join(', ')}: what they have is taken to be what others have in their places`],
    ...areBucketsKnown ? [] : ['the buckets could not be listed: what they ask of the nodes is not looked at'],
    ...layout.state === 'changing' ? ['the layout changes now: this would take the place of what is under way'] : [],
    ...refusals.map((reason) => `${isPossible ? 'done all the same' : 'not possible'}: ${reason}`),
  ].join('\n')
}

function basisText (countedPartitions: number): string {
  if (countedPartitions === 0) return 'no node has told what it holds: the bytes are not known'
  return countedPartitions === 4096 ? 'bytes as the nodes hold them now' : `bytes counted in ${countedPartitions} of 4096 partitions, and taken from those for the rest`
}
