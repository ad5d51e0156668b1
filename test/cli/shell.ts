import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { dfsPath, type Finished } from '../../scripts/local-cluster.ts'

/** Runs lines of a shell in which `dfs` is the command. */
export async function shell (script: string, { cwd, env = {} }: { cwd?: string, env?: Readonly<Record<string, string>> } = {}): Promise<Finished> {
  return finished(spawn('bash', ['-c', script], { cwd, env: { ...process.env, ...env, PATH: `${dirname(dfsPath)}:${process.env.PATH}` } }))
}

/** What a process printed, once it has ended; -1 where a signal ended it. */
export async function finished (child: ChildProcess): Promise<Finished> {
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
  child.stdout?.on('data', (bytes: Buffer) => { stdout.push(bytes) })
  child.stderr?.on('data', (bytes: Buffer) => { stderr.push(bytes) })
  const [code] = await once(child, 'close') as [number | null]
  return { code: code ?? -1, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
}
