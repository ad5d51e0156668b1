import { access, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { InvalidInput } from '../base/errors.ts'
import type { Config } from '../config.ts'
import type { Secrets } from '../node.ts'
import { Interrupted } from './interrupt.ts'
import type { GivenOptions } from './settings.ts'

/** The key file that `--no-passphrase` makes: it lies beside what it opens, so it protects nothing from whoever has the folder. */
export const keyFileIn = (data: string): string => join(data, 'key')

/**
 * What opens the keyring: a key file or a passphrase, from the configuration, the environment (DFS_PASSPHRASE), or asked for at the terminal.
 * Never an argument: other users of the machine could read it in the process list. @throws InvalidInput when there is none, or an empty one
 */
export async function secretsOf (config: Config, { isNew = false, noPassphrase = false }: { isNew?: boolean, noPassphrase?: boolean } = {}): Promise<Secrets> {
  if (config.keyFile !== undefined) return { kind: 'key-file', path: config.keyFile }
  if (noPassphrase) return { kind: 'key-file', path: keyFileIn(config.data) }
  if (config.passphraseFile !== undefined) return passphraseFrom(config.passphraseFile, await readPassphrase(config.passphraseFile))
  if (process.env.DFS_PASSPHRASE !== undefined) return passphraseFrom('DFS_PASSPHRASE', process.env.DFS_PASSPHRASE)
  if (!isNew && await exists(keyFileIn(config.data))) return { kind: 'key-file', path: keyFileIn(config.data) }
  if (!process.stdin.isTTY) {
    throw new InvalidInput('passphrase', `a passphrase is needed and there is no terminal to ask at: set DFS_PASSPHRASE, passphrase-file or key-file${isNew ? ', or take --no-passphrase' : ''}`)
  }
  return askedPassphrase(isNew)
}

/** What shall open the keyring from now on: as `secretsOf`, from --new-key-file, --no-passphrase, --new-passphrase-file, DFS_NEW_PASSPHRASE or the terminal. @throws InvalidInput */
export async function newSecretsOf (data: string, { newKeyFile, newPassphraseFile, passphrase }: GivenOptions): Promise<Secrets> {
  if (newKeyFile !== undefined) return { kind: 'key-file', path: resolve(String(newKeyFile)) }
  if (passphrase === false) return { kind: 'key-file', path: keyFileIn(data) }
  if (newPassphraseFile !== undefined) return passphraseFrom(String(newPassphraseFile), await readPassphrase(String(newPassphraseFile)))
  if (process.env.DFS_NEW_PASSPHRASE !== undefined) return passphraseFrom('DFS_NEW_PASSPHRASE', process.env.DFS_NEW_PASSPHRASE)
  if (!process.stdin.isTTY) throw new InvalidInput('passphrase', 'there is no terminal to ask for the new passphrase at: set DFS_NEW_PASSPHRASE, new-passphrase-file or new-key-file, or take --no-passphrase')
  return askedPassphrase(true)
}

function passphraseFrom (source: string, passphrase: string): Secrets {
  if (passphrase === '') throw new InvalidInput('passphrase', `${source} is empty: an empty passphrase protects nothing; --no-passphrase says so openly`)
  return { kind: 'passphrase', passphrase }
}

async function readPassphrase (path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => { throw new InvalidInput('passphrase-file', `passphrase-file is ${path}, which cannot be read: ${cause.message}`, { cause }) })
  return text.replace(/\r?\n$/, '')
}

async function askedPassphrase (isNew: boolean): Promise<Secrets> {
  const passphrase = await ask(isNew ? 'New passphrase for this node\'s keyring: ' : 'Passphrase: ')
  if (isNew && passphrase !== '' && await ask('Once more: ') !== passphrase) throw new InvalidInput('passphrase', 'the two differ')
  return passphraseFrom('the passphrase', passphrase)
}

/** Asks at the terminal, showing nothing of the answer. */
export function ask (question: string): Promise<string> {
  // readline echoes through its output; a sink swallows it
  const silent = new Writable({ write: (_chunk, _encoding, done) => { done() } })
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(question)
  return new Promise<string>((resolve, reject) => {
    reader.question('', resolve)
    // the terminal is raw meanwhile: Ctrl-C is a key, and no signal
    reader.on('SIGINT', () => { reject(new Interrupted()) })
    reader.on('close', () => { reject(new InvalidInput('passphrase', 'no passphrase was given')) })
  }).finally(() => { reader.close(); process.stderr.write('\n') })
}

async function exists (path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
