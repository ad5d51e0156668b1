import { InvalidInput } from '../../base/errors.ts'

/** Our words for the numbers of an enumeration. */
export type Names<Name extends string, Value extends number> = Readonly<Record<Name, Value>>

/** 0, which every enumeration has for "not said", is undefined. @throws InvalidInput for a number of a later version */
export function nameIn<Name extends string> (names: Names<Name, number>, value: number, field: string): Name | undefined {
  if (value === 0) return undefined
  const found = (Object.keys(names) as Name[]).find((name) => names[name] === value)
  if (found === undefined) throw new InvalidInput(field, `${field} is ${value}, which this node does not know; it takes ${Object.keys(names).join(', ')}`)
  return found
}

/** 0 for a word that this version of the interface has no number for. */
export const numberIn = <Name extends string, Value extends number>(names: Names<Name, Value>, name: string): Value | 0 =>
  (Object.hasOwn(names, name) ? names[name as Name] : 0)
