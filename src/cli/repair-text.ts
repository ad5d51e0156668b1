import type { RepairReport } from '../node.ts'
import { durationText, sizeText, table } from './output.ts'

/** What a node says of its repair, in a line. */
export function repairLine (repair: RepairReport | undefined): string {
  if (repair === undefined) return 'nothing to repair: a witness holds no blocks'
  const { found } = repair
  const redundancy = found === undefined ? 'not everything has been looked at since the start' : shortText(found)
  return `${redundancy}${repair.phase === 'waiting' && repair.state !== 'paused' ? '' : `; ${doingText(repair)}`}`
}

/** The same, at length. */
export function repairText (repair: RepairReport): string {
  const { found, total, full, failure, why } = repair
  return table([
    ['repair', doingText(repair)],
    ['why', why ?? 'it has not looked yet'],
    ['redundancy', found === undefined ? 'not everything has been looked at since the start' : shortText(found)],
    ...(found === undefined ? [] : [['misplaced', found.misplacedBlocks === 0 ? 'nothing' : `${found.misplacedBlocks} blocks, ${sizeText(found.misplacedBytes)}, to be given up once they are where they belong`]]),
    ['done', `${total.broughtBlocks} brought, ${total.fetchedBlocks} fetched, ${total.releasedBlocks} given up, ${sizeText(total.movedBytes)} moved, ${total.failures} failures since the start`],
    ...full.map((peer) => ['full', peer]),
    ...(failure === undefined ? [] : [['failure', failure]]),
  ])
}

function shortText ({ objectsAtRisk, isAtLeast, shortBlocks, goneBlocks }: NonNullable<RepairReport['found']>): string {
  if (shortBlocks === 0) return 'full'
  return `${isAtLeast ? 'at least ' : ''}${objectsAtRisk} objects at risk, ${shortBlocks} blocks short${goneBlocks === 0 ? '' : `, ${goneBlocks} of them without enough known copies to be read`}`
}

function doingText ({ state, phase, doneShare, doneBytes, totalBytes, etaMs }: RepairReport): string {
  if (phase === 'waiting') return state === 'paused' ? 'paused' : phase
  const bytes = totalBytes === 0 ? '' : `, ${sizeText(doneBytes)} of ${sizeText(totalBytes)}`
  const rest = state === 'paused' ? ', paused' : etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} left`
  return `${phase}: ${Math.floor(doneShare * 100)} %${bytes}${rest}`
}
