import { readFile } from 'node:fs/promises'

/** A process, told apart from a later one of the same pid by when it started (clock ticks since boot; empty where there is no /proc). */
export interface ProcessIdentity { readonly pid: number, readonly started: string }

export const thisProcess = async (): Promise<ProcessIdentity> => ({ pid: process.pid, started: await startOf(process.pid) })

/** Whether it still runs on this machine: what it has claimed here is its own until then. */
export async function isRunning ({ pid, started }: ProcessIdentity): Promise<boolean> {
  try { process.kill(pid, 0) } catch (error) { if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false }
  return await startOf(pid) === started
}

// field 22 of /proc/PID/stat (proc(5)); the second field, the program's name, may hold spaces and parentheses
async function startOf (pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(ifMissing)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

function ifMissing (error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error
}
