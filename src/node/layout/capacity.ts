import type { Config } from '../../config.ts'
import type { Files } from '../../disk/index.ts'

/** What this node offers for blocks: what it was told to, else what the disk has beyond the reserve now. */
export async function capacityOf ({ capacityBytes, reserveBytes }: Pick<Config, 'capacityBytes' | 'reserveBytes'>, files: Files): Promise<number> {
  return capacityBytes ?? Math.max(1, await files.freeBytes('.') - reserveBytes)
}
