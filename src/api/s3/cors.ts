import type { CorsRule } from '../../objects/index.ts'
import { corsRuleFor } from '../cors.ts'
import { S3Error } from './errors.ts'
import { demandForm } from './xml-form.ts'
import { childrenOf, childText, type XmlNode } from './xml-reader.ts'
import { document, element, given } from './xml.ts'

/** The rule that lets a page of the origin send this, and the headers that say so (https://fetch.spec.whatwg.org/#http-cors-protocol). Undefined: none does. */
export function corsHeaders (rules: readonly CorsRule[] = [], { origin, method, headers = [] }: { origin: string, method: string, headers?: readonly string[] }): Record<string, string> | undefined {
  const rule = corsRuleFor(rules, { origin, method, headers: headers.map((name) => name.toLowerCase()) })
  if (rule === undefined) return undefined
  const isAny = rule.allowedOrigins.includes('*')
  return {
    'access-control-allow-origin': isAny ? '*' : origin,
    'access-control-allow-methods': rule.allowedMethods.join(', '),
    ...(headers.length === 0 ? {} : { 'access-control-allow-headers': headers.join(', ') }),
    ...(rule.exposeHeaders === undefined || rule.exposeHeaders.length === 0 ? {} : { 'access-control-expose-headers': rule.exposeHeaders.join(', ') }),
    ...(rule.maxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(rule.maxAgeSeconds) }),
    ...(isAny ? {} : { 'access-control-allow-credentials': 'true' }),
    vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
  }
}

const corsForm = { 'CORSRule*': { ID: 'text', 'AllowedOrigin*': 'text', 'AllowedMethod*': 'text', 'AllowedHeader*': 'text', 'ExposeHeader*': 'text', MaxAgeSeconds: 'text' } } as const

const methods = ['GET', 'PUT', 'HEAD', 'POST', 'DELETE']

export function corsRulesIn (configuration: XmlNode): CorsRule[] {
  demandForm(configuration, corsForm)
  const rules = childrenOf(configuration, 'CORSRule')
  if (rules.length === 0) throw new S3Error('MalformedXML', 'a CORS configuration has rules; DELETE takes it away')
  return rules.map((rule) => {
    const texts = (name: string): string[] => childrenOf(rule, name).map(({ text }) => text)
    const [allowedOrigins, allowedMethods, allowedHeaders, exposeHeaders] = [texts('AllowedOrigin'), texts('AllowedMethod'), texts('AllowedHeader'), texts('ExposeHeader')]
    const [id, maxAge] = [childText(rule, 'ID'), childText(rule, 'MaxAgeSeconds')]
    if (allowedOrigins.length === 0 || allowedMethods.length === 0) throw new S3Error('MalformedXML', 'a CORS rule has an AllowedOrigin and an AllowedMethod')
    if (allowedMethods.some((method) => !methods.includes(method))) throw new S3Error('InvalidRequest', `Found unsupported HTTP method in CORS config; there are ${methods.join(', ')}`)
    if ([...allowedOrigins, ...allowedHeaders].some((pattern) => pattern.split('*').length > 2)) throw new S3Error('InvalidRequest', 'an origin or header can not have more than one wildcard')
    if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge)) throw new S3Error('MalformedXML', 'MaxAgeSeconds is a number')
    return {
      ...(id === undefined ? {} : { id }), allowedOrigins, allowedMethods, ...(allowedHeaders.length === 0 ? {} : { allowedHeaders }), ...(exposeHeaders.length === 0 ? {} : { exposeHeaders }),
      ...(maxAge === undefined ? {} : { maxAgeSeconds: Number(maxAge) }),
    }
  })
}

export const corsDocument = (rules: readonly CorsRule[]): string => document('CORSConfiguration', rules.map((rule) => element('CORSRule', [
  given('ID', rule.id), rule.allowedOrigins.map((text) => element('AllowedOrigin', text)), rule.allowedMethods.map((text) => element('AllowedMethod', text)),
  (rule.allowedHeaders ?? []).map((text) => element('AllowedHeader', text)), (rule.exposeHeaders ?? []).map((text) => element('ExposeHeader', text)), given('MaxAgeSeconds', rule.maxAgeSeconds),
])))
