import { hexOf } from '../../base/bytes.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Announcement } from '../../network/index.ts'

/** Who announced which version, of the last many: where to look when placement fails. */
export class Hints {
  readonly #announcers = new Map<string, readonly PeerId[]>()

  remember ({ versionId, from }: Pick<Announcement, 'versionId' | 'from'>): void {
    const name = hexOf(versionId)
    const known = this.#announcers.get(name) ?? []
    this.#announcers.delete(name)
    this.#announcers.set(name, [from, ...known.filter((peer) => peer !== from)].slice(0, hintLimits.maxAnnouncers))
    const oldest = this.#announcers.keys().next()
    if (this.#announcers.size > hintLimits.maxVersions && oldest.done !== true) this.#announcers.delete(oldest.value)
  }

  of (versionId: Uint8Array): readonly PeerId[] { return this.#announcers.get(hexOf(versionId)) ?? [] }
}

export const hintLimits = { maxVersions: 10_000, maxAnnouncers: 4 } as const
