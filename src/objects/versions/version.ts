import { equals } from '../../base/bytes.ts'

/** One content of one object, before or after it is current. Its id (32 bytes, public) follows from salt and epoch by a keyed hash. */
export interface Version {
  /** 32 bytes; stands in every reference that holders record. */
  readonly id: Uint8Array
  /** 16 random bytes. */
  readonly salt: Uint8Array
  readonly epoch: number
}

/** Makes and recomputes versions; encryption/ has the keys. */
export interface Versions {
  fresh (): Version
  /** @throws for an epoch that this node does not know */
  idOf (version: Pick<Version, 'salt' | 'epoch'>): Uint8Array
}

export const isSameVersion = (a: { readonly salt: Uint8Array }, b: { readonly salt: Uint8Array }): boolean => equals(a.salt, b.salt)
