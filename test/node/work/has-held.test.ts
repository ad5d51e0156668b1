import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { leftOutOver } from '../../../src/node/work/has-held.ts'

const [self, other] = ['12D3a', '12D3b'] as unknown as [PeerId, PeerId]

test('a node that was left out, and is started again, is left out still (it took blocks, though it may have been told that it may be switched off)', async () => {
  const files = memoryFiles()
  let holding: readonly PeerId[] = [other]
  const start = async (): Promise<() => boolean> => leftOutOver(files, { self, holders: () => holding, warn: (_, cause) => { throw cause as Error } })
  const isLeftOut = await start()
  // it has just joined, and is to hold by a layout that it has not heard of
  expect(isLeftOut()).toBe(false)
  holding = [self, other]
  expect(isLeftOut()).toBe(false)
  await setImmediate()
  holding = [other]
  expect(isLeftOut()).toBe(true)
  expect((await start())()).toBe(true)
  // it is taken in again
  holding = [self, other]
  expect((await start())()).toBe(false)
})

test('a node that holds blocks when it starts knows so after the next start', async () => {
  const files = memoryFiles()
  await leftOutOver(files, { self, holders: () => [self], warn: (_, cause) => { throw cause as Error } })
  await setImmediate()
  expect((await leftOutOver(files, { self, holders: () => [other], warn: (_, cause) => { throw cause as Error } }))()).toBe(true)
})
