import type { Files } from '../../disk/index.ts'
import { leftOutOf } from '../../protocols/store.ts'

/** As `leftOutOf`, over restarts: one that was drained, and is started again, has been left out all the same. */
export async function leftOutOver (files: Pick<Files, 'size' | 'writeDurable'>, { warn, ...of }: Omit<Parameters<typeof leftOutOf>[0], 'hasHeld' | 'onHolding'> & { readonly warn: (message: string, cause: unknown) => void }): Promise<() => boolean> {
  return leftOutOf({
    ...of,
    hasHeld: await files.size(path) !== undefined,
    // one that fails is made up for by the next start
    onHolding: () => { files.writeDurable(path, [Uint8Array.of(1)]).catch((error: unknown) => { warn('that this node holds blocks could not be written down', error) }) },
  })
}

const path = 'has-held'
