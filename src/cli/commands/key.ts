import { systemClock } from '../../base/clock.ts'
import { InvalidInput } from '../../base/errors.ts'
import type { AccessAction, AccessKey, AccessRight, SecretAccessKey } from '../../objects/index.ts'
import { withNode } from '../context.ts'
import { durationMsOf } from '../duration.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

const allActions: readonly AccessAction[] = ['read', 'write', 'list', 'admin']

/** `dfs key create NAME` */
export async function create (name: string, options: GivenOptions): Promise<void> {
  const { expires } = options
  const body = { name, rights: rightsOf(options), ...(expires === undefined ? {} : { notAfterMs: systemClock.wallMs() + durationMsOf(String(expires)) }) }
  await withNode(options, async ({ client, output, signal }) => {
    const key = await client.json<SecretAccessKey>('POST', '/v1/keys', { body, signal })
    output.fact(key, table([['access key id', key.id], ['secret access key', key.secret], ['rights', rightsText(key)]]))
    output.note('the secret is shown this once; a lost one cannot be had again, but "dfs key create" makes another key')
  })
}

/** `dfs key ls` */
export async function list (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { keys } = await client.json<{ keys: AccessKey[] }>('GET', '/v1/keys', { signal })
    if (output.isJson) for (const key of keys) output.fact(key, '')
    else if (keys.length === 0) output.note('no access keys yet; "dfs key create NAME" makes one for programs that speak S3')
    else output.fact({}, table(keys.map((key) => [key.id, key.name, key.notAfterMs === undefined ? '' : `${key.notAfterMs < systemClock.wallMs() ? 'expired' : 'until'} ${new Date(key.notAfterMs).toISOString()}`, rightsText(key)])))
  })
}

/** `dfs key grant ID` */
export async function grant (id: string, options: GivenOptions): Promise<void> {
  if (options.bucket === undefined) throw new InvalidInput('bucket', 'give --bucket NAME, or --bucket "*" for all')
  await withNode(options, async ({ client, output, signal }) => {
    const key = await client.json<AccessKey>('PATCH', `/v1/keys/${encodeURIComponent(id)}`, { body: { rights: rightsOf(options) }, signal })
    output.fact(key, `${key.id} may now: ${rightsText(key)}`)
    output.note('every node goes by it within five seconds')
  })
}

/** `dfs key rm ID` */
export async function remove (id: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('DELETE', `/v1/keys/${encodeURIComponent(id)}`, { signal })
    output.fact({ key: id, removed: true }, `removed key ${id}; every node refuses it within five seconds`)
  })
}

function rightsOf ({ bucket = '*', prefix = '', rights }: GivenOptions): AccessRight[] {
  const named = rights === undefined ? allActions : String(rights) === 'none' ? [] : String(rights).split(',')
  const unknown = named.find((action) => !allActions.includes(action as AccessAction))
  if (unknown !== undefined) throw new InvalidInput('rights', `"${unknown}" is no right; there are ${allActions.join(', ')}, by commas, or none`)
  return String(bucket).split(',').map((name) => ({ bucket: name, prefix: String(prefix), actions: named as AccessAction[] }))
}

const rightsText = ({ rights }: AccessKey): string => rights.length === 0 ? 'nothing' : rights.map(({ bucket, prefix, actions }) => `${actions.join(',')} in ${bucket === '*' ? 'all buckets' : bucket}${prefix === '' ? '' : ` below ${prefix}`}`).join('; ')
