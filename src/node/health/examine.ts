import { stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { DfsError } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import type { Config } from '../../config.ts'
import { holderOfFolder } from '../../disk/folder-lock.ts'
import { damageBeforeOpening } from '../../disk/level-damage.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import type { Secrets } from '../../node.ts'
import { examineRows } from '../../tables/row-evidence.ts'
import { aNote, anError, aWarning, type Finding } from './findings.ts'
import { keyringKeyOf, readKeyring } from '../membership/keys.ts'
import { readFacts } from '../state.ts'
import { indexFolders } from '../stores.ts'

export interface ExamineOptions {
  readonly config: Config
  /** What opens the keyring, if it is known without asking. */
  readonly secrets: Secrets | undefined
  /** A node runs over the folder: its files are being written, and only what stands around them is looked at. */
  readonly isRunning: boolean
}

/** What a data folder tells of itself, with the node running or not. Reads, and changes nothing. */
export async function examineFolder ({ config, secrets, isRunning }: ExamineOptions): Promise<readonly Finding[]> {
  const files = nodeFiles(config.data)
  if (await files.size('keyring') === undefined) {
    return [anError('no-node', `${config.data} is no node's data folder`, { means: 'there is no keyring in it', todo: '"dfs init" makes a cluster, "dfs join TOKEN" joins one; or say which folder with --data' })]
  }
  const around = [...await permissions(config.data), ...await keyBeside(config), ...await room(config)]
  if (isRunning) return around
  return [...around, ...await lock(config.data), ...await told('keyring', async () => { await openedKeyring(config.data, secrets) }), ...await told('cluster', async () => { await readFacts(files) }), ...secrets === undefined ? [keyringUntried] : [], ...await rowsOf(config.data), ...await indexes(config.data)]
}

const secret = ['keyring', 'key', 'api.json', 'invites'] as const

async function permissions (data: string): Promise<readonly Finding[]> {
  const found: Finding[] = []
  for (const name of ['', ...secret]) {
    const path = join(data, name)
    const mode = await stat(path).then((status) => status.mode, (error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return undefined; throw error })
    if (mode === undefined || (mode & 0o077) === 0) continue
    const text = (mode & 0o777).toString(8).padStart(4, '0')
    found.push(name === ''
      ? aWarning('permissions', `${path} has mode ${text}`, { means: 'others on this machine may look into it', todo: `chmod 700 ${path}` })
      : anError('permissions', `${path} has mode ${text}`, { means: 'others on this machine may read a secret', todo: `chmod 600 ${path}; if somebody may have read it, "dfs node remove" this node and join anew` }))
  }
  return found
}

async function keyBeside ({ data, keyFile }: Config): Promise<readonly Finding[]> {
  const path = keyFile ?? join(data, 'key')
  const isInside = !relative(data, path).startsWith('..')
  if (!isInside || await nodeFiles('/').size(path) === undefined) return []
  return [aNote('key-beside-keyring', `the key file ${path} lies beside the keyring that it opens`, { means: 'it protects nothing from whoever has the folder or the disk', todo: '"dfs passphrase" with the node stopped, or a key file on another disk' })]
}

async function room ({ data, reserveBytes }: Config): Promise<readonly Finding[]> {
  const freeBytes = await nodeFiles(data).freeBytes('.')
  if (freeBytes > reserveBytes) return []
  return [aWarning('disk-full', `the disk has ${freeBytes} bytes free, and ${reserveBytes} are kept in reserve`, { means: 'this node takes no more blocks; others are asked in its place', todo: 'make room, or lower "reserve"' })]
}

async function lock (data: string): Promise<readonly Finding[]> {
  const holder = await holderOfFolder(data)
  if (holder !== undefined) return [anError('hangs', `process ${holder.pid} holds the folder, and does not answer at its API`, { means: 'it is starting, stopping, or hangs', todo: `look at its log; if it stays so, end process ${holder.pid} and start the node again: nothing that was acknowledged depends on a graceful end` })]
  return [aWarning('stopped', 'no node runs over this folder', { means: 'what it holds is missing to the others', todo: `dfs start --data ${data}` })]
}

async function openedKeyring (data: string, secrets: Secrets | undefined): Promise<void> {
  if (secrets !== undefined) await readKeyring(nodeFiles(data), await keyringKeyOf(secrets, { make: false, random: systemRandom }))
}

const keyringUntried = aNote('keyring-untried', 'whether the keyring opens was not tried', { means: 'it takes the passphrase', todo: 'set DFS_PASSPHRASE or passphrase-file to have it tried' })

/** What is refused or damaged is told in the words of the refusal. */
async function told (code: string, look: () => Promise<void>): Promise<readonly Finding[]> {
  try {
    await look()
    return []
  } catch (error) {
    if (!(error instanceof DfsError)) throw error
    return [anError(code, error.message, { means: 'the node does not start', todo: 'as it says' })]
  }
}

async function rowsOf (data: string): Promise<readonly Finding[]> {
  const loss = await examineRows(nodeFiles(data), 'rows')
  return loss === undefined ? [] : [aWarning('rows-damaged', `the memory of rows: ${loss}`, { means: 'the node will start, and take over afresh from the others what it can no longer tell', todo: 'start it while a majority of the others is up; check the disk' })]
}

async function indexes (data: string): Promise<readonly Finding[]> {
  const files = nodeFiles(data)
  const found: Finding[] = []
  for (const folder of Object.values(indexFolders)) {
    found.push(...await told('index-damaged', async () => {
      for (const { file, reason } of await damageBeforeOpening(files, folder)) found.push(aWarning('index-damaged', `${file}: ${reason}`, { means: 'what it lost is looked for at the next start; if that is refused, it says what to do', todo: 'start the node; check the disk' }))
    }))
  }
  return found
}
