import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { InvalidInput, NotFound } from '../../base/errors.ts'
import type { ObjectInfo } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { download, rangeOf } from '../download.ts'
import { each } from '../each.ts'
import { fileError } from '../file-errors.ts'
import { objectsBelow } from '../listing.ts'
import { versionQuery } from '../lock-text.ts'
import { listedParts } from '../part.ts'
import { insideOf, placeAt, placeOf } from '../place.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf, targetOf } from '../target.ts'

/** `dfs get BUCKET/KEY [FILE|-]`, or with -r everything below a prefix. */
export async function get (object: string, file: string | undefined, options: GivenOptions): Promise<void> {
  const range = options.range === undefined ? undefined : rangeOf(String(options.range))
  if (options.recursive === true) {
    if (options.versionId !== undefined) throw new InvalidInput('version-id', 'a version is of one object: leave out -r')
    if (range !== undefined) throw new InvalidInput('range', '--range is for one object; -r gets many')
    if (file === '-') throw new InvalidInput('file', '-r writes a folder; standard output (-) takes one object')
    await withNode(options, async (context) => { await getFolder(context, object, file ?? '.') })
    return
  }
  const { bucket, key } = objectOf(object)
  const place = await placeOf(key, file)
  await withNode(options, async (context) => { await download(context, { bucket, key, place, range, version: versionQuery(options) }) })
}

async function getFolder (context: CommandContext, object: string, folder: string): Promise<void> {
  const { bucket, key: prefix = '' } = targetOf(object)
  const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  const partsIn = remembered(listedParts)
  const count = await each(objectsBelow(context, bucket, prefix), async (info) => {
    const file = insideOf(folder, info.key.slice(parent.length))
    if (info.key.endsWith('/')) { await makeFolder(file, info); return }
    await mkdir(dirname(file), { recursive: true }).catch(fileError(file))
    await download(context, { bucket, key: info.key, place: await placeAt(file), partsIn })
  }, { output: context.output, what: 'objects were not written' })
  if (count === 0) throw new NotFound(`there is nothing below ${object}`)
}

// as other tools mark a folder: an empty object whose key ends with a slash
async function makeFolder (folder: string, { key, sizeBytes }: ObjectInfo): Promise<void> {
  if (sizeBytes > 0) throw new InvalidInput('object', `the key "${key}" ends with a slash, which no file name does; get it alone, under a name of your choice`)
  await mkdir(folder, { recursive: true }).catch(fileError(folder))
}

function remembered<T> (ask: (name: string) => Promise<T>): (name: string) => Promise<T> {
  const answers = new Map<string, Promise<T>>()
  return (name) => {
    const answer = answers.get(name) ?? ask(name)
    answers.set(name, answer)
    return answer
  }
}
