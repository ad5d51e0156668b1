import { Refused } from '../../base/errors.ts'
import type { Background, TaskStatus } from './background.ts'

/** Long work as users see it: how it is, and what can be done about it. */
export interface Steering<Report> {
  /** @throws Refused before the work has begun */
  status (): Report
  /** @throws Refused while paused */
  now (): Report
  /** Until `resume`, or the next start. */
  pause (): Report
  resume (): Report
}

/** `refusal`: why there is no such work on this node. */
export function steeringOf<Report> (name: string, { background, report, refusal }: { background: () => Background | undefined, report: (task: TaskStatus) => Report, refusal: () => string }): Steering<Report> {
  const running = (): Background => {
    const found = background()
    if (found === undefined) throw new Refused(refusal())
    return found
  }
  const status = (): Report => {
    const task = running().tasks().find((one) => one.name === name)
    if (task === undefined) throw new Error(`"${name}" is not among the tasks of the node`)
    return report(task)
  }
  return {
    status,
    now () { running().now(name); return status() },
    pause () { running().pause(name); return status() },
    resume () { running().resume(name); return status() },
  }
}
