import { isClear, type Registers } from '../../tables/index.ts'
import type { TableReplica } from '../../tables/replica.ts'
import type { UserActivity } from './user-activity.ts'

/**
 * The same rounds of rows, for users' objects: what each takes is what the share of long work is measured by. Every operation makes one or two, whatever its size, and
 * in each there is all that work disturbs: this node's turn, the network, the peers, and their disks.
 */
export function countedRounds (registers: Registers, users: UserActivity): Registers {
  return {
    ...registers,
    read: async (...args) => users.timed('read', registers.read(...args)),
    change: async (...args) => users.timed('change', registers.change(...args)),
  }
}

/** The same replica, for peers: those of their questions that a user waits for show what long work here costs the users of others. */
export function countedAnswers (replica: TableReplica, users: UserActivity): TableReplica {
  return {
    async answer (from, request) {
      const { kind } = request
      if ((kind !== 'prepare' && kind !== 'accept' && kind !== 'read') || isClear(request.table)) return await replica.answer(from, request)
      return await users.timed(`answer ${kind}`, replica.answer(from, request))
    },
  }
}
