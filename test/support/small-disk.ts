import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryFolder } from './temporary.ts'

const run = promisify(execFile)

export interface SmallDisk extends AsyncDisposable {
  readonly path: string
  /** Takes all the space there is left, but for so much. */
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
      await rm(filler, { force: true })
      const { stdout } = await run('stat', ['-f', '-c', '%a %S', folder.path])
      const [blocks = 0, blockBytes = 0] = stdout.split(' ').map(Number)
      await writeFile(filler, new Uint8Array(blocks * blockBytes - leaveBytes))
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
