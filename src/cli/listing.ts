import { objectPath } from '../client/paths.ts'
import type { ObjectInfo, ObjectPage, VersionPage } from '../objects/index.ts'
import type { CommandContext } from './context.ts'

/** The pages of a listing, in byte order of keys. */
export async function * pages ({ client, signal }: CommandContext, bucket: string, query: Record<string, string>): AsyncIterable<ObjectPage> {
  for (let after: string | undefined, isLast = false; !isLast;) {
    const page: ObjectPage = await client.json('GET', `${objectPath(bucket)}?${new URLSearchParams({ ...query, ...(after === undefined ? {} : { after }) }).toString()}`, { signal })
    yield page
    after = page.next
    isLast = after === undefined
  }
}

/** The pages of all versions: byte order of keys, the newest of each first; delete markers too. */
export async function * versionPages ({ client, signal }: CommandContext, bucket: string, query: Record<string, string>): AsyncIterable<VersionPage> {
  for (let after: VersionPage['next'], isLast = false; !isLast;) {
    const from = { ...after === undefined ? {} : { after: after.key }, ...after?.versionId === undefined ? {} : { 'after-version': after.versionId } }
    const page: VersionPage = await client.json('GET', `${objectPath(bucket)}?${new URLSearchParams({ ...query, versions: 'true', ...from }).toString()}`, { signal })
    yield page
    after = page.next
    isLast = after === undefined
  }
}

/** Every object whose key begins with `prefix`. */
export async function * objectsBelow (context: CommandContext, bucket: string, prefix: string): AsyncIterable<ObjectInfo> {
  for await (const page of pages(context, bucket, { prefix })) yield * page.objects
}
