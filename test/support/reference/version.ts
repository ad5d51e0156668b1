import { H, Hk } from './keys.ts'

/** docs/FORMAT.md, "Versions". */
export const deathProof = (del: Uint8Array, salt: Uint8Array): Uint8Array => Hk(del, salt)
export const versionId = (proof: Uint8Array): Uint8Array => H(proof)
