import type { ChangeForecast, ChangeProgress } from '../../node.ts'

export interface ChangeShare {
  readonly doneBytes: number
  readonly totalBytes: number
}

/** Of a forecast, what its progress is measured by. */
export interface Expected {
  readonly movedBytes: number
  readonly nodes: ReadonlyArray<Pick<ChangeForecast['nodes'][number], 'peerId' | 'receiveBytes' | 'giveUpBytes' | 'heldBytes'>>
}

/** How far a change is: what has come to those who were to receive something. Pure, and all that a program that waits needs of this part. */
export function shareOf ({ movedBytes, nodes }: Expected, now: Pick<ChangeProgress, 'nodes'>): ChangeShare {
  const doneBytes = nodes.reduce((sum, { peerId, receiveBytes, giveUpBytes, heldBytes = 0 }) => {
    const { heldBytes: held, misplacedBytes = 0, hasLooked } = now.nodes.find((node) => node.peerId === peerId) ?? {}
    // what it has given up hides as much of what came; before it has looked it gives nothing up
    const givenUp = hasLooked === true ? Math.max(0, giveUpBytes - misplacedBytes) : 0
    return sum + (held === undefined ? 0 : Math.min(receiveBytes, Math.max(0, held - heldBytes + givenUp)))
  }, 0)
  return { doneBytes: Math.min(doneBytes, movedBytes), totalBytes: movedBytes }
}

/** By how long what is done took. Undefined: it is too early to say, or all is done. */
export const etaMsOf = ({ doneBytes, totalBytes }: ChangeShare, tookMs: number): number | undefined =>
  doneBytes === 0 || doneBytes >= totalBytes ? undefined : Math.round((totalBytes - doneBytes) * tookMs / doneBytes)
