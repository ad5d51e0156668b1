import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Refused } from '../base/errors.ts'
import { isRunning, type ProcessIdentity, thisProcess } from '../base/process-identity.ts'

/**
 * One process a data folder. The lock file names the process that holds it and when that process started: a lock whose holder is gone, or whose pid was
 * given to another program, was left by a crash and is taken over.
 */
export async function lockFolder (folder: string): Promise<AsyncDisposable> {
  const path = join(folder, 'lock')
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    if (await create(path)) return { [Symbol.asyncDispose]: async () => { await rm(path, { force: true }) } }
    const holder = await holderOf(path)
    if (holder !== undefined && await isRunning(holder)) throw new Refused(`${folder} is in use by process ${holder.pid}; stop it first ("dfs stop --data ${folder}")`)
    await rm(path, { force: true })
  }
  throw new Refused(`${folder} could not be locked: other processes keep taking it`)
}

/** Who holds the folder now; undefined: nobody, or a process that is gone. */
export async function holderOfFolder (folder: string): Promise<ProcessIdentity | undefined> {
  const holder = await holderOf(join(folder, 'lock'))
  return holder !== undefined && await isRunning(holder) ? holder : undefined
}

/** Two starters may both find a stale lock; after a few rounds one of them holds it. */
const maxAttempts = 5

async function create (path: string): Promise<boolean> {
  const holder = JSON.stringify(await thisProcess())
  try {
    const file = await open(path, 'wx', 0o600)
    try { await file.writeFile(holder) } finally { await file.close() }
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function holderOf (path: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(path, 'utf8').catch(ifMissing)
  if (text === undefined) return undefined
  try { return JSON.parse(text) as ProcessIdentity } catch { return undefined } // a crash between creating and writing: nobody holds it
}

function ifMissing (error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
