import type { ClusterConversion, ConvertReport } from '../node.ts'
import { durationText, sizeText, table } from './output.ts'

/** How far objects have the redundancy of their buckets, at length. */
export function convertText ({ cluster, total, failure, ...own }: ConvertReport & { readonly cluster: ClusterConversion }): string {
  const { silent, paused } = cluster
  return table([
    ['cluster', clusterText(cluster)],
    ['here', hereText(own)],
    ['done', `${total.convertedVersions} objects and versions, ${sizeText(total.convertedBytes)}, by this node since its start`],
    ...(silent.length === 0 ? [] : [['silent', `${silent.join(', ')}: what they look after is not counted`]]),
    ...(paused.length === 0 ? [] : [['paused', `on ${paused.join(', ')}: "dfs convert resume", there`]]),
    ...(failure === undefined ? [] : [['waits', failure]]),
  ])
}

/** What a node says of its share, in a line; undefined: there is nothing to say. */
export function convertLine (convert: ConvertReport | undefined): string | undefined {
  if (convert === undefined || ((convert.found?.versions ?? 0) === 0 && convert.state !== 'paused')) return undefined
  return `${hereText(convert)}${bucketsText(convert)}; this node's share, "dfs convert status" tells of all`
}

function bucketsText ({ found, buckets }: ConvertReport): string {
  if ((found?.versions ?? 0) === 0 || buckets.length === 0) return ''
  const more = buckets.length - mostNamed
  return `, in ${buckets.slice(0, mostNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
const mostNamed = 3

function clusterText ({ isDone, isAtLeast, versions, bytes, doneBytes, totalBytes, etaMs }: ClusterConversion): string {
  if (isDone) return 'everything is kept in the form that its bucket asks for'
  if (versions === 0) return 'not all members have looked since a bucket was changed'
  const share = totalBytes === 0 ? '' : `, ${Math.floor(100 * Math.min(1, doneBytes / totalBytes))} % done`
  return `${isAtLeast ? 'at least ' : ''}${versions} objects and versions, ${sizeText(bytes)}, are to be converted${share}${etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} left`}`
}

function hereText ({ state, phase, doneShare, etaMs, found }: Pick<ConvertReport, 'state' | 'phase' | 'doneShare' | 'etaMs' | 'found'>): string {
  const left = found === undefined ? '' : found.versions === 0 ? ', nothing left' : `, ${found.versions} left, ${sizeText(found.bytes)}`
  if (phase === 'waiting') return `${state === 'paused' ? 'paused' : phase}${left}`
  const rest = state === 'paused' ? ', paused' : etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} more`
  return `${phase}: ${Math.floor(doneShare * 100)} %${left}${rest}`
}
