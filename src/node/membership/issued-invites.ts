import { decode, encode } from 'cborg'
import { hexOf, MalformedBytes } from '../../base/bytes.ts'
import { Corrupt } from '../../base/errors.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { FileMissing, type Files } from '../../disk/index.ts'

/** What this node remembers of an invite that it made: not the seed, which is in the token alone. */
export interface IssuedInvite {
  /** The invite's key, hexadecimal: its name in the table of invites. */
  readonly key: string
  /** Role bits. */
  readonly roles: number
  readonly era: number
  readonly notAfterMs: number | undefined
  readonly zone: string
  /** By this node's clock. */
  readonly madeMs: number
}

export const issuedInvitesLimits = {
  /** The oldest are forgotten: their invites stand, and can be revoked by token or key. */
  maxKept: 1000,
} as const

const path = 'invites'
const formatVersion = 1

/** The invites that this node has made, in a file of its own: tokens are made without asking anybody, and stand in no row before they are used or revoked. */
export class IssuedInvites {
  readonly #files: Files
  #known: readonly IssuedInvite[] | undefined
  #saving: Promise<void> = Promise.resolve()

  constructor (files: Files) { this.#files = files }

  /** The oldest first. @throws Corrupt */
  async all (): Promise<readonly IssuedInvite[]> { return this.#known ??= await read(this.#files) }

  /** On disk when it resolves: a token that is given out is listed. */
  async add (invites: readonly IssuedInvite[]): Promise<void> {
    // one after the other, for each writes all of them
    const saving = this.#saving.catch(() => {}).then(async () => { // told to whom it was for
      const kept = [...await this.all(), ...invites].slice(-issuedInvitesLimits.maxKept)
      await this.#files.writeDurable(path, [withDigest(encode([formatVersion, kept.map(({ key, roles, era, notAfterMs, zone, madeMs }) => [Buffer.from(key, 'hex'), roles, era, notAfterMs ?? null, zone, madeMs])]))])
      this.#known = kept
    })
    this.#saving = saving
    await saving
  }
}

async function read (files: Files): Promise<readonly IssuedInvite[]> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  if (bytes === undefined) return []
  try {
    const body = withoutDigest(bytes)
    if (body === undefined) throw new MalformedBytes('its checksum does not fit')
    const [version, invites] = decode(body) as [number, Array<[Uint8Array, number, number, number | null, string, number]>]
    if (version !== formatVersion) throw new MalformedBytes(`version ${version}`)
    return invites.map(([key, roles, era, notAfterMs, zone, madeMs]) => ({ key: hexOf(key), roles, era, notAfterMs: notAfterMs ?? undefined, zone, madeMs }))
  } catch (cause) {
    throw new Corrupt(`the file "${path}" in the data folder is damaged (${(cause as Error).message}); move it away: it only lists the invites that this node has made`, { cause })
  }
}
