import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { type Layout, layoutLimits, lostOf } from '../../cluster/index.ts'
import { FileMissing, type Files } from '../../disk/index.ts'

/**
 * Whom the cluster has given up as lost (`dfs cluster forget --lost`), as this node was there to see: on its disk, so that health says it until everything
 * has been looked at, and so that one of them that comes back can be told.
 */
export class GivenUp {
  readonly #files: Files
  #found: Found

  private constructor (files: Files, found: Found) {
    this.#files = files
    this.#found = found
  }

  static async open (files: Files): Promise<GivenUp> { return new GivenUp(files, await read(files)) }

  get peers (): readonly PeerId[] { return this.#found.peers }
  /** Nobody has looked yet at what is left. */
  get isUnverified (): boolean { return this.#found.isUnverified }
  has (peer: PeerId): boolean { return this.#found.peers.includes(peer) }

  /** Before the layout that gives them up is adopted. On disk when it resolves. */
  async note (layout: Layout): Promise<void> {
    const lost = lostOf(layout)
    if (lost.length > 0) await this.#keep({ peers: [...new Set([...lost, ...this.#found.peers])].slice(0, givenUpLimits.maxPeers), isUnverified: true })
  }

  /** All that can be read has been read, and what cannot was told. */
  async verified (): Promise<void> {
    if (this.#found.isUnverified) await this.#keep({ ...this.#found, isUnverified: false })
  }

  async #keep (found: Found): Promise<void> {
    const writer = new ByteWriter().u8(1).u8(Number(found.isUnverified)).u16(found.peers.length)
    for (const peer of found.peers) writer.raw(keyOf(peer))
    await this.#files.writeDurable(path, [withDigest(writer.finish())])
    this.#found = found
  }
}

export const givenUpLimits = { maxPeers: layoutLimits.maxMembers * 2 } as const

interface Found { readonly peers: readonly PeerId[], readonly isUnverified: boolean }
const path = 'given-up'

/** `01 | u8 unverified | u16 n | n × key(32) | H(all before)`. */
async function read (files: Files): Promise<Found> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  const body = bytes === undefined ? undefined : withoutDigest(bytes)
  // damaged: it is told once more than it need be, and those who come back are not told why. They are let in by nobody all the same
  if (body === undefined) return { peers: [], isUnverified: bytes !== undefined }
  const reader = new ByteReader(body)
  const [, isUnverified] = [reader.u8(), reader.u8() === 1]
  return { peers: Array.from({ length: reader.u16() }, () => peerIdOf(reader.raw(32))), isUnverified }
}
