import { describe, expect, test } from 'vitest'
import { countedObjects } from '../../../src/node/work/counted-objects.ts'
import { UserActivity, userLimits } from '../../../src/node/work/user-activity.ts'
import { objectStore } from '../../../src/objects/index.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { objectWorld } from '../../support/object-parts.ts'

describe('a user waits for this node', () => {
  test('while something is put, and while something that was opened is read, up to its end or until the reader leaves', async () => {
    const time = new VirtualTime()
    const users = new UserActivity(time.clock())
    const objects = countedObjects(objectStore(objectWorld().parts), users)
    const rest = async (): Promise<void> => { let over = false; time.after(userLimits.lingerMs, () => { over = true }); await time.run(() => over) }
    await objects.createBucket('photos')
    expect(users.isWaiting()).toBe(false)
    await objects.put({ bucket: 'photos', key: 'k' }, (async function * () { expect(users.isWaiting()).toBe(true); yield Buffer.from('bytes') })())
    await rest()
    expect(users.isWaiting()).toBe(false)
    for (const isLeft of [false, true]) {
      const { body } = await objects.get({ bucket: 'photos', key: 'k' })
      await rest()
      expect(users.isWaiting(), 'opened, and not read').toBe(false)
      for await (const _ of body) {
        await rest()
        expect(users.isWaiting()).toBe(true)
        if (isLeft) break
      }
      await rest()
      expect(users.isWaiting()).toBe(false)
    }
  })
})
