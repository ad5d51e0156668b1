import type { CompareReport } from '../../node.ts'
import type { AntiEntropy } from '../../tables/anti-entropy.ts'
import type { Background } from './background.ts'
import { type Steering, steeringOf } from './steering.ts'

export const compareTask = 'anti-entropy'

/** What keeps replicas of rows equal, as users see it; the work itself is one of the tables' (rows/table-engine.ts). */
export const comparingOf = ({ antiEntropy, background }: { antiEntropy: Pick<AntiEntropy, 'status'>, background: () => Background | undefined }): Steering<CompareReport> =>
  steeringOf(compareTask, {
    background,
    refusal: () => 'the node is not ready yet',
    report: ({ state, etaMs, failure }) => ({ state, etaMs, failure, ...antiEntropy.status() }),
  })
