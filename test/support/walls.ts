import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { dfsPath } from '../../scripts/local-cluster.ts'

const run = promisify(execFile)
const chains = 'DFS-WALLS-'
const chain = `${chains}${process.pid}`
const firstUser = 61_000

/** Why packets cannot be dropped here; undefined: they can. */
export async function whyNoWalls (): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root may filter packets'
  try {
    await run('sh', ['-c', 'command -v iptables && command -v setpriv && iptables -L OUTPUT -n'])
    return undefined
  } catch (error) {
    return `there is no iptables or no setpriv: ${String(error)}`
  }
}

/** The address on which the index-th node listens. */
export const addressOfNode = (index: number): string => `127.0.1.${index + 1}`

/**
 * Walls between nodes of this machine: each runs as a user of its own and listens on an address of its own, so that packets can be dropped by who sends them and
 * to whom. They vanish without a word, as where a cable is cut; the local APIs, on 127.0.0.1, are not cut off.
 */
export class Walls implements AsyncDisposable {
  readonly #folder: string

  private constructor (folder: string) { this.#folder = folder }

  static async raise (folder: string): Promise<Walls> {
    await chmod(folder, 0o755)
    await removeWhatKilledTestsLeft()
    await run('iptables', ['-N', chain])
    await run('iptables', ['-I', 'OUTPUT', '-o', 'lo', '-j', chain])
    return new Walls(folder)
  }

  /** What runs dfs as the user of the index-th node, with a data folder that is that user's. */
  async programOf (index: number): Promise<string> {
    const [user, program, data] = [firstUser + index, join(this.#folder, `dfs-${index + 1}`), join(this.#folder, `node-${index + 1}`)]
    await mkdir(data)
    await chown(data, user, user)
    await writeFile(program, `#!/bin/sh\nexport NODE_COMPILE_CACHE='' HOME=${data}\nexec setpriv --reuid ${user} --regid ${user} --clear-groups ${dfsPath} "$@"\n`, { mode: 0o755 })
    return program
  }

  /** Nothing goes from one to the other any more, whoever opened the connection; what comes the other way arrives. */
  async cut (from: number, to: number): Promise<void> {
    const sender = ['-m', 'owner', '--uid-owner', String(firstUser + from)]
    await run('iptables', ['-A', chain, ...sender, '-d', addressOfNode(to), '-j', 'DROP'])
  }

  /** Neither hears the other. */
  async part (one: number, other: number): Promise<void> {
    await this.cut(one, other)
    await this.cut(other, one)
  }

  /** Hears everybody, and is heard by nobody. */
  async mute (index: number, others: readonly number[]): Promise<void> {
    const sender = ['-m', 'owner', '--uid-owner', String(firstUser + index)]
    for (const other of others) await this.cut(index, other)
    await run('iptables', ['-A', chain, ...sender, '-s', addressOfNode(index), '-j', 'DROP'])
  }

  async fall (): Promise<void> { await run('iptables', ['-F', chain]) }

  async [Symbol.asyncDispose] (): Promise<void> {
    await remove(chain)
  }
}

async function remove (name: string): Promise<void> {
  await run('iptables', ['-F', name])
  await run('iptables', ['-D', 'OUTPUT', '-o', 'lo', '-j', name])
  await run('iptables', ['-X', name])
}

/** A test that is killed leaves its walls standing, and the users and addresses of the next are the same. */
async function removeWhatKilledTestsLeft (): Promise<void> {
  const { stdout } = await run('iptables', ['-S', 'OUTPUT'])
  for (const [, name, pid] of stdout.matchAll(new RegExp(`-j (${chains}(\\d+))`, 'g'))) {
    if (existsSync(`/proc/${pid}`)) throw new Error(`process ${pid} has walls here already: run one test with walls at a time`)
    await remove(name!)
  }
}
