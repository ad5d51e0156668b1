import { DfsError, type ErrorCode } from '../base/errors.ts'
import { ClientError, NoRunningNode } from '../client/errors.ts'

/** What a script can tell from the exit code (docs/CLI.md). */
export const exitCodes = { ok: 0, unexpected: 1, invalid: 2, 'not-found': 3, conflict: 4, unavailable: 5, unknown: 6, full: 7, refused: 8, corrupt: 9, noRunningNode: 10 } as const

export function exitCodeOf (error: unknown): number {
  if (error instanceof NoRunningNode) return exitCodes.noRunningNode
  if (error instanceof DfsError) return exitCodes[error.code]
  if (error instanceof ClientError && error.code in exitCodes) return exitCodes[error.code as ErrorCode]
  return exitCodes.unexpected
}
