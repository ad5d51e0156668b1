import { isUtf8 } from 'node:buffer'
import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidInput } from '../base/errors.ts'
import { fileError } from './file-errors.ts'

/** A file below a folder, or why what is there cannot be taken. `path` is the way from the folder, with slashes. */
export type TreeEntry = { readonly path: string } & ({ readonly file: string } | { readonly error: unknown })

/** What a tree has and an object store has not. */
export type LeftOut = Record<'symbolic links' | 'empty folders' | 'special files', number>

/** Every file below a folder, names in byte order; what is left out is counted. Links are not followed: they may leave the folder, or lead round in it. */
export async function * filesBelow (folder: string, leftOut: LeftOut, above = ''): AsyncIterable<TreeEntry> {
  const entries = await entriesOf(folder)
  if (entries instanceof Error) { yield { path: above, error: entries }; return }
  if (entries.length === 0) leftOut['empty folders']++
  for (const entry of entries.toSorted((a, b) => Buffer.compare(a.name, b.name))) {
    const name = entry.name.toString()
    const [path, file] = [above + name, join(folder, name)]
    if (entry.isSymbolicLink()) leftOut['symbolic links']++
    else if (!entry.isFile() && !entry.isDirectory()) leftOut['special files']++
    // keys are UTF-8; the replacement characters that such a name is read with name no file
    else if (!isUtf8(entry.name)) yield { path, error: new InvalidInput('file', `the name of ${file} is no UTF-8, which keys are`) }
    else if (entry.isDirectory()) yield * filesBelow(file, leftOut, `${path}/`)
    else yield { path, file }
  }
}

async function entriesOf (folder: string): Promise<Dirent<Buffer>[] | Error> {
  try {
    return await readdir(folder, { withFileTypes: true, encoding: 'buffer' }).catch(fileError(folder))
  } catch (error) {
    return error as Error
  }
}
