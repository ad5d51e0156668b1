import type { AnnounceReport, CompareReport, RepairReport, WorkReport } from '../node.ts'
import { hasLooked } from '../node/health/looked.ts'
import { durationText, sizeText, table } from './output.ts'

/** What a node says of its repair, in a line. `layoutVersion`: of the layout that stands. */
export function repairLine (repair: RepairReport | undefined, layoutVersion?: string): string {
  if (repair === undefined) return 'nothing to repair: a witness holds no blocks'
  return `${redundancyText(repair, layoutVersion)}${repair.phase === 'waiting' && repair.state !== 'paused' ? '' : `; ${doingText(repair)}`}`
}

/** The same, at length; and of the other work that brings back what is missing. */
export function repairText (repair: RepairReport, { compare, announce, layoutVersion }: { compare?: CompareReport | undefined, announce?: AnnounceReport | undefined, layoutVersion?: string | undefined } = {}): string {
  const { found, total, full, failure, why } = repair
  return table([
    ['repair', doingText(repair)],
    ['why', why ?? 'it has not looked yet'],
    ['redundancy', redundancyText(repair, layoutVersion)],
    ...(found === undefined ? [] : [['misplaced', found.misplacedBlocks === 0 ? 'nothing' : `${found.misplacedBlocks} blocks, ${sizeText(found.misplacedBytes)}, to be given up once they are where they belong`]]),
    ['done', `${total.broughtBlocks} brought, ${total.fetchedBlocks} fetched, ${total.releasedBlocks} given up, ${sizeText(total.movedBytes)} moved, ${total.failures} failures since the start`],
    ...full.map((peer) => ['full', peer]),
    ...(failure === undefined ? [] : [['failure', failure]]),
    ...(compare === undefined ? [] : [['rows', compareText(compare)]]),
    ...(announce === undefined ? [] : [['announced', announceText(announce)]]),
  ])
}

function compareText (compare: CompareReport): string {
  const { donePartitions, totalPartitions, total: { comparisons, handedOverRows, handedOverBytes, failures } } = compare
  const work = compare.phase === 'waiting' ? '' : `, ${donePartitions} of ${totalPartitions} partitions`
  return `${stateText(compare, work)}; ${comparisons} replicas compared with, ${failures} of them failed, ${handedOverRows} rows handed over, ${sizeText(handedOverBytes)}, since the start`
}

const announceText = (announce: AnnounceReport): string =>
  `${stateText(announce)}; ${announce.total.announcedObjects} objects told again, ${announce.total.providedRoots} roots provided again, ${announce.total.failures} failures since the start`

function redundancyText (repair: RepairReport, layoutVersion: string | undefined): string {
  const { found } = repair
  if (found === undefined) return 'not everything has been looked at since the start'
  const isOld = layoutVersion !== undefined && !hasLooked({ repair, layout: { version: layoutVersion } })
  // what is short is told all the same
  if (isOld) return `${found.shortBlocks === 0 && found.narrowBlocks === 0 ? '' : `${shortText(found)}; `}not everything has been looked at since the layout changed`
  return shortText(found)
}

function shortText ({ objectsAtRisk, isAtLeast, shortBlocks, goneBlocks, narrowBlocks }: NonNullable<RepairReport['found']>): string {
  if (shortBlocks === 0 && narrowBlocks === 0) return 'full'
  return [
    `${isAtLeast ? 'at least ' : ''}${objectsAtRisk} objects at risk`,
    ...shortBlocks === 0 ? [] : [`${shortBlocks} blocks short${goneBlocks === 0 ? '' : `, ${goneBlocks} of them without enough known copies to be read`}`],
    ...narrowBlocks === 0 ? [] : [`${narrowBlocks} blocks that ask for more nodes than there are`],
  ].join(', ')
}

const doingText = (repair: RepairReport): string => stateText(repair, repair.totalBytes === 0 ? '' : `, ${sizeText(repair.doneBytes)} of ${sizeText(repair.totalBytes)}`)

function stateText ({ state, phase, doneShare, etaMs }: WorkReport, work = ''): string {
  if (phase === 'waiting') return state === 'paused' ? 'paused' : phase
  const rest = state === 'paused' ? ', paused' : etaMs === undefined ? '' : `, about ${durationText(etaMs / 1000)} left`
  return `${phase}: ${Math.floor(doneShare * 100)} %${work}${rest}`
}
