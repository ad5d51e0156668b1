import { Corrupt, Refused } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Files } from '../../disk/index.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import { type Keyring, type KeyringKey, openKeyring, rekeyed, sealKeyring } from '../../encryption/index.ts'
import type { Secrets } from '../../node.ts'

const keyLength = 32
const path = 'keyring'
/** A join under way: the identity it joins with, so that a join that was cut off goes on as the same peer. */
const joiningPath = 'keyring.joining'

/** The key that the user's secret stands for. With `make` a key file that is not there is made. @throws Refused, InvalidInput */
export async function keyringKeyOf (secrets: Secrets, { make, random }: { make: boolean, random: Random }): Promise<KeyringKey> {
  if (secrets.kind === 'passphrase') return secrets
  const files = nodeFiles('/')
  if (await files.size(secrets.path) === undefined) {
    if (!make) throw new Refused(`the key file ${secrets.path} is not there; without it the keyring cannot be opened`)
    await files.ensureFolder(secrets.path.slice(0, secrets.path.lastIndexOf('/')) || '/')
    await files.writeDurable(secrets.path, [random.bytes(keyLength)])
  }
  const key = await files.read(secrets.path)
  if (key.byteLength !== keyLength) throw new Refused(`the key file ${secrets.path} has ${key.byteLength} bytes; a key has ${keyLength}`)
  return { kind: 'key', key }
}

export async function readKeyring (files: Files, key: KeyringKey, { joining = false }: { joining?: boolean } = {}): Promise<Keyring | undefined> {
  const from = joining ? joiningPath : path
  if (await files.size(from) === undefined) return undefined
  try {
    return await openKeyring(await files.read(from), key)
  } catch (cause) {
    // nothing tells a wrong key from a damaged keyring
    const advice = `take the right ${key.kind === 'key' ? 'key file' : 'passphrase'}, or put back a copy of the file "${from}" in the data folder`
    if (cause instanceof Refused) throw new Refused(`${cause.message}; ${advice}`, { cause })
    if (cause instanceof Corrupt) throw new Corrupt(`${cause.message}; ${advice}`, { cause })
    throw cause
  }
}

export interface KeyringWrite {
  readonly random: Random
  readonly joining?: boolean
  /** The folder is no node's before its facts are there: until `endJoin` a join goes on as whom it began. */
  readonly isJoined?: boolean
}

export async function writeKeyring (files: Files, keyring: Keyring, key: KeyringKey, { random, joining = false, isJoined = true }: KeyringWrite): Promise<void> {
  await files.writeDurable(joining ? joiningPath : path, [await sealKeyring(keyring, key, random)])
  if (!joining && isJoined) await endJoin(files)
}

export const endJoin = async (files: Files): Promise<void> => files.remove(joiningPath)

/** Seals every keyring in the folder under another key, that of a join that was cut off too. All are opened before any is written. */
export async function rekeyKeyrings (files: Files, { from, to, random }: { from: KeyringKey, to: KeyringKey, random: Random }): Promise<void> {
  const paths: string[] = []
  for (const one of [path, joiningPath]) if (await files.size(one) !== undefined) paths.push(one)
  const sealed = await rekeyed(await Promise.all(paths.map(async (one) => files.read(one))), { from, to, random })
  for (const [i, one] of paths.entries()) await files.writeDurable(one, [sealed[i] as Uint8Array])
}
