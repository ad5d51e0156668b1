import type { ScrubFound, ScrubReport } from '../node.ts'
import { durationText, sizeText, table } from './output.ts'

/** What a node says of its scrub, in a line. */
export function scrubLine (scrub: ScrubReport | undefined): string {
  if (scrub === undefined) return 'not yet begun'
  const { last, phase } = scrub
  const before = last === undefined ? 'not everything has been read yet' : `all was read by ${last.finished}: ${foundText(last.found)}`
  return phase === 'waiting' && scrub.state !== 'paused' ? before : `${before}; ${doingText(scrub)}`
}

/** The same, at length. */
export function scrubText (scrub: ScrubReport): string {
  const { last, found, failure, phase, everyMs } = scrub
  return table([
    ['scrub', doingText(scrub)],
    ...(phase === 'waiting' ? [] : [['found', foundText(found)]]),
    ['last pass', last === undefined ? 'none yet' : `ended ${last.finished}, took ${durationText(last.tookMs / 1000)}, read ${sizeText(last.bytes)}: ${foundText(last.found)}`],
    ['every', durationText(everyMs / 1000)],
    ...(failure === undefined ? [] : [['failure', failure]]),
  ])
}

function foundText ({ pieces, rows, wrongPieces, wrongReferences, enteredFiles, lostPartitions, damagedFiles }: ScrubFound): string {
  const wrong = [[wrongPieces, 'blocks or shards set aside'], [wrongReferences, 'references set aside'], [enteredFiles, 'files that the index lacked'], [lostPartitions, 'partitions of rows lost'], [damagedFiles, 'files of indexes or journal damaged']] as const
  const told = wrong.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  return `${pieces} blocks and shards, ${rows} rows, ${told.length === 0 ? 'nothing wrong' : told.join(', ')}`
}

function doingText ({ state, phase, doneShare, doneBytes, totalBytes, etaMs }: ScrubReport): string {
  if (phase === 'waiting') return state === 'paused' ? 'paused' : phase
  const rest = state === 'paused' ? ', paused' : etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} left`
  return `${phase}: ${Math.floor(doneShare * 100)} %, ${sizeText(doneBytes)} of ${sizeText(totalBytes)}${rest}`
}
