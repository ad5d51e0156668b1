import type { Clock } from '../base/clock.ts'
import type { ChangeForecast, ChangeProgress } from '../node.ts'
import { etaMsOf, shareOf } from '../node/layout/change-share.ts'
import { durationText, type Output, sizeText } from './output.ts'
import { progressLine } from './progress.ts'

export interface FollowParts {
  readonly output: Output
  readonly clock: Clock
  readonly terminal: { isTTY?: boolean | undefined, columns?: number | undefined, write (text: string): boolean }
  /** How far it is; undefined: it could not be asked now, which may be because of what is being done. */
  readonly look: () => Promise<ChangeProgress | undefined>
  /** Does what is left to be done, if something is, and says whether that was all. */
  readonly isOver: (progress: ChangeProgress) => Promise<boolean>
  /** What is to move. */
  readonly forecast: Pick<ChangeForecast, 'movedBytes' | 'nodes'>
  readonly signal: AbortSignal
}

export const followLimits = {
  /** Between two looks. */
  everyMs: 1000,
  /** Where nobody watches a terminal, a line is written when something has changed, and not more often. */
  sayEveryMs: 5000,
} as const

const unknown = 'how far it is cannot be told now: no majority answers'

/** Shows how far a change is until it is over. @throws what asking throws, and Interrupted */
export async function followChange ({ output, clock, terminal, look, isOver, forecast, signal }: FollowParts): Promise<void> {
  const startMs = clock.monotonicMs()
  let [said, saidMs] = ['', -Infinity]
  let unknownSinceMs: number | undefined
  const isShown = terminal.isTTY === true && !output.isJson
  try {
    for (;;) {
      const progress = await look()
      if (progress !== undefined) {
        if (await isOver(progress)) return
        const nowMs = clock.monotonicMs()
        const share = shareOf(forecast, progress)
        const { doneBytes, totalBytes } = share
        const seconds = (nowMs - startMs) / 1000
        const what = progress.waitingFor[0] ?? 'nearly done'
        if (isShown) terminal.write(`\r\x1b[2K${progressLine({ label: what, doneBytes, runBytes: doneBytes, totalBytes, seconds, ...terminal.columns === undefined ? {} : { columns: terminal.columns } })}`)
        else if (nowMs - saidMs >= followLimits.sayEveryMs && what + String(doneBytes) !== said) {
          [said, saidMs] = [what + String(doneBytes), nowMs]
          // never 100 before it is over: rows are taken over too
          const percent = totalBytes === 0 ? 0 : Math.min(99, Math.floor(100 * doneBytes / totalBytes))
          const etaMs = etaMsOf(share, nowMs - startMs)
          const etaSeconds = etaMs === undefined ? undefined : Math.round(etaMs / 1000)
          const { rowPartitionsLeft, leftBytes, waitingFor } = progress
          if (output.isJson) output.fact({ progress: { doneBytes, totalBytes, percent, etaSeconds, rowPartitionsLeft, leftBytes, waitingFor } }, '')
          else output.note(totalBytes === 0 ? what : `${sizeText(doneBytes)} of ${sizeText(totalBytes)}, ${percent} %${etaSeconds === undefined ? '' : `, ${durationText(etaSeconds)} left`}: ${what}`)
        }
        unknownSinceMs = undefined
      } else {
        const nowMs = clock.monotonicMs()
        unknownSinceMs ??= nowMs
        // a moment of it is nothing but the change itself
        if (nowMs - Math.max(unknownSinceMs, saidMs) >= followLimits.sayEveryMs) {
          saidMs = nowMs
          if (isShown) terminal.write(`\r\x1b[2K${unknown}`)
          else output.warn(unknown)
        }
      }
      await clock.sleep(followLimits.everyMs, { signal })
    }
  } finally {
    if (isShown) terminal.write('\r\x1b[2K')
  }
}
