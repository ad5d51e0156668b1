import type { IncomingHttpHeaders } from 'node:http'
import { ApiError } from './errors.ts'

/** A PUT stores a whole object, and a piece of one (as curl -C sends it) is not to be stored as that (RFC 9110 §14.5). @throws ApiError */
export function demandWholeBody ({ 'content-range': range }: IncomingHttpHeaders): void {
  if (range !== undefined) throw new ApiError(400, 'invalid', 'a body with Content-Range is a piece of an object, and a PUT stores all of it; send it whole')
}
