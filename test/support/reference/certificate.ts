import { cat, demand, type Fields, fieldsOf, same, u16, u8 } from './bytes.ts'
import { H } from './keys.ts'
import { openStatement, type Statement } from './statement.ts'

/** docs/FORMAT.md, "Certificates". */
export interface Link { readonly bytes: Uint8Array, readonly statement: Statement }

export const chain = (statements: readonly Uint8Array[]): Uint8Array => cat(u8(statements.length), ...statements.flatMap((bytes) => [u16(bytes.length), bytes]))

/** [admin] [invite] and what must come last, if anything must. */
export function readChain (fields: Fields): readonly Link[] {
  const count = fields.u8()
  demand(count <= 3, 'too many statements')
  return Array.from({ length: count }, () => fields.take(fields.u16())).map((bytes) => ({ bytes, statement: openStatement(bytes) }))
}

const kindsOf = (links: readonly Link[]): string => links.map(({ statement }) => statement.body.kind).join(' ')

export function openCertificate (bytes: Uint8Array): readonly Link[] {
  const fields = fieldsOf(bytes)
  const links = readChain(fields)
  fields.end()
  demand(/^(admin )?(invite )?member$/.test(kindsOf(links)), 'kinds')
  return links
}

export interface Facts {
  readonly clusterId: Uint8Array
  readonly authority: Uint8Array
  readonly era: { readonly number: number, readonly listed: ReadonlyArray<readonly [Uint8Array, Uint8Array]> }
  /** H of the member statement in the members row, where there is one. */
  readonly row: Uint8Array | undefined
}

/** Whether an opened certificate makes its subject a member now. */
export function isValid (links: readonly Link[], { clusterId, authority, era, row }: Facts): boolean {
  const last = links.at(-1) as Link
  const { statement: member } = last
  if (!links.every(({ statement }) => same(statement.clusterId, clusterId))) return false
  if (era.listed.some(([subject, hash]) => same(subject, member.subject) && same(hash, H(last.bytes)))) return true
  const isListed = (subject: Uint8Array, hash: Uint8Array): boolean => era.listed.some((pair) => same(pair[0], subject) && same(pair[1], hash))
  const sinces = era.listed.flatMap(([subject]) => subject.subarray(0, 28).every((byte) => byte === 0) ? [new DataView(subject.buffer, subject.byteOffset + 28, 4).getUint32(0)] : [])
  const since = sinces.length === 0 ? era.number : Math.min(era.number, Math.max(...sinces))
  const isOfEra = ({ bytes: link, statement: { era: of, subject, body } }: Link): boolean => body.kind === 'admin' ? isListed(subject, H(link)) : of >= since && of <= era.number
  if (!links.every(isOfEra)) return false
  if (links.some(({ statement: { era: of, body } }) => body.kind === 'admin' ? of > member.era : of !== member.era)) return false
  const issuers = [authority, ...links.map(({ statement }) => statement.subject)]
  if (!links.every(({ statement }, i) => same(statement.issuer, issuers[i] as Uint8Array))) return false
  const invite = links.map(({ statement }) => statement.body).find((body) => body.kind === 'invite')
  if (invite !== undefined && member.body.kind === 'member') {
    const { role, serial, zone } = member.body
    const isAllowed = (invite.roles & role) !== 0 && serial === 0 && (invite.zone === '' || invite.zone === zone) && (invite.peer.every((byte) => byte === 0) || same(invite.peer, member.subject))
    if (!isAllowed) return false
  }
  return row !== undefined && same(row, H(last.bytes))
}
