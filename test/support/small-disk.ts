import { execFile } from 'node:child_process'
import { appendFile, rm, stat, statfs, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryFolder } from './temporary.ts'

const run = promisify(execFile)

export interface SmallDisk extends AsyncDisposable {
  readonly path: string
  /** Takes all the space there is left, but for so much; of what it has taken before it frees no more than that asks. */
  fill (leaveBytes?: number): Promise<void>
  free (): Promise<void>
}

/** A file system of its own of so many bytes. @throws where none can be mounted, which takes root */
export async function smallDisk (sizeBytes: number): Promise<SmallDisk> {
  const folder = await temporaryFolder()
  await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', folder.path])
  const filler = join(folder.path, 'filler')
  return {
    path: folder.path,
    async fill (leaveBytes = 0) {
      const { bavail, bsize } = await statfs(folder.path)
      const missingBytes = bavail * bsize - leaveBytes
      if (missingBytes < 0) { await truncate(filler, (await stat(filler)).size + missingBytes); return }
      await appendFile(filler, new Uint8Array(missingBytes)).catch((error: NodeJS.ErrnoException) => {
        // whoever fills it too was quicker
        if (error.code !== 'ENOSPC') throw error
      })
    },
    free: async () => rm(filler, { force: true }),
    async [Symbol.asyncDispose] () {
      await run('umount', ['-l', folder.path])
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** Whether tests on a small disk can run here; says so if not. */
export async function canMount (): Promise<boolean> {
  try {
    await using _disk = await smallDisk(1024 ** 2)
    return true
  } catch (error) {
    console.warn(`SKIPPED: tests on a full disk need root, and a system that lets it mount (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`)
    return false
  }
}
