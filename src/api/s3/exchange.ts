import { bodyOf } from '../server/body.ts'
import type { DfsNode } from '../../node.ts'
import { anybody } from '../gate.ts'
import type { AccessAction, AccessKey } from '../../objects/index.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { S3Error } from './errors.ts'
import type { Payload } from './payload.ts'
import { wholeBody } from './whole-body.ts'
import { parseXml, xmlLimits, type XmlNode } from './xml-reader.ts'

/** One S3 request, verified, on its way through an operation. */
export interface S3Exchange extends PublicExchange {
  readonly node: Pick<DfsNode, 'objects' | 'keys'>
  /** '' for what concerns no bucket. */
  readonly bucket: string
  /** '' for the bucket itself. */
  readonly key: string
  /** Of the query, decoded; the first of each name. */
  readonly parameters: ReadonlyMap<string, string>
  /** By name in lower case; of a presigned request with what its query says in their place. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly header: (name: string) => string | undefined
  /** Who asks; undefined: anybody. */
  readonly accessKey: AccessKey | undefined
  /** The region the client signs for. */
  readonly region: string
  /** @throws S3Error AccessDenied unless who asks may do this */
  demand (what: Demand): Promise<void>
  /** The body, decoded; asked for when it is first read. `isChecksumOfBody` false: x-amz-checksum-… says what something else has. */
  payload (options?: { readonly isChecksumOfBody?: boolean }): Payload
}

export interface Demand {
  /** As policies of AWS name it, e.g. s3:GetObject. */
  readonly operation: string
  readonly action: AccessAction
  readonly bucket: string
  readonly key?: string
}

export const sourceOf = bodyOf

/** Whom the memory of a put counts for. */
export const askedBy = ({ accessKey }: Pick<S3Exchange, 'accessKey'>): string => accessKey?.id ?? anybody

/** The body as XML with that root. @throws S3Error */
export async function xmlBody (exchange: S3Exchange, root: string, options: Parameters<S3Exchange['payload']>[0] = {}): Promise<XmlNode> {
  return parseXml(await wholeBody(exchange.payload(options), xmlLimits.maxBytes), root)
}

export function sendXml ({ response }: Pick<S3Exchange, 'response'>, xml: string, headers: Readonly<Record<string, string>> = {}): void {
  const body = Buffer.from(xml)
  response.writeHead(200, { 'content-type': 'application/xml', 'content-length': body.byteLength, ...headers }).end(body)
}

export function sendNothing ({ response }: Pick<S3Exchange, 'response'>, status = 200, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { ...headers, ...(status === 204 ? {} : { 'content-length': '0' }) }).end()
}

/** A number among the parameters. @throws S3Error */
export function numberIn ({ parameters }: Pick<S3Exchange, 'parameters'>, name: string, { fallback, least, most }: { fallback: number, least: number, most: number }): number {
  const text = parameters.get(name)
  if (text === undefined || text === '') return fallback
  if (!/^\d{1,10}$/.test(text) || Number(text) < least) throw new S3Error('InvalidArgument', `${name} takes a number, ${least} to ${most}`, { fields: { ArgumentName: name, ArgumentValue: text.slice(0, 40) } })
  return Math.min(Number(text), most)
}

export const owner = { id: 'dfs', displayName: 'dfs' } as const
