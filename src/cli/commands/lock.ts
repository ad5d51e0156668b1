import { systemClock } from '../../base/clock.ts'
import { InvalidInput } from '../../base/errors.ts'
import { objectPath } from '../../client/paths.ts'
import { withNode } from '../context.ts'
import { durationMsOf } from '../duration.ts'
import { type Lock, lockIn, retentionText, versionQuery } from '../lock-text.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf } from '../target.ts'

/** `dfs lock BUCKET/KEY`: retention and hold of one version, shown or set. */
export async function lock (object: string, options: GivenOptions): Promise<void> {
  const { bucket, key } = objectOf(object)
  const { retainUntil, mode, hold, bypassGovernance } = options
  const untilMs = retainUntil === undefined ? undefined : untilOf(String(retainUntil))
  if (mode !== undefined && typeof untilMs !== 'number') throw new InvalidInput('mode', 'a mode is of a retention: say until when, "--retain-until DATE"')
  await withNode(options, async ({ client, output, signal }) => {
    const shown = (versionId: unknown, { retention, isHeld }: Lock): void => {
      const fact = { bucket, key, versionId, retention: retention ?? null, isHeld: isHeld === true }
      output.fact(fact, table([['version', String(versionId)], ['retention', retentionText(retention)], ['hold', isHeld === true ? 'on' : 'off']]))
    }
    const isAsked = untilMs === undefined && hold === undefined
    // what its mode is stays so, unless another is said
    const head = isAsked || (typeof untilMs === 'number' && mode === undefined) ? await client.head(`${objectPath(bucket, key)}${versionQuery(options)}`, { signal }) : undefined
    const present = lockIn(head ?? {})
    if (isAsked) {
      if (bypassGovernance === true) throw new InvalidInput('bypass-governance', 'say what to set beside: "--retain-until DATE", or none')
      shown(head?.['x-dfs-version'], present)
      return
    }
    const retention = untilMs === undefined ? {} : { retention: untilMs === null ? null : { mode: mode ?? present.retention?.mode ?? 'governance', untilMs } }
    const body = { ...retention, ...hold === undefined ? {} : { isHeld: hold === 'on' }, ...bypassGovernance === true ? { bypassGovernance } : {} }
    const set = await client.json<Locked>('PATCH', `/v1/locks/${encodeURIComponent(bucket)}/${encodeURIComponent(key)}${versionQuery(options)}`, { body, signal })
    shown(set.versionId, { ...set.retention === null ? {} : { retention: { mode: set.retention.mode, until: new Date(set.retention.untilMs).toISOString() } }, ...set.isHeld ? { isHeld: true } : {} })
  })
}

interface Locked {
  readonly versionId: string
  readonly retention: { readonly mode: string, readonly untilMs: number } | null
  readonly isHeld: boolean
}

/** Milliseconds since 1970; null: no retention. @throws InvalidInput */
export function untilOf (text: string, nowMs = systemClock.wallMs()): number | null {
  if (text === 'none') return null
  if (/^\d+[smhd]$/.test(text) && Number.parseInt(text, 10) > 0) return nowMs + durationMsOf(text)
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.exec(text) ?? []
  // a day that its month has not would be read as one of the next
  const midnightMs = day === undefined ? Number.NaN : Date.parse(`${day}T00:00:00Z`)
  const untilMs = Number.isNaN(midnightMs) || new Date(midnightMs).toISOString().slice(0, 10) !== day ? Number.NaN : time === undefined ? midnightMs : Date.parse(text)
  if (Number.isNaN(untilMs)) throw new InvalidInput('retain-until', `retain-until is "${text}"; it takes a date such as 2030-12-31 or 2030-12-31T12:00:00Z, a time from now such as 30d, or none`)
  return untilMs
}
