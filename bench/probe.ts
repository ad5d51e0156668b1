import { renameSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import v8 from 'node:v8'
import { socketBytes, type SocketBytesByPort } from './wire.ts'

/**
 * Loaded into every measured node (`--import`). On SIGUSR2 the node writes what only the process itself knows into a file named by its process id, in the
 * folder that the environment names; bench/nodes.ts asks and reads it.
 */
export interface ProbeAnswer {
  readonly bytes: SocketBytesByPort
  /** V8 flags that it set after its start. */
  readonly flags: readonly string[]
}

export const probeFolderVariable = 'DFS_BENCH_PROBE'

const folder = process.env[probeFolderVariable]
if (folder !== undefined) {
  const flags: string[] = []
  const { setFlagsFromString } = v8
  v8.setFlagsFromString = (flag) => { flags.push(flag); setFlagsFromString(flag) }
  syncBuiltinESMExports()
  process.on('SIGUSR2', () => {
    const file = `${folder}/${process.pid}`
    writeFileSync(`${file}.part`, JSON.stringify({ bytes: socketBytes(), flags } satisfies ProbeAnswer))
    renameSync(`${file}.part`, file)
  })
}
