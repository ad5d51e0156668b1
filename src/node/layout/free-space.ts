import type { Files } from '../../disk/index.ts'

/** What the disk below the data folder has left, as it was when last measured: greetings and metrics tell it without waiting for a disk. */
export class FreeSpace {
  readonly #files: Pick<Files, 'freeBytes'>
  bytes = 0

  constructor (files: Pick<Files, 'freeBytes'>) { this.#files = files }

  async measure (): Promise<void> {
    this.bytes = await this.#files.freeBytes('.')
  }
}
