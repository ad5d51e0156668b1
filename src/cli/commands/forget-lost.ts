import { createInterface } from 'node:readline/promises'
import { InvalidInput } from '../../base/errors.ts'
import type { LossReport } from '../../node.ts'
import { type CommandContext, withNode } from '../context.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

/** What has to be typed where there is a terminal. */
const sentence = 'lose data'

/** `dfs cluster forget --lost PEERS`: says what it means first, and asks. @throws InvalidInput without a yes */
export async function forgetLost (options: GivenOptions): Promise<void> {
  const lost = String(options.lost).split(',').map((peer) => peer.trim()).filter((peer) => peer !== '')
  await withNode(options, async (context) => {
    const expected = await asked(context, { lost, dryRun: true })
    if (options.dryRun === true) { context.output.fact(expected, reportText(expected)); return }
    if (options.yesLoseData !== true) {
      context.output.note(reportText(expected))
      await demandYes(context)
    }
    const done = await asked(context, { lost })
    context.output.fact(done, table([['given up', done.lost.join(' ')], ['era', String(done.era)], ['epoch', String(done.epoch)], ['layout', `version ${done.layoutVersion}`]]))
    context.output.note('what survived is put together now: "dfs status" says when; repair then brings back what redundancy there can be. "dfs verify" names what is gone')
  })
}

const asked = async ({ client, signal }: CommandContext, body: { lost: readonly string[], dryRun?: boolean }): Promise<LossReport> => client.json<LossReport>('POST', '/v1/cluster/forget-lost', { body, signal })

async function demandYes ({ signal }: CommandContext): Promise<void> {
  if (!process.stdin.isTTY) throw new InvalidInput('yes-lose-data', 'there is no terminal to ask at: --dry-run says what it means, --yes-lose-data does it')
  const reader = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await reader.question(`Is every one of them gone for good? If they run somewhere, stop them first. Type "${sentence}" to go on: `, { signal })
    if (answer.trim() !== sentence) throw new InvalidInput('yes-lose-data', 'nothing has changed')
  } finally { reader.close() }
}

function reportText ({ lost, survivors, rows, blocks, forms, objects }: LossReport): string {
  const known = objects.possiblyStale === 0 ? `${objects.known} objects are known here, none of them in a partition without a majority` : `${objects.possiblyStale} of the ${objects.known} objects known here may be older than what was acknowledged, or be back though deleted`
  return table([
    ['lost', lost.join(' ')],
    ['left', survivors.join(' ')],
    ['rows', `of 4096 partitions ${rows.whole} have a majority left, of ${rows.stale} some replicas are left, and what they have is taken; ${rows.gone} are gone`],
    ['blocks', `of 4096 partitions ${blocks.whole} have all of their first three holders left, ${blocks.fewer} some, ${blocks.gone} none`],
    ...formRows(forms),
    ['objects', `${known}; others may have been known to the lost alone`],
    ...objects.examples.slice(0, 10).map((name) => ['', name]),
  ])
}

/** `forms` undefined: a node of before there were these. */
export function formRows (forms: LossReport['forms'] | undefined): ReadonlyArray<readonly string[]> {
  if (forms === undefined || forms.length === 0) return [['', 'no bucket is known here, so how many holders are enough to read their blocks is not either']]
  return forms.map(({ redundancy, readable }) => ['', `${redundancy}: in ${readable} of 4096 partitions enough holders are left to read a block${redundancy.startsWith('rs:') ? '; small objects have whole copies' : ''}`])
}
