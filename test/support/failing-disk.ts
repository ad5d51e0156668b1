import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryFolder } from './temporary.ts'

const run = promisify(execFile)

/** A file system that becomes read-only when it is told to, as ext4 does when its disk fails: what is open for writing too. */
export interface FailingDisk extends AsyncDisposable {
  readonly path: string
  fail (): Promise<void>
  /** Checked, and mounted afresh; nobody may use it meanwhile. */
  mend (): Promise<void>
}

export async function failingDisk (sizeBytes: number): Promise<FailingDisk> {
  const folder = await temporaryFolder()
  const [image, path] = [join(folder.path, 'image'), join(folder.path, 'disk')]
  await run('truncate', ['-s', String(sizeBytes), image])
  await run('mkfs.ext4', ['-q', image])
  await run('mkdir', ['-p', path])
  const device = (await run('losetup', ['--find', '--show', image])).stdout.trim()
  const mount = async (): Promise<void> => { await run('mount', ['-o', 'errors=remount-ro', device, path]) }
  await mount()
  return {
    path,
    fail: async () => writeFile(`/sys/fs/ext4/${basename(device)}/trigger_fs_error`, 'a test'),
    async mend () {
      await run('umount', [path])
      // its exit code is 1 when it has mended something
      await run('e2fsck', ['-p', '-f', device]).catch((error: { code?: number }) => { if (error.code !== 1) throw error as Error })
      await mount()
    },
    async [Symbol.asyncDispose] () {
      await run('umount', ['-l', path])
      await run('losetup', ['--detach', device])
      await rm(image, { force: true })
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** Whether there can be one here; says so if not. */
export async function canFail (): Promise<boolean> {
  try {
    await using disk = await failingDisk(16 * 1024 ** 2)
    await disk.fail()
    const isReadOnly = await writeFile(join(disk.path, 'file'), '').then(() => false, () => true)
    if (!isReadOnly) throw new Error('it still takes writes')
    return true
  } catch (error) {
    process.stderr.write(`SKIPPED: a disk that becomes read-only needs root, ext4, loop devices and /sys/fs/ext4 (${error instanceof Error ? error.message.split('\n')[0] : String(error)})\n`)
    return false
  }
}
