import { CommanderError } from 'commander'
import { DfsError } from '../base/errors.ts'
import { ClientError, NoRunningNode, Unreachable } from '../client/errors.ts'
import { Degraded } from './degraded.ts'
import { Interrupted } from './interrupt.ts'

/** What a script can tell from the exit code, by the name that errors have under --json (docs/CLI.md). */
export const exitCodes = {
  ok: 0, unexpected: 1, invalid: 2, 'not-found': 3, conflict: 4, unavailable: 5, unknown: 6, full: 7, refused: 8, corrupt: 9, 'no-node': 10, degraded: 11,
  // 128 and SIGINT's number, as shells have it
  interrupted: 130,
} as const

export type ErrorName = Exclude<keyof typeof exitCodes, 'ok'>

export function errorNameOf (error: unknown): ErrorName {
  if (error instanceof CommanderError) return 'invalid'
  if (error instanceof NoRunningNode) return 'no-node'
  if (error instanceof Unreachable) return 'unavailable'
  if (error instanceof Interrupted) return 'interrupted'
  if (error instanceof Degraded) return 'degraded'
  if (error instanceof DfsError) return error.code
  if (error instanceof ClientError && error.code in exitCodes) return error.code as ErrorName
  return 'unexpected'
}
