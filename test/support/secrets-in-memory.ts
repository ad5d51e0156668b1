import { open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { filesIn } from './real-cluster.ts'

/** What must not be found, by a name for the report. */
export type Needles = Readonly<Record<string, Uint8Array>>

const pieceBytes = 4 * 1024 * 1024

/** Names of the needles that lie in the anonymous writable memory of a process: heaps, stacks and buffers, as the kernel shows them to root. */
export async function foundInMemory (pid: number, needles: Needles): Promise<Set<string>> {
  const found = new Set<string>()
  await using memory = await open(`/proc/${pid}/mem`, 'r')
  for (const [from, to] of anonymousMappings(await readFile(`/proc/${pid}/maps`, 'utf8'))) {
    const overlap = Math.max(...Object.values(needles).map(({ byteLength }) => byteLength))
    for (let at = from; at < to; at += pieceBytes - overlap) {
      const piece = Buffer.alloc(Math.min(pieceBytes, to - at))
      // a mapping may go while it is read: what is gone holds nothing any more
      const bytesRead = await memory.read(piece, 0, piece.byteLength, at).then(({ bytesRead: count }) => count, () => 0)
      search(piece.subarray(0, bytesRead), needles, found)
      if (at + piece.byteLength >= to) break
    }
  }
  return found
}

/** As of memory, in every file below a folder. */
export async function foundOnDisk (folder: string, needles: Needles): Promise<Set<string>> {
  const found = new Set<string>()
  for (const file of await filesIn(folder)) {
    const path = join(folder, file)
    // files come and go while a node runs
    if (await stat(path).catch(() => undefined) !== undefined) search(await readFile(path).catch(() => Buffer.alloc(0)), needles, found)
  }
  return found
}

function search (bytes: Buffer, needles: Needles, found: Set<string>): void {
  for (const [name, needle] of Object.entries(needles)) if (bytes.includes(Buffer.from(needle))) found.add(name)
}

const anonymousMappings = (maps: string): ReadonlyArray<readonly [number, number]> => maps.split('\n').flatMap((line) => {
  const match = /^([0-9a-f]+)-([0-9a-f]+) rw\S* \S+ \S+ \d+\s*(.*)$/.exec(line)
  const isAnonymous = match?.[3] === '' || match?.[3]?.startsWith('[') === true
  return match !== null && isAnonymous ? [[Number.parseInt(match[1] as string, 16), Number.parseInt(match[2] as string, 16)] as const] : []
})
