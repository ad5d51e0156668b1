import { okmOf, open, seal } from './aead.ts'
import { cat, demand, fieldsOf, text, u8 } from './bytes.ts'
import { Hk, hkdfExpand } from './keys.ts'

/** docs/FORMAT.md, "Pages under K_disk". */
export function localPage (diskKey: Uint8Array, { aad, plaintext, fresh }: { aad: Uint8Array, plaintext: Uint8Array, fresh: Uint8Array }): Uint8Array {
  const salt = Hk(diskKey, fresh, aad, plaintext)
  return cat(salt, seal(keysOf(diskKey, salt), aad, plaintext))
}

export function openLocalPage (diskKey: Uint8Array, aad: Uint8Array, page: Uint8Array): Uint8Array {
  demand(page.length >= 48, 'length')
  const fields = fieldsOf(page)
  return open(keysOf(diskKey, fields.take(32)), aad, fields.rest())
}

const keysOf = (diskKey: Uint8Array, salt: Uint8Array): ReturnType<typeof okmOf> => okmOf(hkdfExpand(diskKey, cat(text('dfs/v1/local'), u8(0), salt), 76))
