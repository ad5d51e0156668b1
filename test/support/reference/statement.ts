import { cat, demand, type Fields, fieldsOf, same, text, textIn, u16, u32, u64, u8, zeros } from './bytes.ts'
import { demandSigned, publicKeyOf, sign } from './signature.ts'

/** docs/FORMAT.md, "Statements". */
export type Body =
  | { readonly kind: 'admin' }
  | { readonly kind: 'invite', readonly roles: number, readonly peer: Uint8Array, readonly notAfter: bigint, readonly zone: string }
  | { readonly kind: 'member', readonly role: number, readonly kx: Uint8Array, readonly serial: number, readonly zone: string }
  | { readonly kind: 'era', readonly checkN: Uint8Array, readonly floor: number, readonly checks: ReadonlyArray<readonly [number, Uint8Array]>, readonly listed: ReadonlyArray<readonly [Uint8Array, Uint8Array]> }

export interface Statement { readonly clusterId: Uint8Array, readonly era: number, readonly issuer: Uint8Array, readonly subject: Uint8Array, readonly body: Body }

const kinds = ['admin', 'invite', 'member', 'era'] as const
const domain = cat(text('dfs/v1/statement'), u8(0))

export function statement (seed: Uint8Array, { clusterId, era, subject, body }: Omit<Statement, 'issuer'>): Uint8Array {
  const bytes = bodyBytes(body)
  const head = cat(u8(1), u8(kinds.indexOf(body.kind) + 1), clusterId, u32(era), publicKeyOf(seed), subject, u32(bytes.length), bytes)
  return cat(head, sign(seed, domain, head))
}

export function openStatement (bytes: Uint8Array): Statement {
  const fields = fieldsOf(bytes)
  demand(fields.u8() === 1, 'version')
  const [kind, clusterId, era, issuer, subject] = [kinds[fields.u8() - 1], fields.take(16), fields.u32(), fields.take(32), fields.take(32)]
  const body = readBody(kind, fieldsOf(fields.take(fields.u32())))
  const signed = bytes.slice(0, fields.at())
  demandSigned(issuer, fields.take(64), domain, signed)
  fields.end()
  demand(era > 0 && (kind !== 'era' || same(subject, zeros(32))), 'era')
  demand(kind === 'era' || bytes.length <= 512, 'length')
  demand(kind === 'era' || !same(subject.slice(0, 28), zeros(28)), 'subject')
  return { clusterId, era, issuer, subject, body }
}

function bodyBytes (body: Body): Uint8Array {
  switch (body.kind) {
    case 'admin': return zeros(0)
    case 'invite': return cat(u8(body.roles), body.peer, u64(body.notAfter), zoneBytes(body.zone))
    case 'member': return cat(u8(body.role), body.kx, u32(body.serial), zoneBytes(body.zone))
    case 'era': return cat(body.checkN, u32(body.floor), u16(body.checks.length), ...body.checks.flatMap(([epoch, check]) => [u32(epoch), check]), u32(body.listed.length), ...body.listed.flat())
  }
}

function readBody (kind: Body['kind'] | undefined, fields: Fields): Body {
  const body = readFields(kind, fields)
  fields.end()
  return body
}

function readFields (kind: Body['kind'] | undefined, fields: Fields): Body {
  switch (kind) {
    case 'admin': return { kind }
    case 'invite': {
      const [roles, peer, notAfter, zone] = [fields.u8(), fields.take(32), fields.u64(), readZone(fields)]
      demand(roles >= 1 && roles <= 7, 'roles')
      demand(notAfter < 2n ** 53n, 'date')
      return { kind, roles, peer, notAfter, zone }
    }
    case 'member': {
      const [role, kx, serial, zone] = [fields.u8(), fields.take(32), fields.u32(), readZone(fields)]
      demand(role === 1 || role === 2 || role === 4, 'role')
      return { kind, role, kx, serial, zone }
    }
    case 'era': {
      const [checkN, floor, k] = [fields.take(32), fields.u32(), fields.u16()]
      demand(k <= 256, 'checks')
      const checks = Array.from({ length: k }, () => [fields.u32(), fields.take(32)] as const)
      const m = fields.u32()
      demand(m <= 1024, 'listed')
      const listed = Array.from({ length: m }, () => [fields.take(32), fields.take(32)] as const)
      demand(ascends(checks.map(([epoch]) => u32(epoch))) && ascends(listed.map((pair) => cat(...pair))), 'order')
      return { kind, checkN, floor, checks, listed }
    }
    case undefined: demand(false, 'kind')
  }
}

const ascends = (items: readonly Uint8Array[]): boolean => items.every((item, i) => i === 0 || Buffer.compare(items[i - 1] as Uint8Array, item) < 0)
const zoneBytes = (zone: string): Uint8Array => cat(u8(text(zone).length), text(zone))
const readZone = (fields: Fields): string => textIn(fields.take(fields.u8()))
