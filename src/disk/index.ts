import type { StoreFull } from '../base/errors.ts'

/**
 * The two ports every byte on disk goes through. Each has a Node implementation and an in-memory one that models a crash
 * (what was not synced may be lost, torn or kept), and one contract suite runs on both.
 */

/** Files in folders. Paths are absolute, or relative to the implementation's root; separators are '/'. */
export interface Files {
  /** @throws FileMissing, or what the disk said (EIO…); never "missing" for any other failure */
  read (path: string): Promise<Uint8Array>
  /** Exactly `length` bytes from `offset`. @throws FileMissing; RangeError if the file is shorter */
  readRange (path: string, range: { offset: number, length: number }): Promise<Uint8Array>
  /** Size in bytes, or undefined if there is no such file. */
  size (path: string): Promise<number | undefined>
  /**
   * Replaces or creates `path` with the concatenated parts: temp file beside it, write, fsync, rename, fsync of the folder.
   * When it resolves the file is whole and durable; when it throws, `path` is as it was, but after SyncFailed it may be either. `mode` as chmod (default
   * 0600). With `temporaryFolder` (on the same file system, there already) a crash leaves its debris in that one folder.
   * @throws StoreFull on ENOSPC/EDQUOT; SyncFailed if an fsync failed (then nothing that the disk says is to be trusted)
   */
  writeDurable (path: string, parts: readonly Uint8Array[], options?: { mode?: number, temporaryFolder?: string }): Promise<void>
  /** Replaces or creates `path` without any sync: for what may be lost. Never seen half-written by a reader. @throws StoreFull */
  write (path: string, bytes: Uint8Array): Promise<void>
  /** Opens for appending, creating it durably if absent. */
  openAppend (path: string): Promise<AppendFile>
  /** Renames and syncs both folders. */
  rename (from: string, to: string): Promise<void>
  /** What was renamed into the folder, by this process or one before it, is durable when it resolves. @throws SyncFailed */
  syncFolder (path: string): Promise<void>
  /** Removes a file; absent is fine. Not synced: a crash may bring it back. */
  remove (path: string): Promise<void>
  /** Removes what a crash left, in this folder, of files that were being written. For who alone writes there, before it does. */
  removeDebris (path: string): Promise<void>
  /** Names in a folder in no order; nothing if there is no such folder. */
  list (path: string): AsyncIterable<{ name: string, kind: 'file' | 'folder', sizeBytes: number }>
  /** Creates the folder and its parents durably (mode 0700). */
  ensureFolder (path: string): Promise<void>
  /** Creates many folders, whose parents are among them or there already, with one sync for each parent instead of one for each folder. */
  ensureFolders (paths: readonly string[]): Promise<void>
  /** Bytes a writer may still use on this file system. */
  freeBytes (path: string): Promise<number>
}

/** That is what a bad sector says, and what file systems with checks of their own do, of a file that is there; what has to do with rights, or with the process, is of no file in particular. */
export const isReadFault = (error: unknown): error is Error => error instanceof Error && 'code' in error && ['EIO', 'EBADMSG', 'EUCLEAN'].includes(String(error.code))

export interface AppendFile extends AsyncDisposable {
  /** Bytes in the file, with what was appended and not yet synced. */
  readonly sizeBytes: number
  /** One write of the concatenated parts at the end. @throws StoreFull; then the file is cut back to where it was */
  append (parts: readonly Uint8Array[]): Promise<void>
  /** fdatasync. @throws SyncFailed; never retried */
  sync (): Promise<void>
  /** Cuts the file to `sizeBytes` and syncs. */
  truncate (sizeBytes: number): Promise<void>
}

/** Ordered by byte order of keys. */
export interface KeyValue extends AsyncDisposable {
  get (key: Uint8Array): Promise<Uint8Array | undefined>
  getMany (keys: readonly Uint8Array[]): Promise<Array<Uint8Array | undefined>>
  /**
   * All or none, in order; batches of one moment share a sync, and its failure. With `sync` it is durable when it resolves; with 'all' everything before it is too, which is not the same: LevelDB closes a full
   * log unsynced, and syncs the one it goes on in. @throws StoreFull, SyncFailed. After StoreFull what was not synced
   * may be gone (also where one that was to be synced is taken nevertheless, for there is room again), and batches are taken again when there is room; after SyncFailed none is taken until the store is opened afresh
   */
  batch (changes: readonly KeyValueChange[], options: { sync: boolean | 'all' }): Promise<void>
  /** Why the last batch was not taken, nor the next may be; what is there can still be read. */
  readonly failure: StoreFull | SyncFailed | undefined
  /** From a snapshot taken at the call; lower bound inclusive, upper exclusive. @throws StoreFull if it was opened afresh meanwhile: walk again */
  entries (range: KeyRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>
  keys (range: KeyRange): AsyncIterable<Uint8Array>
}

export type KeyValueChange =
  | { readonly type: 'put', readonly key: Uint8Array, readonly value: Uint8Array }
  | { readonly type: 'delete', readonly key: Uint8Array }

export interface KeyRange {
  readonly from?: Uint8Array
  readonly to?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

/** There is no such file: proven, not guessed. */
export class FileMissing extends Error {
  override name = 'FileMissing'
}

/** An fsync failed, or a write of which is not known how far it got: dirty pages may have been dropped (https://lwn.net/Articles/752063/). The store must go read-only. */
export class SyncFailed extends Error {
  override name = 'SyncFailed'
}
