import { describe, expect, test } from 'vitest'
import { partitionCount, utf8 } from '../../src/base/bytes.ts'
import { Conflict, InvalidInput } from '../../src/base/errors.ts'
import { NothingToMatch, type Objects, objectStore, type Preconditions } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { type TableNode, tableNodes } from '../support/table-nodes.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }
const target = { bucket: 'photos', key: 'k' }

/** Two nodes of three, which agree on rows and share nothing else but blocks. */
async function twoNodes ({ isVersioned }: { isVersioned: boolean }): Promise<readonly [Objects, Objects]> {
  const [here, there] = twoWithoutBuckets()
  await here.createBucket('photos', isVersioned ? { settings: { versioning: 'enabled' } } : {})
  return [here, there]
}

function twoWithoutBuckets (): readonly [Objects, Objects] {
  const [here, there] = storesOver(tableNodes(3).nodes)
  return [here, there]
}

function storesOver (nodes: readonly TableNode[]): readonly [Objects, Objects, ...Objects[]] {
  const world = objectWorld()
  return nodes.map(({ registers }) => objectStore({ ...world.parts, registers })) as unknown as readonly [Objects, Objects, ...Objects[]]
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

  test('exactly one copies to where nothing must be, or onto what both have read', async () => {
    const [here, there] = await twoNodes(bucket)
    for (let round = 0; round < 10; round++) {
      const [key, text] = [`k${round}`, round % 2 === 0 ? 'abc' : 'more than eight bytes of content']
      const sources = [0, 1].map((i) => ({ bucket: 'photos', key: `source-${round}-${i}` }))
      for (const [i, source] of sources.entries()) await here.put(source, bytesOf(`${text}${i}`), { wantsMd5: true })
      const copies = (conditions: Preconditions): Array<Promise<unknown>> => [here, there].map(async (node, i) => node.copy(sources[i] as typeof target, { ...target, key }, { ...conditions, wantsMd5: true }))
      expect(await outcomes(copies({ ifNoneMatch: '*' }))).toEqual({ won: 1, refused: 1 })
      const { etag } = await there.put({ ...target, key }, bytesOf(`${text} of another`), { wantsMd5: true })
      expect(await outcomes(copies({ ifMatch: etag }))).toEqual({ won: 1, refused: 1 })
    }
  })

  test('exactly one of a completion, a put and a copy makes what must not exist, and exactly one replaces what all have read', async () => {
    const [here, there] = await twoNodes(bucket)
    const source = { bucket: 'photos', key: 'source' }
    await here.put(source, bytesOf('more than eight bytes, copied'))
    for (let round = 0; round < 10; round++) {
      const to = { ...target, key: `k${round}` }
      const race = async (conditions: Preconditions): Promise<{ won: number, refused: number }> => {
        const uploads = await Promise.all([here, there].map(async (node, i) => {
          const { uploadId } = await node.uploads.create(to)
          return { node, uploadId, parts: [await node.uploads.putPart(to, uploadId, 1, bytesOf(`more than eight bytes, ${i}`))] }
        }))
        return outcomes([
          ...uploads.map(async ({ uploadId, parts }, i) => (i === round % 2 ? here : there).uploads.complete(to, uploadId, parts, conditions)),
          here.put(to, bytesOf('more than eight bytes, put'), conditions), there.copy(source, to, conditions),
        ])
      }
      expect(await race({ ifNoneMatch: '*' })).toEqual({ won: 1, refused: 3 })
      expect(await race({ ifMatch: (await there.head(to)).etag })).toEqual({ won: 1, refused: 3 })
      expect(await here.head(to)).toEqual(await there.head(to))
    }
  })
})

test('of two nodes that make a bucket of one name at once, exactly one does, and both have the same', async () => {
  const [here, there] = twoWithoutBuckets()
  for (let round = 0; round < 20; round++) {
    const name = `bucket-${round}`
    expect(await outcomes([here, there].map(async (node, i) => node.createBucket(name, { copies: 1 + i })))).toEqual({ won: 1, refused: 1 })
    expect(await here.bucket(name)).toEqual(await there.bucket(name))
  }
})

test.each([false, true])('exactly one deletes what both have read, whether versions are kept of it or not (%s)', async (isVersioned) => {
  const [here, there] = await twoNodes({ isVersioned })
  for (let round = 0; round < 10; round++) {
    const { etag } = await there.put(target, bytesOf(round % 2 === 0 ? 'a' : 'more than eight bytes of content'), { wantsMd5: true })
    expect(await outcomes([here, there].map(async (node) => node.remove(target, { ifMatch: etag })))).toEqual({ won: 1, refused: 1 })
  }
})

test('to remove what is not there, or what was never kept of a version, leaves no row that says nothing: nobody would ever take it away', async () => {
  const { nodes } = tableNodes(3)
  const [here] = storesOver(nodes)
  const promisedAlone = async (): Promise<number> => {
    let count = 0
    for (const { store } of nodes) for (let partition = 0; partition < partitionCount; partition++) for await (const { accepted } of store.rows(partition)) if (accepted === undefined) count++
    return count
  }
  await here.createBucket('photos')
  const never = { ...target, key: 'never' }
  for (const versionId of [undefined, 'null']) expect((await here.remove(never, { versionId })).wasThere).toBe(false)
  await expect(here.remove(never, { versionId: 'no id' })).rejects.toThrow(InvalidInput)
  await expect(here.remove(never, { ifMatch: '*' })).rejects.toThrow(NothingToMatch)
  await here.setBucketSettings('photos', { versioning: 'enabled' })
  const { versionId } = await here.put(target, bytesOf('one'))
  expect((await here.remove(target, { versionId })).wasThere).toBe(true)
  expect(await promisedAlone()).toBe(0)
})
