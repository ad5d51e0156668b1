import type { Stats } from 'node:fs'
import { lstat, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { InvalidInput, Refused } from '../base/errors.ts'
import { fileError } from './file-errors.ts'

/** Where a download goes: a file takes its name when it is whole; a stream (standard output, a device, a pipe) takes the bytes as they come and is never replaced. */
export type Place =
  | { readonly kind: 'file', readonly path: string }
  | { readonly kind: 'stream', readonly path: string }

/** Where `get` writes a key: into a folder under the key's last part, as cp does. @throws InvalidInput where nothing can be written */
export async function placeOf (key: string, file: string | undefined): Promise<Place> {
  if (file === '-') return { kind: 'stream', path: file }
  const named = file ?? nameOf(key)
  const found = await statOf(named)
  if (found?.isDirectory() === true) return placeAt(join(named, nameOf(key)))
  if (named === '' || named.endsWith('/')) throw new InvalidInput('file', `"${named}" is no folder`)
  return placeAt(named)
}

/** The file, or what is there under its name. */
export async function placeAt (path: string): Promise<Place> {
  const found = await statOf(path)
  if (found === undefined) {
    if ((await statOf(dirname(path)))?.isDirectory() !== true) throw new InvalidInput('file', `there is no folder ${dirname(path)}`)
    return { kind: 'file', path }
  }
  if (found.isDirectory()) throw new InvalidInput('file', `${path} is a folder`)
  if (!found.isFile()) return { kind: 'stream', path }
  // what a link points to is replaced, and not the link
  return { kind: 'file', path: (await lstat(path)).isSymbolicLink() ? await realpath(path) : path }
}

/** A key is any text, and two may be ways to one file ("a//b", "a/./b"): only those that are the plain way to it are taken. One that ends with a slash is a folder's. @throws Refused */
export function insideOf (folder: string, path: string): string {
  const names = path.replace(/\/$/, '').split('/')
  if (path !== '' && (names.some((name) => ['', '.', '..'].includes(name)) || path.includes('\0'))) throw new Refused(`the key "${path}" is no path of a file below ${folder}; get it alone, under a name of your choice`)
  return join(folder, ...names)
}

function nameOf (key: string): string {
  const name = key.split('/').at(-1) ?? ''
  if (['', '.', '..'].includes(name) || name.includes('\0')) throw new InvalidInput('file', `the last part of "${key}" is no file name; say which file to write`)
  return name
}

async function statOf (path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined; throw error }).catch(fileError(path))
}
