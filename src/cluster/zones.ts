import type { Holder } from './assignment.ts'

export interface Zones {
  /** Number of the zone of each holder. */
  readonly of: readonly number[]
  readonly sizes: readonly number[]
  readonly members: ReadonlyArray<readonly number[]>
}

/** The zones of these, numbered as they come. */
export function zonesOf (holders: readonly Holder[]): Zones {
  const names = [...new Set(holders.map(({ zone }) => zone))]
  const of = holders.map(({ zone }) => names.indexOf(zone))
  const members = names.map((_, number) => of.flatMap((zone, holder) => (zone === number ? [holder] : [])))
  return { of, sizes: members.map(({ length }) => length), members }
}
