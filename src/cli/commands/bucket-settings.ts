import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { InvalidInput } from '../../base/errors.ts'
import { settingFromAws } from '../../api/s3/aws-json.ts'
import type { Bucket, BucketSettings } from '../../objects/index.ts'
import { withNode } from '../context.ts'
import { fileError } from '../file-errors.ts'
import type { GivenOptions } from '../settings.ts'

/** Settings that are documents: as commands name them, and as a bucket has them. */
const documents = { lifecycle: 'lifecycle', cors: 'cors', policy: 'policy', website: 'website', lock: 'objectLock' } as const satisfies Record<string, keyof BucketSettings>
export type DocumentName = keyof typeof documents

/** `dfs bucket lifecycle|cors|policy|website|lock NAME [FILE]`: prints the setting as JSON, sets it from a file (- for standard input), or takes it away. */
export async function document (kind: DocumentName, bucket: string, file: string | undefined, options: GivenOptions): Promise<void> {
  const setting = documents[kind]
  const takesAway = options.none === true
  if (takesAway && file !== undefined) throw new InvalidInput('none', 'give a file, or --none')
  const value = file === undefined ? null : valueIn(setting, file, file === '-' ? await text(process.stdin) : await readFile(file, 'utf8').catch(fileError(file)))
  await withNode(options, async ({ client, output, signal }) => {
    const path = `/v1/buckets/${encodeURIComponent(bucket)}`
    if (file !== undefined || takesAway) {
      await client.json('PATCH', path, { body: { [setting]: value }, signal })
      output.fact({ bucket, [setting]: value }, `bucket ${bucket}: ${kind} is ${value === null ? 'taken away' : 'set'}`)
      if (kind === 'policy' || kind === 'cors') output.note('every node goes by it within five seconds')
      return
    }
    const { settings = {} } = await client.json<Bucket>('GET', path, { signal })
    const found = settings[setting]
    output.fact({ bucket, [setting]: found ?? null }, found === undefined ? '' : typeof found === 'string' ? found : JSON.stringify(found, null, 2))
    if (found === undefined) output.note(`bucket ${bucket} has no ${kind}; "dfs bucket ${kind} ${bucket} FILE" sets it from JSON (docs/CLI.md has examples)`)
  })
}

/** A policy is kept as its text, the rest as what the text says. @throws InvalidInput */
function valueIn (setting: keyof BucketSettings, file: string, json: string): unknown {
  let value: unknown
  try { value = JSON.parse(json) } catch (cause) { throw new InvalidInput(setting, `${file === '-' ? 'what came from standard input' : file} is no JSON: ${(cause as Error).message}; docs/CLI.md has examples`, { cause }) }
  return setting === 'policy' ? json.trim() : settingFromAws(setting, value)
}
