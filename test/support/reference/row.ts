import { type Okm, okmOf, open, seal } from './aead.ts'
import { cat, demand, fieldsOf, same, text, u32, u64, u8, zeros } from './bytes.ts'
import { H, Hk, hkdfExpand } from './keys.ts'

/** docs/FORMAT.md, "Rows". */
export interface RowHead { readonly version?: number, readonly suite?: number, readonly table: number, readonly flags: number, readonly length: number, readonly epoch: number, readonly rk: Uint8Array, readonly revision: bigint }

export const rowKey = (name: Uint8Array, table: number, scope: Uint8Array, key: Uint8Array): Uint8Array => Hk(name, u8(table), scope, key)

export const rowHeader = ({ version = 1, suite = 1, table, flags, length, epoch, rk, revision }: RowHead): Uint8Array =>
  cat(text('DFSR'), u8(version), u8(suite), u8(table), u8(flags), u32(length), u32(epoch), rk, u64(revision))

export const rowPayload = (body: Uint8Array): Uint8Array => cat(u32(body.length), body, zeros((64 - (body.length + 4) % 64) % 64))
export const rowSalt = (salt: Uint8Array, fresh: Uint8Array, header: Uint8Array, payload: Uint8Array): Uint8Array => Hk(salt, fresh, header, payload)
export const rowKeys = (key: Uint8Array, header: Uint8Array, salt: Uint8Array): Okm => okmOf(hkdfExpand(key, cat(text('dfs/v1/row'), u8(0), header, salt), 76))

export function row (key: Uint8Array, { header, salt, payload, commitment }: { header: Uint8Array, salt: Uint8Array, payload: Uint8Array, commitment?: Uint8Array }): Uint8Array {
  const keys = rowKeys(key, header, salt)
  const aad = cat(header, salt, commitment ?? keys.commitment)
  return cat(aad, seal(keys, aad, payload))
}

/** `keyOf`: K_row of an epoch. */
export function openRow (bytes: Uint8Array, place: { table: number, rk: Uint8Array }, keyOf: (epoch: number) => Uint8Array): { flags: number, epoch: number, revision: bigint, body: Uint8Array } {
  const fields = fieldsOf(bytes)
  demand(same(fields.take(4), text('DFSR')) && fields.u8() === 1 && fields.u8() === 1 && fields.u8() === place.table, 'header')
  const [flags, length, epoch, rk, revision] = [fields.u8(), fields.u32(), fields.u32(), fields.take(32), fields.u64()]
  demand(flags <= 1 && length > 0 && length % 64 === 0 && bytes.length === length + 136 && same(rk, place.rk), 'header')
  const [salt, commitment] = [fields.take(32), fields.take(32)]
  const keys = rowKeys(keyOf(epoch), bytes.slice(0, 56), salt)
  demand(same(commitment, keys.commitment), 'commitment')
  const payload = fieldsOf(open(keys, bytes.slice(0, 120), fields.rest()))
  const body = payload.take(payload.u32())
  const padding = payload.rest()
  demand(padding.length < 64 && padding.every((byte) => byte === 0), 'padding')
  return { flags, epoch, revision, body }
}

/** 40 bytes. */
export const ballot = (counter: bigint, proposer: Uint8Array): Uint8Array => cat(u64(counter), proposer)

export interface Vote { readonly table: number, readonly rk: Uint8Array, readonly ballot: Uint8Array, readonly epoch: number, readonly row: Uint8Array }

export const vtag = (vote: Uint8Array, { table, rk, ballot: of, epoch, row: voted }: Vote): Uint8Array => Hk(vote, u8(table), rk, of, u32(epoch), H(voted))
export const accepted = (vote: Uint8Array, of: Vote): Uint8Array => cat(of.ballot, u32(of.epoch), vtag(vote, of), of.row)

/** `keyOf`: K_vote of an epoch. */
export function openAccepted (bytes: Uint8Array, { table, rk }: { table: number, rk: Uint8Array }, keyOf: (epoch: number) => Uint8Array): { ballot: Uint8Array, epoch: number, row: Uint8Array } {
  const fields = fieldsOf(bytes)
  const [found, epoch, tag, voted] = [fields.take(40), fields.u32(), fields.take(32), fields.rest()]
  demand(same(tag, vtag(keyOf(epoch), { table, rk, ballot: found, epoch, row: voted })), 'vote tag')
  return { ballot: found, epoch, row: voted }
}
