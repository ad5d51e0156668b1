import { describe, expect, test } from 'vitest'
import { NotFound } from '../../src/base/errors.ts'
import { NoSuchUpload, type Objects } from '../../src/objects/index.ts'
import { bytesOf, type Death, NodeDied, target, textOf, type UploadWorld, uploadWorld } from '../support/upload-nodes.ts'

const [one, two] = ['the first part, ', 'the second part']

async function allOf (node: Objects, uploadId: string): Promise<Array<{ partNumber: number, etag: string }>> {
  return [await node.uploads.putPart(target, uploadId, 1, bytesOf(one)), await node.uploads.putPart(target, uploadId, 2, bytesOf(two))]
}

/** Something happens on a node that dies at its first step; on another world, at the second; and so on, until it is over before it dies. Gives how many steps there were. */
async function atEveryStep (when: Death['when'], run: (world: UploadWorld, death: Death) => Promise<{ hasDied: boolean }>): Promise<number> {
  for (let at = 1; ; at++) {
    const { hasDied } = await run(await uploadWorld(), { at, when })
    if (!hasDied) return at - 1
  }
}

/** Whether the node died of it; what else goes wrong is the test's. */
async function died (attempt: Promise<unknown>): Promise<boolean> {
  try { await attempt } catch (error) {
    if (isDeath(error)) return true
    throw error
  }
  return false
}

const isDeath = (error: unknown): boolean => error instanceof NodeDied || (error instanceof Error && isDeath(error.cause))

describe.each(['before', 'after'] as const)('a node that dies %s a step', (when) => {
  test('of beginning an upload leaves no more than a version that is given up later, and another node begins one', async () => {
    const steps = await atEveryStep(when, async (world, death) => {
      const hasDied = await died(world.mortalNode(death).uploads.create(target))
      await world.sweep()
      const heads = world.uploadRows()
      // what is listed is under way
      expect((await world.node().uploads.list('photos')).uploads).toHaveLength(heads.length)
      for (const head of heads) expect(world.rowOf('k')?.pending.map(({ id }) => id)).toContainEqual(head.kind === 'head' ? head.version.id : undefined)
      const { uploadId } = await world.node().uploads.create(target)
      await world.node().uploads.complete(target, uploadId, await allOf(world.node(), uploadId))
      expect(await textOf(world.node())).toBe(one + two)
      return { hasDied }
    })
    expect(steps).toBeGreaterThan(3)
  })

  test('of putting a part leaves the part to be put by another, and the object is right', async () => {
    const steps = await atEveryStep(when, async (world, death) => {
      const node = world.node()
      const { uploadId } = await node.uploads.create(target)
      const first = await node.uploads.putPart(target, uploadId, 1, bytesOf(one))
      const hasDied = await died(world.mortalNode(death).uploads.putPart(target, uploadId, 2, bytesOf('something else that was')))
      const second = await node.uploads.putPart(target, uploadId, 2, bytesOf(two))
      await node.uploads.complete(target, uploadId, [first, second])
      expect(await textOf(node)).toBe(one + two)
      return { hasDied }
    })
    expect(steps).toBeGreaterThan(6)
  })

  test('of completing leaves an upload that another completes, with the same answer; and nothing else is left', async () => {
    const etags = new Set<string>()
    const steps = await atEveryStep(when, async (world, death) => {
      const { uploadId } = await world.node().uploads.create(target, { wantsMd5: true })
      const parts = await allOf(world.node(), uploadId)
      const hasDied = await died(world.mortalNode(death).uploads.complete(target, uploadId, parts))
      const info = await world.node().uploads.complete(target, uploadId, parts)
      expect(info).toEqual(await world.node().head(target))
      expect(info.versionId).toBe(uploadId)
      etags.add(info.etag)
      expect(await textOf(world.node())).toBe(one + two)
      await world.sweep()
      expect(world.uploadRows()).toEqual([])
      expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [] })
      return { hasDied }
    })
    expect(etags.size).toBe(1)
    expect(steps).toBeGreaterThan(7)
  })

  test('of aborting leaves an upload that another aborts; and nothing is left of it', async () => {
    const steps = await atEveryStep(when, async (world, death) => {
      const { uploadId } = await world.node().uploads.create(target)
      await allOf(world.node(), uploadId)
      const hasDied = await died(world.mortalNode(death).uploads.abort(target, uploadId))
      await world.node().uploads.abort(target, uploadId).catch((error: unknown) => { expect(error).toBeInstanceOf(NoSuchUpload) })
      expect((await world.node().uploads.list('photos')).uploads).toEqual([])
      await expect(world.node().head(target)).rejects.toThrow(NotFound)
      await world.sweep()
      expect(world.uploadRows()).toEqual([])
      expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [expect.anything()] })
      return { hasDied }
    })
    expect(steps).toBeGreaterThan(4)
  })

  test('of appending leaves a stream that goes on where it is, on another node', async () => {
    const steps = await atEveryStep(when, async (world, death) => {
      const node = world.node()
      const { uploadId } = await node.uploads.create(target)
      await node.uploads.append(target, uploadId, 0, bytesOf(one))
      const hasDied = await died(world.mortalNode(death).uploads.append(target, uploadId, one.length, bytesOf(two)))
      const { offset } = await node.uploads.offset(target, uploadId)
      await node.uploads.append(target, uploadId, offset, bytesOf((one + two).slice(offset)))
      await node.uploads.finish(target, uploadId, { sizeBytes: one.length + two.length })
      expect(await textOf(node)).toBe(one + two)
      return { hasDied }
    })
    expect(steps).toBeGreaterThan(6)
  })

  test('of removing the bucket leaves one that another removes, with its uploads', async () => {
    const steps = await atEveryStep(when, async (world, death) => {
      const { uploadId } = await world.node().uploads.create(target)
      await allOf(world.node(), uploadId)
      const hasDied = await died(world.mortalNode(death).removeBucket('photos'))
      await world.node().removeBucket('photos').catch((error: unknown) => { expect(error).toBeInstanceOf(NotFound) })
      await world.sweep()
      expect(world.uploadRows()).toEqual([])
      expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [expect.anything()] })
      return { hasDied }
    })
    expect(steps).toBeGreaterThan(5)
  })
})

describe('the sweep', () => {
  test.each(['complete', 'abort'] as const)('takes the rows of a %s whose node has died, though nobody comes back', async (end) => {
    let sweptSteps = 0
    await atEveryStep('after', async (world, death) => {
      const { uploadId } = await world.node().uploads.create(target)
      const parts = await allOf(world.node(), uploadId)
      const node = world.mortalNode(death)
      const hasDied = await died(end === 'complete' ? node.uploads.complete(target, uploadId, parts) : node.uploads.abort(target, uploadId))
      const isOver = world.rowOf('k')?.pending.length === 0
      if (isOver && world.uploadRows().length === 3) sweptSteps++
      await world.sweep()
      expect(world.uploadRows()).toHaveLength(isOver ? 0 : 3)
      return { hasDied }
    })
    expect(sweptSteps).toBeGreaterThan(0)
  })

  test('leaves what is under way alone', async () => {
    const world = await uploadWorld()
    const { uploadId } = await world.node().uploads.create(target)
    const parts = await allOf(world.node(), uploadId)
    await world.sweep()
    await world.node().uploads.complete(target, uploadId, parts)
    expect(await textOf(world.node())).toBe(one + two)
  })
})
