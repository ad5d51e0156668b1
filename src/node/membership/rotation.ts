import { changeEra, type EraChangeParts } from './era-change.ts'
import type { Removal } from './removal.ts'

/**
 * An era with the same members, with which an epoch begins: what is sealed from now on takes keys that nobody has who has copied those of before, a keyring say. What is sealed already stays as it is, and is read with the
 * keys of its time; records come under tags of the new epoch, and once every voter has done so older tags are refused, as after a removal. Done again, it begins another one.
 * @throws Refused on a node that may not remove others either, Unavailable (nothing happened), UnknownOutcome (it may have; once more does no harm)
 */
export async function rotateKeys (parts: EraChangeParts, wait: { signal?: AbortSignal } = {}): Promise<Removal> {
  await changeEra(parts, ({ rows, admins }) => ({ rows, admins, isNewEpoch: true, keepsInvites: false }), wait)
  return { era: parts.state.era.number, epoch: parts.epochs.newest }
}
