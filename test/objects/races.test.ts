import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { Conflict } from '../../src/base/errors.ts'
import { type Objects, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { tableNodes } from '../support/table-nodes.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }
const target = { bucket: 'photos', key: 'k' }

/** Two nodes of three, which agree on rows and share nothing else but blocks. */
async function twoNodes ({ isVersioned }: { isVersioned: boolean }): Promise<readonly [Objects, Objects]> {
  const world = objectWorld()
  const { nodes: [a, b] } = tableNodes(3)
  const [here, there] = [a, b].map((node) => objectStore({ ...world.parts, registers: node?.registers as NonNullable<typeof node>['registers'] }))
  await here?.createBucket('photos', isVersioned ? { settings: { versioning: 'enabled' } } : {})
  return [here as Objects, there as Objects]
}

async function outcomes (attempts: ReadonlyArray<Promise<unknown>>): Promise<{ won: number, refused: number }> {
  const settled = await Promise.allSettled(attempts)
  return {
    won: settled.filter(({ status }) => status === 'fulfilled').length,
    refused: settled.filter((outcome) => outcome.status === 'rejected' && outcome.reason instanceof Conflict).length,
  }
}

describe.each([{ isVersioned: false }, { isVersioned: true }])('two nodes at once, versions kept: $isVersioned', (bucket) => {
  test('exactly one creates what must not exist', async () => {
    const [here, there] = await twoNodes(bucket)
    for (let round = 0; round < 10; round++) {
      const key = `k${round}`
      const text = round % 2 === 0 ? 'abc' : 'more than eight bytes of content'
      expect(await outcomes([here, there].map(async (node, i) => node.put({ ...target, key }, bytesOf(`${text}${i}`), { ifNoneMatch: '*' })))).toEqual({ won: 1, refused: 1 })
    }
  })

  test('exactly one replaces what both have read, by the etag that clients see', async () => {
    const [here, there] = await twoNodes(bucket)
    let { etag } = await here.put(target, bytesOf('0'), { wantsMd5: true })
    for (let round = 0; round < 10; round++) {
      const text = round % 2 === 0 ? 'a' : 'more than eight bytes of content'
      expect(await outcomes([here, there].map(async (node, i) => node.put(target, bytesOf(`${text}${round}${i}`), { ifMatch: etag, wantsMd5: true })))).toEqual({ won: 1, refused: 1 })
      const after = await Promise.all([here.head(target), there.head(target)])
      expect(after[0]).toEqual(after[1])
      etag = after[0]?.etag ?? ''
    }
  })

  test('either the delete of what was read, or its replacement', async () => {
    const [here, there] = await twoNodes(bucket)
    for (let round = 0; round < 10; round++) {
      const { etag } = await there.put(target, bytesOf(`${round}`), { wantsMd5: true })
      expect(await outcomes([here.remove(target, { ifMatch: etag }), there.put(target, bytesOf(round % 2 === 0 ? 'new' : 'more than eight bytes of content'), { ifMatch: etag })])).toEqual({ won: 1, refused: 1 })
    }
  })
})
