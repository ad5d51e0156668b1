import { DfsError, type ErrorCode } from '../base/errors.ts'
import { ClientError } from '../client/errors.ts'
import type { Output } from './output.ts'

/**
 * Does `work` for every item of a tree. One that fails by a fault of its own (its name, its permissions, its bytes) is named, and the others go on;
 * what would befall the others too (no majority, a full disk, Ctrl-C) ends it. Gives how many there were. @throws SomeFailed
 */
export async function each<T> (items: AsyncIterable<T>, work: (item: T) => Promise<void>, { output, what }: { output: Output, what: string }): Promise<number> {
  const faults: ErrorCode[] = []
  let count = 0
  for await (const item of items) {
    count++
    try {
      await work(item)
    } catch (error) {
      const fault = ownFaultOf(error)
      if (fault === undefined) throw error
      faults.push(fault)
      output.warn((error as Error).message)
    }
  }
  if (faults[0] !== undefined) throw new SomeFailed(`${faults.length} of ${count} ${what}`, faults[0])
  return count
}

/** The others are done. Has the code of the first fault. */
class SomeFailed extends DfsError {
  override name = 'SomeFailed'
  readonly code: ErrorCode
  constructor (message: string, code: ErrorCode) { super(message); this.code = code }
}

const ownFaults: readonly ErrorCode[] = ['invalid', 'not-found', 'conflict', 'refused', 'corrupt']

function ownFaultOf (error: unknown): ErrorCode | undefined {
  return error instanceof DfsError || error instanceof ClientError ? ownFaults.find((code) => code === error.code) : undefined
}
