import type { Clock } from '../base/clock.ts'
import { durationText, sizeText } from './output.ts'

/** A progress line with rate and time left, on a terminal only. */
export interface Progress {
  add (bytes: number): void
  /** Clears the line. */
  end (): void
}

export interface ProgressOptions {
  readonly label: string
  /** Undefined: not known beforehand (standard input). */
  readonly totalBytes: number | undefined
  readonly clock: Clock
  readonly terminal: { isTTY?: boolean, columns?: number, write (text: string): boolean }
}

const redrawMs = 100
const barWidth = 24

export function progressOf ({ label, totalBytes, clock, terminal }: ProgressOptions): Progress {
  if (terminal.isTTY !== true) return { add: () => {}, end: () => {} }
  const start = clock.monotonicMs()
  let doneBytes = 0
  let drawnMs = -Infinity
  return {
    add (bytes) {
      doneBytes += bytes
      const now = clock.monotonicMs()
      if (now - drawnMs < redrawMs) return
      drawnMs = now
      terminal.write(`\r\x1b[2K${progressLine({ label, doneBytes, totalBytes, seconds: (now - start) / 1000 }).slice(0, (terminal.columns ?? 80) - 1)}`)
    },
    end () { terminal.write('\r\x1b[2K') },
  }
}

export function progressLine ({ label, doneBytes, totalBytes, seconds }: { label: string, doneBytes: number, totalBytes: number | undefined, seconds: number }): string {
  const rate = seconds > 0 ? doneBytes / seconds : 0
  if (totalBytes === undefined) return `${label}  ${sizeText(doneBytes)}  ${sizeText(rate)}/s`
  const share = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes)
  const filled = Math.round(share * barWidth)
  const left = rate > 0 ? `  ${durationText((totalBytes - doneBytes) / rate)} left` : ''
  return `${label}  [${'='.repeat(filled)}${' '.repeat(barWidth - filled)}] ${Math.floor(share * 100)}%  ${sizeText(doneBytes)} of ${sizeText(totalBytes)}  ${sizeText(rate)}/s${left}`
}
