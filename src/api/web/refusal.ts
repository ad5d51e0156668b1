import { DfsError } from '../../base/errors.ts'
import { ApiError, errorAnswerOf } from '../errors.ts'
import { jsonRefusalOf } from '../local/json-refusal.ts'
import type { Incoming, Refusal } from '../server/listener.ts'
import { html, page, pageHeaders, plainHeaders } from './html.ts'

/** A page for people, JSON for programs. */
export function webRefusalOf (error: unknown, { request }: Incoming): Refusal {
  const refusal = jsonRefusalOf(error, request)
  const asks = error instanceof ApiError && error.status === 401 ? { 'www-authenticate': 'Basic realm="dfs", charset="UTF-8"' } : {}
  if (!(request.headers.accept ?? '').includes('text/html')) return { ...refusal, headers: { ...refusal.headers, ...asks, ...plainHeaders, 'cache-control': 'no-store' } }
  const { status, body: { error: { message } } } = errorAnswerOf(error)
  const title = titles[status] ?? (error instanceof DfsError || error instanceof ApiError ? 'This cannot be done' : 'Something unexpected happened')
  const { 'retry-after': retryAfter } = refusal.headers
  return {
    ...refusal,
    headers: { ...pageHeaders(), ...asks, ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }) },
    body: page({ title, body: html`<main><h1>${title}</h1><p>${message}</p></main>` }),
  }
}

const titles: Readonly<Record<number, string>> = {
  401: 'This needs an access key', 403: 'This is not allowed', 404: 'Nothing is here', 410: 'This is gone', 416: 'There are no such bytes', 429: 'Too many requests', 503: 'Not now',
}
