import type * as FilesModule from 'node:fs/promises'
import { readFile } from 'node:fs/promises'
import { describe, expect, test, vi } from 'vitest'
import { combiner } from '../../src/erasure/combine.ts'
import { gearScanner } from '../../src/file/gear.ts'

vi.mock('node:fs/promises', async (original) => {
  const files = await original<typeof FilesModule>()
  return { ...files, readFile: vi.fn(files.readFile) }
})

const noFileMore = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })

describe('a kernel in WASM whose file could not be read, for too many were open', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['of Reed-Solomon', combiner],
    ['of the chunker', async () => gearScanner(new Uint32Array(256), 1024)],
  ])('is read by who needs it next: %s (every put failed until the node was started again)', async (_what, load) => {
    vi.mocked(readFile).mockRejectedValueOnce(noFileMore)
    await expect(load()).rejects.toThrow('EMFILE')
    await expect(load()).resolves.toBeDefined()
  })
})
