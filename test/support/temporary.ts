import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type TemporaryFolder = AsyncDisposable & { readonly path: string }

/** A folder that is gone after the test: `await using folder = await temporaryFolder()`. */
export async function temporaryFolder (parent = tmpdir()): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(parent, 'dfs-test-'))
  // again and again, for the children of a killed process may still be writing there
  return { path, [Symbol.asyncDispose]: async () => { await rm(path, { recursive: true, force: true, maxRetries: 10 }) } }
}
