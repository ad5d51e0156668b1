/** The last millisecond of the year 9999: what ISO 8601 has four digits for, and protobuf takes. */
export const lastDateMs = 253_402_300_799_999

const form = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/**
 * Milliseconds since 1970 of a date that is written out by ISO 8601: 2030-01-02T03:04:05Z, or with an offset in the place of the Z; 2030-01-02 is its midnight in UTC.
 * Undefined: it is none. What Date.parse takes is no answer to "when": to it "45" is the year 2045, and "365" one of long ago.
 */
export function isoDateMs (text: string): number | undefined {
  const [, day, time] = form.exec(text) ?? []
  if (day === undefined) return undefined
  const midnightMs = Date.parse(`${day}T00:00:00Z`)
  // there is no February 30th, which is taken for March 2nd
  if (Number.isNaN(midnightMs) || new Date(midnightMs).toISOString().slice(0, 10) !== day) return undefined
  const ms = time === undefined ? midnightMs : Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
