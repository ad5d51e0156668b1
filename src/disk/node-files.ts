import { type FileHandle, mkdir, open, opendir, rename, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { StoreFull } from '../base/errors.ts'
import { lend } from '../base/lease.ts'
import { type AppendFile, FileMissing, type Files, SyncFailed } from './index.ts'

/** The files port over a folder of the real disk. */
export function nodeFiles (root: string): Files {
  let temporaries = 0
  const at = (path: string): string => resolve(root, path)
  // pid and count make the name unique on this machine; a name left by a crash is overwritten, or removed as debris
  const beside = (target: string): string => `${target}.tmp-${process.pid}-${temporaries++}`
  return {
    // into one piece of memory of the right size: readFile gathers pieces and joins them; it is nobody else's, so whoever is done with it may give it back
    read: async (path) => withFile(at(path), 'r', path, async (file) => lend(await exactly(file, { offset: 0, length: (await file.stat()).size }, path))),
    readRange: async (path, range) => withFile(at(path), 'r', path, async (file) => exactly(file, range, path)),
    async size (path) {
      const found = await stat(at(path)).catch(absent)
      return found?.size
    },
    async writeDurable (path, parts, { mode = 0o600, temporaryFolder } = {}) {
      const target = at(path)
      const temporary = temporaryFolder === undefined ? beside(target) : join(at(temporaryFolder), `${process.pid}-${temporaries++}`)
      try {
        await withFile(temporary, 'w', path, async (file) => {
          await writeAll(file, parts)
          await synced(file)
        }, mode)
        await rename(temporary, target).catch(full)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
      await syncFolder(dirname(target))
    },
    async write (path, bytes) {
      const temporary = beside(at(path))
      try {
        await withFile(temporary, 'w', path, async (file) => { await writeAll(file, [bytes]) }, 0o600)
        await rename(temporary, at(path)).catch(full)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
    openAppend: async (path) => openAppend(at(path)),
    async rename (from, to) {
      await rename(at(from), at(to)).catch(missing(from))
      await syncFolder(dirname(at(to)))
      if (dirname(at(from)) !== dirname(at(to))) await syncFolder(dirname(at(from)))
    },
    syncFolder: async (path) => syncFolder(at(path)),
    async removeDebris (path) {
      for await (const { name, kind } of this.list(path)) if (kind === 'file' && /\.tmp-\d+-\d+$/.test(name)) await rm(join(at(path), name), { force: true })
    },
    async remove (path) { await rm(at(path), { force: true }) },
    async * list (path) {
      const folder = await opendir(at(path), { bufferSize: 256 }).catch(absent)
      if (folder === undefined) return
      for await (const entry of folder) {
        if (entry.isDirectory()) yield { name: entry.name, kind: 'folder', sizeBytes: 0 }
        else {
          const found = await stat(join(at(path), entry.name)).catch(absent)
          if (found !== undefined) yield { name: entry.name, kind: 'file', sizeBytes: found.size }
        }
      }
    },
    async ensureFolder (path) {
      const made = await mkdir(at(path), { recursive: true, mode: 0o700 }).catch(full)
      // every new level is an entry in the one above it
      for (let folder = at(path); made !== undefined && folder.length >= made.length; folder = dirname(folder)) await syncFolder(dirname(folder))
    },
    async ensureFolders (paths) {
      const parents = new Set<string>()
      for (const path of paths) {
        if (await mkdir(at(path), { recursive: true, mode: 0o700 }).catch(full) !== undefined) parents.add(dirname(at(path)))
      }
      for (const parent of parents) await syncFolder(parent)
    },
    async freeBytes (path) {
      const { bavail, bsize } = await statfs(at(path))
      return bavail * bsize
    },
  }
}

async function openAppend (path: string): Promise<AppendFile> {
  const isNew = await stat(path).catch(absent) === undefined
  const file = await open(path, 'a', 0o600).catch(full)
  if (isNew) await syncFolder(dirname(path))
  let sizeBytes = (await file.stat()).size
  return {
    get sizeBytes () { return sizeBytes },
    async append (parts) {
      try {
        sizeBytes += await writeAll(file, parts)
      } catch (error) {
        // what was written of it must not stand before what comes next
        await file.truncate(sizeBytes)
        throw error
      }
    },
    sync: async () => { await file.datasync().catch(syncFailed) },
    async truncate (size) {
      await file.truncate(size)
      sizeBytes = size
      await synced(file)
    },
    [Symbol.asyncDispose]: async () => { await file.close() },
  }
}

async function withFile<T> (path: string, flags: string, name: string, use: (file: FileHandle) => Promise<T>, mode?: number): Promise<T> {
  const file = await open(path, flags, mode).catch(missing(name))
  try { return await use(file) } finally { await file.close() }
}

async function exactly (file: FileHandle, { offset, length }: { offset: number, length: number }, name: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) throw new RangeError(`${name} ends ${length - done} bytes before ${offset + length}`)
    done += bytesRead
  }
  return bytes
}

// writev may take less than it is given, e.g. when the disk fills up
async function writeAll (file: FileHandle, parts: readonly Uint8Array[]): Promise<number> {
  let rest = parts.filter((part) => part.byteLength > 0)
  let total = 0
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest).catch(full)
    total += bytesWritten
    rest = after(rest, bytesWritten)
  }
  return total
}

function after (parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  return parts.flatMap((part) => {
    const kept = part.subarray(Math.min(skip, part.byteLength))
    skip -= Math.min(skip, part.byteLength)
    return kept.byteLength === 0 ? [] : [kept]
  })
}

async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r')
  try { await synced(folder) } finally { await folder.close() }
}

const synced = async (file: FileHandle): Promise<void> => { await file.sync().catch(syncFailed) }

function syncFailed (cause: unknown): never {
  throw new SyncFailed(`fsync failed: ${(cause as Error).message}`, { cause })
}

function absent (error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

function full (cause: NodeJS.ErrnoException): never {
  if (cause.code === 'ENOSPC' || cause.code === 'EDQUOT') throw new StoreFull('the disk is full', { cause })
  throw cause
}

function missing (path: string): (cause: NodeJS.ErrnoException) => never {
  return (cause) => {
    if (cause.code === 'ENOENT') throw new FileMissing(`there is no file ${path}`, { cause })
    return full(cause)
  }
}
