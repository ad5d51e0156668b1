import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { InvalidInput } from '../base/errors.ts'
import { type Config, type ConfigOrigins, configOf, dataFolderOf } from '../config.ts'

export interface Settings {
  readonly config: Config
  readonly origins: ConfigOrigins
}

/** In the data folder. */
export const settingsName = 'dfs.json'

/** Options as commander gives them: camelCase of the option's name. */
export type GivenOptions = Readonly<Record<string, unknown>>

/** Puts options, environment and file together. @throws InvalidInput */
export async function settingsOf (given: GivenOptions): Promise<Settings> {
  const options = dashed(given)
  const environment = process.env
  const home = homedir()
  const data = dataFolderOf({ options, environment, home })
  const named = typeof options.config === 'string' ? options.config : undefined
  const path = named ?? join(data, settingsName)
  const file = await readSettings(path, { mustExist: named !== undefined })
  return configOf({ options, environment, home, file: file === undefined ? undefined : { path, content: file } })
}

/** The JSON in a settings file, unchecked; undefined if there is none and need not be. @throws InvalidInput */
export async function readSettings (path: string, { mustExist }: { mustExist: boolean }): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return undefined
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw new InvalidInput('config', `there is no file ${path}, which --config names`, { cause })
    throw new InvalidInput('config', `${path} could not be read as JSON: ${(cause as Error).message}`, { cause })
  }
}

const dashed = (given: GivenOptions): Record<string, unknown> =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), value]))
