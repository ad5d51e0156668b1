import { InvalidInput } from '../../base/errors.ts'
import { sizeOf } from '../../config.ts'
import type { Bucket, BucketOptions, SettingsChange } from '../../objects/index.ts'
import type { LayoutReport } from '../../node.ts'
import { type CommandContext, withNode } from '../context.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs bucket create NAME` */
export async function create (name: string, options: GivenOptions): Promise<void> {
  const wanted = bucketOptionsOf(options)
  await withNode(options, async (context) => {
    const { client, output, signal } = context
    const bucket = await client.json<Bucket>('PUT', `/v1/buckets/${encodeURIComponent(name)}`, { body: wanted, signal })
    output.fact(bucket, `made bucket ${bucket.name} (${redundancyText(bucket)})`)
    await noteWhatIsTooMuch(bucket, context)
    if (wanted.copies !== undefined || wanted.shards !== undefined || output.isJson) return
    const { members } = await client.json<{ members: ReadonlyArray<{ role: string }> }>('GET', '/v1/status', { signal })
    const suggested = suggestedShards(members.filter(({ role }) => role !== 'witness').length)
    if (suggested !== undefined) output.note(`with so many nodes shards take less room: "dfs bucket set ${bucket.name} --redundancy rs:${suggested.shards}" keeps ${suggested.bytesPerByte} bytes for each byte instead of 3, and survives the loss of two nodes as well`)
  })
}

/** Shards that have no node are refused; copies are not, for nodes may follow. What was asked is done by then: that this cannot be looked at is said, and does not undo it. */
export async function noteWhatIsTooMuch ({ copies, shards }: Pick<Bucket, 'copies' | 'shards'>, { client, output, signal }: Pick<CommandContext, 'output' | 'signal'> & { readonly client: Pick<CommandContext['client'], 'json'> }): Promise<void> {
  if (shards !== undefined || copies === 1) return
  try {
    const note = tooFewText(copies, holdersIn(await client.json<LayoutReport>('GET', '/v1/layout', { signal })))
    if (note !== undefined) output.warn(note)
  } catch (error) {
    signal.throwIfAborted()
    output.warn(`whether enough nodes hold blocks for ${copies} copies could not be looked at: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** How many nodes hold blocks; while that changes, how many are to. */
export const holdersIn = ({ state, members }: Pick<LayoutReport, 'state' | 'members'>): number =>
  members.filter(({ present, next }) => ((state === 'changing' ? next : present)?.blocks ?? 0) > 0).length

/** Undefined: there are enough nodes that hold blocks for so many copies. */
export const tooFewText = (copies: number, holders: number): string | undefined => holders >= copies ? undefined
  : `${holders} ${holders === 1 ? 'node holds' : 'nodes hold'} blocks: until ${copies - holders === 1 ? 'one more does' : `${copies - holders} more do`} there are ${holders === 1 ? 'no copies beside it' : `${holders} copies`}, and "dfs status" says so`

/** What fits a cluster of so many nodes that hold blocks, if shards are worth it there. */
export function suggestedShards (nodes: number): { readonly shards: string, readonly bytesPerByte: string } | undefined {
  if (nodes >= 7) return { shards: '4+2', bytesPerByte: '1.5' }
  return nodes >= 5 ? { shards: '2+2', bytesPerByte: '2' } : undefined
}

/** `dfs bucket set NAME` */
export async function set (name: string, options: GivenOptions): Promise<void> {
  const settings = settingsOf(options)
  const redundancy = options.redundancy === undefined ? {} : redundancyOf(String(options.redundancy))
  const wanted = { ...settings, ...redundancy }
  if (Object.keys(wanted).length === 0) throw new InvalidInput('bucket', 'say what to set: --redundancy, --ack, --versioning, --quota, --quota-objects or --public')
  await withNode(options, async (context) => {
    const { client, output, signal } = context
    const bucket = await client.json<Bucket>('PATCH', `/v1/buckets/${encodeURIComponent(name)}`, { body: wanted, signal })
    const set = Object.entries(settings).map(([name, value]) => `${name} ${value === null ? 'none' : String(value)}`)
    output.fact(bucket, `bucket ${bucket.name} is ${[...Object.keys(redundancy).length === 0 ? [] : [redundancyText(bucket)], ...set].join(', ')} now`)
    if (Object.keys(redundancy).length === 0) return
    await noteWhatIsTooMuch(bucket, context)
    output.note('what is put from now on is kept so; what is there is converted in the background: "dfs convert status" says how far that is')
  })
}

/** `dfs bucket ls` */
export async function list (options: GivenOptions): Promise<void> {
  await withNode(options, listBuckets)
}

export async function listBuckets ({ client, output, signal }: CommandContext): Promise<void> {
  const { buckets } = await client.json<{ buckets: Bucket[] }>('GET', '/v1/buckets', { signal })
  if (output.isJson) for (const bucket of buckets) output.fact(bucket, '')
  else if (buckets.length === 0) output.note('no buckets yet; "dfs bucket create NAME" makes one')
  else output.fact({}, table(buckets.map((bucket) => [bucket.name, redundancyText(bucket), bucket.isPrivate ? 'private' : '', bucket.created])))
}

/** `dfs bucket rm NAME` */
export async function remove (name: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('DELETE', `/v1/buckets/${encodeURIComponent(name)}`, { signal })
    output.fact({ bucket: name, removed: true }, `removed bucket ${name}`)
  })
}

const redundancyText = ({ copies, shards }: Bucket): string => shards === undefined ? `rf:${copies}` : `rs:${shards}`

function bucketOptionsOf ({ redundancy, private: isPrivate, compression, chunking, dedup, degraded }: GivenOptions): Partial<BucketOptions> {
  return {
    ...(redundancy === undefined ? {} : redundancyOf(String(redundancy))),
    ...(isPrivate === true ? { isPrivate } : {}),
    ...(compression === undefined ? {} : { compression: compression as BucketOptions['compression'] }),
    ...(chunking === undefined ? {} : { chunking: chunking as BucketOptions['chunking'] }),
    ...(dedup === undefined ? {} : { dedup: dedup as BucketOptions['dedup'] }),
    ...(degraded === undefined ? {} : { degraded: degraded as BucketOptions['degraded'] }),
  }
}

/** null takes a setting away. */
export function settingsOf ({ versioning, ack, quota, quotaObjects, public: isPublic }: GivenOptions): Pick<SettingsChange, 'versioning' | 'ack' | 'quotaBytes' | 'quotaObjects' | 'publicRead'> {
  return {
    ...(versioning === undefined ? {} : { versioning: oneOf('versioning', versioning, ['enabled', 'suspended']) }),
    ...(ack === undefined ? {} : { ack: oneOf('ack', ack, ['all', 'quorum']) === 'all' ? 'all' : null }),
    ...(quota === undefined ? {} : { quotaBytes: quota === 'none' ? null : quotaIn('quota', { text: String(quota), value: sizeOf(String(quota)), takes: 'a size such as 500GiB' }) }),
    ...(quotaObjects === undefined ? {} : { quotaObjects: quotaObjects === 'none' ? null : quotaIn('quota-objects', { text: String(quotaObjects), value: /^\d+$/.test(String(quotaObjects)) ? Number(quotaObjects) : undefined, takes: 'a number' }) }),
    ...(isPublic === undefined ? {} : { publicRead: oneOf('public', isPublic, ['yes', 'no']) === 'yes' ? true : null }),
  }
}

function oneOf<const T extends string> (name: string, value: unknown, known: readonly T[]): T {
  const found = known.find((each) => each === value)
  if (found === undefined) throw new InvalidInput(name, `${name} is "${String(value)}"; it takes ${known.join(' or ')}`)
  return found
}

function quotaIn (name: string, { text, value, takes }: { text: string, value: number | undefined, takes: string }): number {
  if (value === undefined || !Number.isSafeInteger(value)) throw new InvalidInput(name, `${name} is "${text}"; it takes ${takes}, or none`)
  return value
}

export function redundancyOf (text: string): { copies: number } | { shards: string } {
  const match = /^(?:rf:(\d+)|rs:(\d+\+\d+))$/.exec(text)
  if (match === null) throw new InvalidInput('redundancy', `redundancy is "${text}"; it takes rf:1 to rf:3 (whole copies), or rs:k+m (shards, of which any k suffice), such as rs:4+2`)
  return match[2] === undefined ? { copies: Number(match[1]) } : { shards: match[2] }
}
