import { concat } from '../base/bytes.ts'
import { StoreFull } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type AppendFile, FileMissing, type Files, SyncFailed } from './index.ts'

/**
 * The files port in memory, with what a power failure does to a disk: content that was not synced may be lost, kept or torn, and so may names that their
 * folder was not synced for. For tests and simulations; every choice is the given random's.
 */
export interface MemoryFiles extends Files {
  /** The disk as it may be found after the power failed now. This one is to be used no more. */
  crash (random: Random): MemoryFiles
  /** The next operations of a kind fail, as often as said; so many `after` that go well. */
  fail (kind: 'write' | 'sync' | 'read', options?: { times?: number, after?: number, error?: 'ENOSPC' | 'EIO' }): void
  /** Flips one bit of a file, synced or not. */
  flip (path: string, bit: number): void
  readonly paths: readonly string[]
}

interface File { synced: Uint8Array, current: Uint8Array }

const folderOf = (path: string): string => path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.'

export function memoryFiles (entries: Iterable<readonly [string, File]> = []): MemoryFiles {
  // names as a reader sees them, and as the disk has them for certain
  const names = new Map<string, File>(entries)
  const durable = new Map<string, File>(names)
  const failures = { write: { times: 0, after: 0, error: 'ENOSPC' }, sync: { times: 0, after: 0, error: 'EIO' }, read: { times: 0, after: 0, error: 'EIO' } }

  const trip = (kind: keyof typeof failures): void => {
    const failure = failures[kind]
    if (failure.times === 0 || failure.after-- > 0) return
    failure.after = 0
    failure.times--
    if (kind === 'sync') throw new SyncFailed('fsync failed: EIO')
    throw failure.error === 'ENOSPC' ? new StoreFull('the disk is full') : Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
  }
  const find = (path: string): File => {
    trip('read')
    const file = names.get(path)
    if (file === undefined) throw new FileMissing(`there is no file ${path}`)
    return file
  }
  const syncFolder = (folder: string): void => {
    trip('sync')
    for (const path of new Set([...names.keys(), ...durable.keys()])) {
      if (folderOf(path) !== folder) continue
      const file = names.get(path)
      if (file === undefined) durable.delete(path)
      else durable.set(path, file)
    }
  }
  const sync = (file: File): void => { trip('sync'); file.synced = file.current }

  return {
    get paths () { return [...names.keys()] },
    read: async (path) => find(path).current.slice(),
    async readRange (path, { offset, length }) {
      const { current } = find(path)
      if (offset + length > current.byteLength) throw new RangeError(`${path} is shorter`)
      return current.slice(offset, offset + length)
    },
    size: async (path) => { trip('read'); return names.get(path)?.current.byteLength },
    async writeDurable (path, parts) {
      trip('write')
      const file: File = { synced: new Uint8Array(0), current: concat([...parts]) }
      sync(file)
      names.set(path, file)
      syncFolder(folderOf(path))
    },
    async write (path, bytes) {
      trip('write')
      names.set(path, { synced: new Uint8Array(0), current: bytes.slice() })
    },
    async openAppend (path): Promise<AppendFile> {
      if (!names.has(path)) { names.set(path, { synced: new Uint8Array(0), current: new Uint8Array(0) }); syncFolder(folderOf(path)) }
      const file = find(path)
      return {
        get sizeBytes () { return file.current.byteLength },
        async append (parts) { trip('write'); file.current = concat([file.current, ...parts]) },
        sync: async () => { sync(file) },
        async truncate (size) { file.current = file.current.slice(0, size); sync(file) },
        [Symbol.asyncDispose]: async () => {},
      }
    },
    async rename (from, to) {
      const file = find(from)
      names.set(to, file)
      names.delete(from)
      syncFolder(folderOf(to))
      syncFolder(folderOf(from))
    },
    syncFolder: async (path) => { syncFolder(path) },
    remove: async (path) => { names.delete(path) },
    removeDebris: async () => {},
    async * list (path) {
      const seen = new Set<string>()
      for (const [name, file] of names) {
        if (!name.startsWith(`${path}/`)) continue
        const [first = '', ...rest] = name.slice(path.length + 1).split('/')
        if (seen.has(first)) continue
        seen.add(first)
        yield { name: first, kind: rest.length > 0 ? 'folder' : 'file', sizeBytes: rest.length > 0 ? 0 : file.current.byteLength }
      }
    },
    ensureFolder: async () => {},
    ensureFolders: async () => {},
    freeBytes: async () => 1024 ** 4,

    crash (random) {
      const survivors = new Map<string, File>()
      for (const path of new Set([...names.keys(), ...durable.keys()])) {
        // a name whose folder was synced is certain; another may be the old one, the new one, or none
        const [now, then] = [names.get(path), durable.get(path)]
        const file = now === then || random.fraction() < 0.5 ? now : then
        if (file !== undefined) survivors.set(path, found(file, random))
      }
      return memoryFiles(survivors)
    },
    fail (kind, { times = 1, after = 0, error = failures[kind].error as 'EIO' } = {}) { failures[kind] = { times, after, error } },
    flip (path, bit) {
      const file = names.get(path)
      if (file === undefined) throw new FileMissing(path)
      const bytes = file.current.slice()
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      file.current = file.synced = bytes
    },
  }
}

/** Of what was not synced: nothing, all, a beginning, or the length with blocks of zeros in it. */
function found ({ synced, current }: File, random: Random): File {
  if (synced === current) return { synced, current }
  const fate = Math.floor(random.fraction() * 4)
  const bytes = fate === 0 ? synced : fate === 1 ? current : fate === 2 ? beginning(synced, current, random) : withHoles(synced, current, random)
  return { synced: bytes, current: bytes }
}

function beginning (synced: Uint8Array, current: Uint8Array, random: Random): Uint8Array {
  const least = Math.min(synced.byteLength, current.byteLength)
  return current.slice(0, least + Math.floor(random.fraction() * (current.byteLength - least + 1)))
}

const blockBytes = 512

function withHoles (synced: Uint8Array, current: Uint8Array, random: Random): Uint8Array {
  const bytes = current.slice()
  const fresh = bytes.subarray(synced.byteLength)
  for (let at = 0; at < fresh.byteLength; at += blockBytes) {
    if (at === 0 || random.fraction() < 0.5) fresh.fill(0, at, at + blockBytes)
  }
  return bytes
}
