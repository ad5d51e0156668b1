import type { Clock } from '../../base/clock.ts'
import { Refused } from '../../base/errors.ts'
import type { Config } from '../../config.ts'
import type { Files } from '../../disk/index.ts'
import type { DfsNode, ScrubReport } from '../../node.ts'
import type { DiskRows } from '../../tables/row-store.ts'
import { type Background, runInBackground } from './background.ts'
import type { Repairing } from './repairing.ts'
import { Scrub } from './scrub.ts'
import type { BlockStores } from '../stores.ts'
import type { UserActivity } from './user-activity.ts'

export interface ScrubbingParts {
  readonly config: Pick<Config, 'scrubEveryMs'>
  readonly files: Files
  readonly stores: BlockStores
  readonly rows: DiskRows
  readonly repairing: Pick<Repairing, 'report' | 'suspect'>
  readonly users: UserActivity
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

/** What reads everything on this node's disk again, as work behind. */
export interface Scrubbing {
  /** From now on, until what it gives is disposed. */
  begin (): Promise<AsyncDisposable>
  /** Undefined: it has not begun. */
  status (): ScrubReport | undefined
  readonly door: DfsNode['scrub']
}

const taskName = 'scrub'

export function scrubbingOf ({ config, files, stores, rows, repairing, users, clock, warn }: ScrubbingParts): Scrubbing {
  let work: { scrub: Scrub, background: Background } | undefined
  const running = (): { scrub: Scrub, background: Background } => {
    if (work === undefined) throw new Refused('the node is not ready yet')
    return work
  }
  const report = (): ScrubReport => {
    const { scrub, background } = running()
    const task = background.tasks().find(({ name }) => name === taskName)
    if (task === undefined) throw new Error('the scrub of a node is not among its tasks')
    const { last, etaMs, ...status } = scrub.status()
    return {
      ...status, state: task.state === 'idle' && status.phase !== 'waiting' ? 'busy' : task.state, failure: task.failure, etaMs: task.state === 'paused' ? undefined : etaMs ?? task.etaMs,
      last: last === undefined ? undefined : { ...last, finished: new Date(last.finishedMs).toISOString() },
    }
  }
  return {
    async begin () {
      const { blocks, holder, inventory, index, damage } = stores
      const scrub = await Scrub.open({
        files, rows, clock, warn, everyMs: config.scrubEveryMs,
        blocks: { blocks, holder, inventory, index, report: (cid) => { repairing.report(cid) } },
        onLoss: (why) => { repairing.suspect(why) },
      }, { damage: damage.length === 0 ? undefined : `the index of blocks was damaged (${damage.map(({ file, reason }) => `${file}: ${reason}`).join('; ')})` })
      const background = runInBackground([{ name: taskName, step: async (wait) => scrub.step(wait), long: { progress: () => scrub.status(), now: () => { scrub.now() } } }], { clock, warn, users })
      work = { scrub, background }
      return {
        async [Symbol.asyncDispose] () {
          await background[Symbol.asyncDispose]()
          // the next start goes on a little further back
          await scrub.save().catch((error: unknown) => { warn('how far scrub has come could not be saved', error) })
        },
      }
    },
    status: () => work === undefined ? undefined : report(),
    door: {
      status: report,
      now () { running().background.now(taskName); return report() },
      pause () { running().background.pause(taskName); return report() },
      resume () { running().background.resume(taskName); return report() },
    },
  }
}
