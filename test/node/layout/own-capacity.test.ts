import { describe, expect, test } from 'vitest'
import { Refused } from '../../../src/base/errors.ts'
import { memoryFiles, type MemoryFiles } from '../../../src/disk/memory-files.ts'
import { OwnCapacity } from '../../../src/node/layout/own-capacity.ts'

interface Started { readonly capacity: OwnCapacity, readonly told: number[] }
async function started (files: MemoryFiles, { given, counted, isKeyless = false, refusal }: { given?: number, counted?: number, isKeyless?: boolean, refusal?: string }): Promise<Started> {
  const told: number[] = []
  const capacity = await OwnCapacity.open({
    files, given, counted: () => counted,
    tell: isKeyless ? undefined : async (bytes) => { if (refusal !== undefined) throw new Refused(refusal); told.push(bytes) },
  })
  await capacity.step({})
  return { capacity, told }
}

describe('how much a node takes', () => {
  test('is its setting, and nothing is said of it that was said when it joined', async () => {
    const { capacity, told } = await started(memoryFiles(), { given: 500, counted: 500 })
    expect([capacity.limitBytes, told, capacity.trouble]).toEqual([500, [], undefined])
  })
  test('without a setting is what the disk has, whatever that was when it joined', async () => {
    expect((await started(memoryFiles(), { counted: 777 })).capacity.limitBytes).toBeUndefined()
  })
  test('is another setting from the next start on, which the cluster is told once', async () => {
    const files = memoryFiles()
    await started(files, { given: 500, counted: 500 })
    const again = await started(files, { given: 800, counted: 500 })
    expect([again.capacity.limitBytes, again.told]).toEqual([500, [800]])
    const later = await started(files, { given: 800, counted: 800 })
    expect([later.capacity.limitBytes, later.told]).toEqual([800, []])
  })
  test('is what somebody said to the cluster since, over restarts too, until the setting changes', async () => {
    const files = memoryFiles()
    await started(files, { given: 500, counted: 500 })
    expect((await started(files, { given: 500, counted: 900 })).capacity.limitBytes).toBe(900)
    expect((await started(files, { given: 500, counted: 900 })).told).toEqual([])
    expect((await started(files, { given: 300, counted: 900 })).told).toEqual([300])
  })
  test('without a setting is what somebody said to the cluster', async () => {
    const files = memoryFiles()
    await started(files, { counted: 777 })
    expect((await started(files, { counted: 100 })).capacity.limitBytes).toBe(100)
  })
  test('on a node without keys is its setting, and health says that the cluster does not know', async () => {
    const files = memoryFiles()
    await started(files, { given: 500, counted: 500, isKeyless: true })
    const { capacity } = await started(files, { given: 800, counted: 500, isKeyless: true })
    expect(capacity.limitBytes).toBe(800)
    expect(capacity.trouble).toMatch(/dfs node set PEER --capacity 800/)
  })
  test('that the cluster refuses to count on is told as that', async () => {
    const files = memoryFiles()
    await started(files, { given: 500, counted: 500 })
    expect((await started(files, { given: 0, counted: 500, refusal: 'nobody would be left to hold blocks' })).capacity.trouble).toMatch(/nobody would be left/)
  })
  test('of a file that rotted is found out anew', async () => {
    const files = memoryFiles()
    await started(files, { given: 500, counted: 500 })
    files.flip('capacity', 12)
    expect((await started(files, { given: 500, counted: 500 })).capacity.limitBytes).toBe(500)
  })
})
