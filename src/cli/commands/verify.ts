import { systemClock } from '../../base/clock.ts'
import { Corrupt, NotFound, Unavailable } from '../../base/errors.ts'
import type { VerifyCounts, VerifyEvent } from '../../node.ts'
import { withNode } from '../context.ts'
import { Degraded } from '../degraded.ts'
import { linesOf } from '../lines.ts'
import { sizeText } from '../output.ts'
import { type Progress, progressOf } from '../progress.ts'
import type { GivenOptions } from '../settings.ts'
import { targetOf } from '../target.ts'

/**
 * `dfs verify [BUCKET[/PREFIX]]`. @throws Corrupt, Unavailable or Degraded, with what is shown already, when something is damaged, cannot be read now, or has fewer copies than it should; the worst
 * of them. NotFound, where a prefix has nothing: it may be misspelt
 */
export async function verify (path: string | undefined, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { bucket, key } = path === undefined ? {} : targetOf(path)
    const query = new URLSearchParams({ ...(bucket === undefined ? {} : { bucket }), ...(key === undefined || key === '' ? {} : { prefix: key }), ...(options.deep === true ? { deep: 'true' } : {}) })
    const { body } = await client.download(`/v1/verify?${query.toString()}`, { signal })
    let progress: Progress | undefined
    let [done, seenBytes]: [VerifyCounts | undefined, number] = [undefined, 0]
    try {
      for await (const line of linesOf(body)) {
        const event = JSON.parse(line) as VerifyEvent
        if (event.kind === 'total') progress = progressOf({ label: `verifying ${event.objects} objects`, totalBytes: event.bytes, clock: systemClock, terminal: process.stderr })
        if (event.kind === 'progress') { progress?.add(event.bytes - seenBytes); seenBytes = event.bytes }
        if (event.kind === 'done') done = event
        if (event.kind !== 'object') continue
        progress?.end()
        output.fact(event, `${event.problem.toUpperCase().padEnd(10)}  ${event.bucket}/${event.key}  ${event.reason}`)
      }
    } finally {
      progress?.end()
    }
    if (done === undefined) throw new Unavailable('the node ended before everything was looked at')
    output.fact(done, `${done.objects} objects, ${sizeText(done.bytes)}, ${done.blocks} blocks: ${verdictOf(done)}`)
    if (done.objects === 0 && key !== undefined && key !== '') throw new NotFound(`there is nothing below ${path}: nothing was proved`)
    if (done.damaged > 0) throw new Corrupt(`${done.damaged} objects are damaged`)
    if (done.unreadable > 0) throw new Unavailable(`${done.unreadable} objects could not be read now; start the nodes that are away, and look again`)
    if (done.below > 0) throw new Degraded(`${done.below} objects have fewer copies than they should; "dfs repair status" says what is being done`)
  })
}

function verdictOf ({ objects, damaged, unreadable, below }: VerifyCounts): string {
  const told = ([[damaged, 'damaged'], [unreadable, 'not to be read now'], [below, 'with fewer copies than they should have']] as const).filter(([count]) => count > 0)
  if (told.length === 0 && objects === 0) return 'there is nothing, so nothing was proved'
  return told.length === 0 ? 'all of it right, and every copy there' : told.map(([count, what]) => `${count} ${what}`).join(', ')
}
