import { execFile } from 'node:child_process'
import { readFile, rename, rm, rmdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { until } from '../../scripts/local-cluster.ts'

const run = promisify(execFile)

/** Why disks in images cannot be had here; undefined: they can. */
export async function whyNoImages (): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root may mount'
  try {
    await run('sh', ['-c', 'command -v mkfs.ext4 && command -v losetup && losetup --find'])
    return undefined
  } catch (error) {
    return `there is no mkfs.ext4, no losetup or no free loop device: ${String(error)}`
  }
}

/**
 * A file system of its own in a file. What has not been written through to the file is lost with the power: neither the pages that the kernel holds of the
 * file system, nor its journal's last seconds, are in a copy of the file.
 */
export class ImageDisk {
  readonly #image: string
  readonly #mountPoint: string
  #device = ''

  private constructor (image: string, mountPoint: string) {
    this.#image = image
    this.#mountPoint = mountPoint
  }

  static async make (image: string, mountPoint: string, { sizeBytes }: { sizeBytes: number }): Promise<ImageDisk> {
    await run('truncate', ['-s', String(sizeBytes), image])
    await run('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image])
    await run('mkdir', ['-p', mountPoint])
    const disk = new ImageDisk(image, mountPoint)
    await disk.mount()
    await rmdir(join(mountPoint, 'lost+found'))
    return disk
  }

  async mount (): Promise<void> {
    const { stdout } = await run('losetup', ['--find', '--show', this.#image])
    this.#device = stdout.trim()
    // a commit of its own accord would save what nobody asked to be saved
    await run('mount', ['-o', 'commit=300', this.#device, this.#mountPoint])
  }

  async unmount (): Promise<void> {
    await run('umount', [this.#mountPoint])
    await run('losetup', ['--detach', this.#device])
  }

  /**
   * The power goes: what is in the file now is all that is left, and is mounted in its place. Whoever wrote to the disk must be stopped when this is called, and
   * be gone when `thenGone` resolves.
   */
  async losePower (thenGone: () => Promise<void>): Promise<void> {
    const copy = `${this.#image}.copy`
    // a copy that something was written under is no state that the disk was ever in
    await until(`a whole copy of ${this.#image}`, 60_000, async () => {
      const before = await this.#writes()
      await run('cp', ['--sparse=always', this.#image, copy])
      return await this.#writes() === before
    })
    await thenGone()
    await this.unmount()
    await rename(copy, this.#image)
    await this.mount()
  }

  async remove (): Promise<void> {
    await this.unmount()
    await rm(this.#image)
  }

  /** How much was written, and how much is under way. */
  async #writes (): Promise<string> {
    const fields = (await readFile(`/sys/block/${basename(this.#device)}/stat`, 'utf8')).trim().split(/\s+/)
    return `${fields[4]} ${fields[6]} ${fields[8]}`
  }
}
