import { describeMember } from '../../src/cluster/index.ts'
import type { EraChangeParts } from '../../src/node/membership/era-change.ts'
import type { Eras } from '../../src/node/membership/eras.ts'
import type { Latecomers } from '../../src/node/membership/latecomers.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { objectWith } from './layout-variants.ts'
import type { WorldVariant } from './world.ts'

/** Rules of eras, each taken out: `era-histories.ts` finds them. */
export const eraVariants: Readonly<Record<string, () => WorldVariant>> = {
  'an era is not on disk before it rules': () => ({ forgetsLayout: true }),
  'nobody looks at the row of eras': () => ({ eras: (eras) => objectWith<Eras>(eras, { step: async () => 'idle' }) }),
  'a node is put out where the rest has no majority': () => ({ eraParts: (parts) => ({ ...parts, voters: votersBy({ version: () => parts.voters.version, groupsOf: () => [] }) }) }),
  'who has lost rows is part of a majority of those who remain': () => ({ eraParts: (parts) => ({ ...parts, memoryOf: async () => () => true }) }),
  'who joins while an era begins is not looked for': () => ({
    eraParts: (parts) => {
      let seen: ReturnType<EraChangeParts['memberRows']> | undefined
      return { ...parts, memberRows: async (wait) => seen ??= parts.memberRows(wait) }
    },
  }),
  'who joined while an era began is looked for once': () => ({
    eraParts: (parts) => ({ ...parts, latecomers: objectWith<Latecomers>(parts.latecomers, { look: async (...[look, wait]: Parameters<Latecomers['look']>) => look(wait).catch(() => {}) }) }),
  }),
  'late delivery is taken from whoever brings it': () => ({
    // as if a member had brought it
    served: (replica, state) => ({ answer: async (from, request) => replica.answer(request.kind === 'handOver' && !state.isMember(from) ? describeMember(state).peerId : from, request) }),
  }),
  'an era follows whichever stands': () => ({ succession: () => {} }),
}
