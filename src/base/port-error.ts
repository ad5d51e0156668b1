import { InvalidInput } from './errors.ts'

export interface ClosedPort {
  readonly place: string
  /** What the setting takes beside another port. */
  readonly otherwise: string
  readonly cause: unknown
  /** Of the system; by default the cause's. */
  readonly code?: string | undefined
}

/** Why nothing can listen at a place, for whoever set it, with what to set instead; any other failure as it is. */
export function portError (setting: string, { place, otherwise, cause, code = (cause as NodeJS.ErrnoException).code }: ClosedPort): unknown {
  const told = (why: string): InvalidInput => new InvalidInput(setting, why, { cause })
  switch (code) {
    case 'EADDRINUSE': return told(`${place} is in use by another program (another node?): give --${setting} another port, or ${otherwise}`)
    case 'EADDRNOTAVAIL': return told(`${place} is no address of this machine: give --${setting} another`)
    case 'EACCES': return told(`this user may not listen at ${place}: give --${setting} another port, of 1024 and above`)
    default: return cause
  }
}
