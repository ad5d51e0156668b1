import { hash, verify } from '@node-rs/argon2'
import type { Random } from '../base/random.ts'

const argon2id = 2

/** OWASP's first choice for argon2id (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html): enough for a password beside a secret of 32 random bytes. */
export const passwordCost = { memoryCost: 19 * 1024, timeCost: 2, parallelism: 1 } as const

/** A password as it may be stored, "$argon2id$v=19$…", with a salt of its own. */
export async function passwordHash (password: string, random: Random): Promise<string> {
  return hash(password.normalize('NFKC'), { ...passwordCost, algorithm: argon2id, salt: random.bytes(16) })
}

export async function passwordHolds (stored: string, password: string): Promise<boolean> {
  return verify(stored, password.normalize('NFKC'))
}
