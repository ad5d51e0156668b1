import { open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { ClusterKeys } from '../../src/encryption/index.ts'
import { derived } from '../../src/encryption/keys.ts'
import { memberIn } from './member.ts'
import { filesIn } from './real-cluster.ts'

/** What must not be found, by a name for the report. */
export type Needles = Readonly<Record<string, Uint8Array>>

/** What a node without keys must never have: secrets and keys of the member whose folder this is, and names. */
export async function secretsOf (data: string, names: { readonly bucket: string, readonly object: string }): Promise<Needles> {
  const { keyring: { ring, clusterId } } = await memberIn(data)
  if (ring === undefined) throw new Error('a member without a ring')
  const keys = new ClusterKeys({ clusterId, ...ring })
  const secret = ring.epochs.get(1) as Uint8Array
  return {
    S: secret, N: ring.names, 'S in hexadecimal': utf8(hexOf(secret)), 'N in hexadecimal': utf8(hexOf(ring.names)),
    'key of names': keys.name, 'key of votes': keys.epoch(1).vote, 'key of deaths': keys.epoch(1).delete, 'key of rows': derived(secret, clusterId, 'row-key'),
    'name of the bucket': utf8(names.bucket), 'name of the object': utf8(names.object),
  }
}

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
