import { Budget } from '../base/budget.ts'
import type { ReadRoom } from '../file/index.ts'

/**
 * The memory of all gets together, from whatever face: of the chunks that are opened for their readers. Without a bound on all of them there is none but the number of
 * connections, times the streams of each. Half of it is for readers that take whole chunks, and may keep theirs as long as they stand still; with the other half the rest take
 * turns. So a reader that is slow is never sent away, as a put is: its chunk can be had again, and what a client has sent cannot.
 */
export function getRoom (bytes: number): ReadRoom {
  const room = new Budget(bytes)
  return {
    claim: async (amount, wait) => room.claim(amount, wait),
    get isTight () { return room.used > bytes / 2 },
  }
}
