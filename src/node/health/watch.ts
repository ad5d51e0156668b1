import { hexOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { Announcement } from '../../network/index.ts'
import type { AnnouncementSeen } from '../../node.ts'

export const watchLimits = { maxWaiting: 1000, resolveAttempts: 5, resolvePauseMs: 200 } as const

export interface WatchParts {
  readonly clock: Clock
  /** Calls back for every announcement until the returned function is called. */
  readonly listen: (listener: (announcement: Announcement) => void) => () => void
  /** Bucket and key of a row, if this node has the row by now. */
  readonly nameOf: (rowKey: Uint8Array) => Promise<{ bucket: string, key: string } | undefined>
}

/** Announcements from now on, with names where this node knows them. The oldest of a slow reader go first. */
export async function * watchAnnouncements ({ clock, listen, nameOf }: WatchParts, signal: AbortSignal): AsyncIterable<AnnouncementSeen> {
  const waiting: Announcement[] = []
  let wake = (): void => {}
  const stop = listen((announcement) => {
    // who watches was told when it was stored
    if (announcement.isAgain) return
    waiting.push(announcement)
    if (waiting.length > watchLimits.maxWaiting) waiting.shift()
    wake()
  })
  const onAbort = (): void => { wake() }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    while (!signal.aborted) {
      const next = waiting.shift()
      if (next === undefined) await new Promise<void>((resolve) => { wake = resolve; if (signal.aborted || waiting.length > 0) resolve() })
      else yield { at: new Date(clock.wallMs()).toISOString(), from: next.from, versionId: hexOf(next.versionId), root: next.root, object: await named(next.rowKey, { clock, nameOf }, signal) }
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    stop()
  }
}

// the announcement may be faster than the row's late delivery to this node
async function named (rowKey: Uint8Array, { clock, nameOf }: Pick<WatchParts, 'clock' | 'nameOf'>, signal: AbortSignal): Promise<AnnouncementSeen['object']> {
  for (let attempt = 1; attempt <= watchLimits.resolveAttempts && !signal.aborted; attempt++) {
    const name = await nameOf(rowKey)
    if (name !== undefined) return name
    await clock.sleep(watchLimits.resolvePauseMs, { signal }).catch(() => {}) // the only failure is the reader going, which ends the loop
  }
  return undefined
}
