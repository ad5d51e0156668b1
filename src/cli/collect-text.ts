import type { CollectReport } from '../node.ts'
import { durationText, sizeText, table } from './output.ts'

/** What a node says of its collection, in a line. */
export function collectLine (collect: CollectReport | undefined): string {
  if (collect === undefined) return 'nothing to collect: a witness holds no blocks'
  const { found, state } = collect
  const waiting = found === undefined ? 'not everything has been looked at since the start' : found.condemnedBlocks === 0 ? 'nothing waits to be taken away' : condemnedText(collect)
  return state === 'paused' ? `${waiting}; paused` : waiting
}

/** The same, at length. */
export function collectText (collect: CollectReport): string {
  const { found, total, failure, publishing, collectAfterMs } = collect
  return table([
    ['collect', doingText(collect)],
    ['condemned', found === undefined ? 'not everything has been looked at since the start' : condemnedText(collect)],
    ...(found === undefined || found.heldUpBlocks === 0 ? [] : [['held up', `${found.heldUpBlocks} blocks, until more of those that may need them answer`]]),
    ...(found === undefined || found.unreferencedBlocks === 0 ? [] : [['unreferenced', `${found.unreferencedBlocks} blocks, ${sizeText(found.unreferencedBytes)}: recorded for no version, so they stay`]]),
    ['after', durationText(collectAfterMs / 1000)],
    ['done', `${total.collectedBlocks} blocks taken away, ${sizeText(total.collectedBytes)}, ${total.sparedBlocks} needed again since the start`],
    ...(publishing === undefined ? [] : [['deaths', `${total.publishedDeaths} published, ${total.abandonedUploads} uploads given up since the start${publishing.failure === undefined ? '' : `; ${publishing.failure}`}`]]),
    ...(failure === undefined ? [] : [['failure', failure]]),
  ])
}

function condemnedText ({ found, collectAfterMs }: CollectReport): string {
  const { condemnedBlocks = 0, condemnedBytes = 0 } = found ?? {}
  return condemnedBlocks === 0 ? 'nothing' : `${condemnedBlocks} blocks, ${sizeText(condemnedBytes)}, which nobody needs, go ${durationText(collectAfterMs / 1000)} after that was found`
}

function doingText ({ state, phase, doneShare, doneBytes, totalBytes, etaMs }: CollectReport): string {
  if (phase === 'waiting') return state === 'paused' ? 'paused' : phase
  const rest = state === 'paused' ? ', paused' : etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} left`
  const bytes = phase === 'walking' ? `, ${sizeText(totalBytes)} found that nobody needs` : `, ${sizeText(doneBytes)} of ${sizeText(totalBytes)}`
  return `${phase}: ${Math.floor(doneShare * 100)} %${bytes}${rest}`
}
