import { InvalidInput } from '../base/errors.ts'

/** @throws InvalidInput unless it is a number above 0 with s, m, h or d: a token that is dead from the start invites nobody */
export function durationMsOf (text: string): number {
  const match = /^(\d+)(s|m|h|d)$/.exec(text)
  if (match === null || Number(match[1]) === 0) throw new InvalidInput('expires', `expires is "${text}"; it takes a duration such as 30m, 24h or 7d`)
  return Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 's' | 'm' | 'h' | 'd']
}
