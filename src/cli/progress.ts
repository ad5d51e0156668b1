import type { Clock } from '../base/clock.ts'
import { durationText, harmlessText, sizeText } from './output.ts'

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
  /** There already before this run, so no part of its rate. */
  readonly doneBytes?: number
  readonly clock: Clock
  readonly terminal: { isTTY?: boolean, columns?: number, write (text: string): boolean }
}

const redrawMs = 100

export function progressOf ({ label, totalBytes, doneBytes = 0, clock, terminal }: ProgressOptions): Progress {
  if (terminal.isTTY !== true) return { add: () => {}, end: () => {} }
  const start = clock.monotonicMs()
  let runBytes = 0
  let drawnMs = -Infinity
  return {
    add (bytes) {
      runBytes += bytes
      const now = clock.monotonicMs()
      if (now - drawnMs < redrawMs) return
      drawnMs = now
      terminal.write(`\r\x1b[2K${progressLine({ label: harmlessText(label), doneBytes: doneBytes + runBytes, runBytes, totalBytes, seconds: (now - start) / 1000, columns: terminal.columns })}`)
    },
    end () { terminal.write('\r\x1b[2K') },
  }
}

export interface ProgressState {
  readonly label: string
  readonly doneBytes: number
  /** Of these, in this run. */
  readonly runBytes: number
  readonly totalBytes: number | undefined
  readonly seconds: number
  readonly columns?: number
}

/** Fits the columns: first the label gives way, in its middle. */
export function progressLine ({ label, doneBytes, runBytes, totalBytes, seconds, columns = 80 }: ProgressState): string {
  const rate = seconds > 0 ? runBytes / seconds : 0
  // the last column stays free: some terminals go to the next line there
  const fitting = (rest: string): string => `${shortened(label, columns - 1 - rest.length)}${rest}`.slice(0, columns - 1)
  if (totalBytes === undefined) return fitting(`  ${sizeText(doneBytes)}  ${sizeText(rate)}/s`)
  const share = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes)
  const barWidth = columns < 100 ? 10 : 24
  const filled = Math.round(share * barWidth)
  const left = rate > 0 ? `  ${durationText((totalBytes - doneBytes) / rate)} left` : ''
  return fitting(`  [${'='.repeat(filled)}${' '.repeat(barWidth - filled)}] ${Math.floor(share * 100)}%  ${sizeText(doneBytes)} of ${sizeText(totalBytes)}  ${sizeText(rate)}/s${left}`)
}

/** "photos/2026/summer/img_0001.jpg" in 18 → "photos/2…_0001.jpg". */
function shortened (label: string, room: number): string {
  if (label.length <= room) return label
  const kept = Math.max(0, room - 1)
  const head = Math.floor(kept / 2)
  return `${label.slice(0, head)}…${label.slice(label.length - (kept - head))}`
}
