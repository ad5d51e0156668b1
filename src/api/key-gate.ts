import { timingSafeEqual } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { NotFound } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { type AccessKeys, isAllowed, isExpired, mayEnter, type Objects } from '../objects/index.ts'
import type { Gate } from './gate.ts'

/** Who may what by the cluster's access keys; what a public-read bucket holds anybody may read and list. */
export function keyGate ({ keys, objects, clock }: { keys: Pick<AccessKeys, 'find'>, objects: Pick<Objects, 'bucket'>, clock: Clock }): Gate {
  return {
    async isPublic ({ action, bucket }, wait) {
      if (action !== 'read' && action !== 'list') return false
      try {
        return (await objects.bucket(bucket, wait)).settings?.publicRead === true
      } catch (error) {
        // whoever may not read it learns nothing of what is there
        if (error instanceof NotFound) return false
        throw error
      }
    },
    async prove ({ id, secret }) {
      const key = await keys.find(id)
      const isRight = timingSafeEqual(hash(utf8(secret)), hash(utf8(key?.secret ?? '')))
      if (key === undefined || !isRight || isExpired(key, clock.wallMs())) return undefined
      return { id, may: (wish) => isAllowed(key, wish), mayEnter: (bucket) => mayEnter(key, bucket) }
    },
  }
}
