import type { IncomingHttpHeaders } from 'node:http'
import type { CorsRule } from '../objects/index.ts'

export interface CorsQuestion {
  readonly origin: string
  /** As of the rules: GET, HEAD, PUT, POST or DELETE. */
  readonly method: string
  /** Names, in lower case, that a page wants to send. */
  readonly headers: readonly string[]
}

/** What a request asks: a preflight (OPTIONS) names what is to come, everything else is it. */
export function corsQuestionOf (method: string | undefined, headers: IncomingHttpHeaders, origin: string): CorsQuestion {
  const wanted = headers['access-control-request-method']
  if (method !== 'OPTIONS' || wanted === undefined) return { origin, method: method ?? '', headers: [] }
  return { origin, method: wanted, headers: (headers['access-control-request-headers'] ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '') }
}

/** The first rule of a bucket that lets a page of that origin ask this; undefined: none does. `always` are headers that need no rule. */
export function corsRuleFor (rules: readonly CorsRule[], { origin, method, headers }: CorsQuestion, always: ReadonlySet<string> = new Set()): CorsRule | undefined {
  return rules.find((rule) => rule.allowedOrigins.some((pattern) => isMatch(pattern, origin))
    && rule.allowedMethods.includes(method)
    && headers.every((name) => always.has(name) || (rule.allowedHeaders ?? []).some((pattern) => isMatch(pattern.toLowerCase(), name))))
}

/** At most one star, for anything. */
function isMatch (pattern: string, text: string): boolean {
  const at = pattern.indexOf('*')
  if (at < 0) return pattern === text
  const [before, after] = [pattern.slice(0, at), pattern.slice(at + 1)]
  return text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after)
}
