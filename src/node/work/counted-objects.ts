import type { Objects } from '../../objects/index.ts'
import type { UserActivity } from './user-activity.ts'

/** The same objects; while one of their operations runs, or what it opened is read, a user waits. */
export function countedObjects (objects: Objects, users: UserActivity): Objects {
  const { uploads } = objects
  return {
    ...objects,
    uploads: {
      ...uploads,
      putPart: async (...args) => users.during(uploads.putPart(...args)),
      copyPart: async (...args) => users.during(uploads.copyPart(...args)),
      append: async (...args) => users.during(uploads.append(...args)),
      complete: async (...args) => users.during(uploads.complete(...args)),
      finish: async (...args) => users.during(uploads.finish(...args)),
    },
    put: async (...args) => users.during(objects.put(...args)),
    head: async (...args) => users.during(objects.head(...args)),
    copy: async (...args) => users.during(objects.copy(...args)),
    listVersions: async (...args) => users.during(objects.listVersions(...args)),
    list: async (...args) => users.during(objects.list(...args)),
    async get (...args) {
      const reading = await users.during(objects.get(...args))
      return { ...reading, body: whileRead(reading.body, users) }
    },
  }
}

async function * whileRead (body: AsyncIterable<Uint8Array>, users: UserActivity): AsyncIterable<Uint8Array> {
  using _waiting = users.begin()
  yield * body
}
