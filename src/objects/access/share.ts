import { decode, encode } from 'cborg'
import { fromHex, hexOf, MalformedBytes, utf8 } from '../../base/bytes.ts'
import { hash } from '../../base/hash.ts'
import type { ObjectName } from '../index.ts'

/** A link that lets whoever has it read one object, without a key. It is to the object's key: what is put there later is what it shows. */
export interface Share extends ObjectName {
  /** Public: stands in the link's path, and in logs. */
  readonly id: string
  /** 16 bytes, hexadecimal: a bucket made again under its name is not shared. */
  readonly bucketId: string
  readonly createdMs: number
  /** By the clock of the node asked; undefined: never. It can only refuse. */
  readonly notAfterMs: number | undefined
  /** It serves one download, and is used up when that begins. */
  readonly isOnce: boolean
  readonly hasPassword: boolean
  /** When it was used up. */
  readonly usedMs: number | undefined
}

/** As it stands in its row. */
export interface ShareRow extends Omit<Share, 'hasPassword'> {
  /** Of id and secret, 32 bytes: whoever reads rows cannot make the link. */
  readonly secretHash: Uint8Array
  /** Argon2id, in the form that says its costs and salt ("$argon2id$v=19$…"). */
  readonly password: string | undefined
  /** Of the use that used it up, 16 random bytes: whoever does not hear whether its write happened finds its own again. */
  readonly usedBy?: Uint8Array
}

const label = utf8('dfs/v1/share')

/** What a row keeps of a secret (32 random bytes in base64url, so nothing slower is needed). */
export const shareSecretHash = (id: string, secret: string): Uint8Array => hash(label, Uint8Array.of(0), utf8(id), Uint8Array.of(0), utf8(secret))

export const publicShare = ({ id, bucket, bucketId, key, createdMs, notAfterMs, isOnce, password, usedMs }: ShareRow): Share =>
  ({ id, bucket, bucketId, key, createdMs, notAfterMs, isOnce, hasPassword: password !== undefined, usedMs })

/** Why it opens nothing any more, if so. */
export function endOf ({ notAfterMs, usedMs }: Pick<Share, 'notAfterMs' | 'usedMs'>, nowMs: number): 'used' | 'expired' | undefined {
  if (usedMs !== undefined) return 'used'
  return notAfterMs !== undefined && nowMs > notAfterMs ? 'expired' : undefined
}

/** 2 says by which use it was used up, and is written where it was. */
const versions = { plain: 1, used: 2 } as const

export function encodeShareRow ({ id, secretHash, bucket, bucketId, key, createdMs, notAfterMs, isOnce, password, usedMs, usedBy }: ShareRow): Uint8Array {
  return encode([usedBy === undefined ? versions.plain : versions.used, id, secretHash, bucket, fromHex(bucketId), key, createdMs, notAfterMs ?? null, isOnce, password ?? null, usedMs ?? null, ...(usedBy === undefined ? [] : [usedBy])])
}

/** @throws MalformedBytes */
export function decodeShareRow (value: Uint8Array): ShareRow {
  try {
    const [found, id, secretHash, bucket, bucketId, key, createdMs, notAfterMs, isOnce, password, usedMs, usedBy] =
      decode(value) as [number, string, Uint8Array, string, Uint8Array, string, number, number | null, boolean, string | null, number | null, Uint8Array | undefined]
    if (found !== versions.plain && found !== versions.used) throw new MalformedBytes(`share of version ${found}`)
    if ((found === versions.used) !== (usedBy instanceof Uint8Array && usedBy.byteLength === 16 && usedMs !== null)) throw new MalformedBytes(`a share of version ${found} that is not like one`)
    return { id, secretHash, bucket, bucketId: hexOf(bucketId), key, createdMs, notAfterMs: notAfterMs ?? undefined, isOnce, password: password ?? undefined, usedMs: usedMs ?? undefined, ...(usedBy === undefined ? {} : { usedBy }) }
  } catch (cause) {
    throw new MalformedBytes('a share could not be read', { cause })
  }
}

/** What a listing keeps: neither the secret's hash nor the password's, but whether there is one. */
export function summaryOfShare (value: Uint8Array): Uint8Array {
  const row = decodeShareRow(value)
  return encodeShareRow({ ...row, usedBy: undefined, secretHash: new Uint8Array(0), password: row.password === undefined ? undefined : '' })
}
