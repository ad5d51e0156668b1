import { InvalidInput } from '../../base/errors.ts'
import { objectPath } from '../../client/paths.ts'
import type { Bucket } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { objectsBelow, pages, versionPages } from '../listing.ts'
import { type Lock, lockIn, retentionText, versionQuery } from '../lock-text.ts'
import { sizeText, table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf, targetOf } from '../target.ts'
import { listBuckets } from './bucket.ts'

/** `dfs ls [BUCKET[/PREFIX]]`, or with --versions everything that is kept there. */
export async function ls (path: string | undefined, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => {
    if (path === undefined) {
      if (options.versions === true) throw new InvalidInput('versions', 'versions are of objects: name a bucket')
      await listBuckets(context)
      return
    }
    const { bucket, key: prefix = '' } = targetOf(path)
    const query = { prefix, ...(options.recursive === true ? {} : { delimiter: '/' }) }
    if (options.versions === true) { await listVersions(context, bucket, query); return }
    let isEmpty = true
    for await (const page of pages(context, bucket, query)) {
      if (page.prefixes.length + page.objects.length > 0) isEmpty = false
      if (context.output.isJson) {
        for (const name of page.prefixes) context.output.fact({ prefix: name }, '')
        for (const info of page.objects) context.output.fact(info, '')
      } else {
        const rows = [...page.prefixes.map((name) => ['', '', name]), ...page.objects.map(({ key, sizeBytes, modified }) => [sizeText(sizeBytes).padStart(10), modified.slice(0, 19).replace('T', ' '), key])]
        const sorted = rows.toSorted((a, b) => Buffer.compare(Buffer.from(a[2] ?? ''), Buffer.from(b[2] ?? '')))
        if (sorted.length > 0) context.output.fact({}, table(sorted.map(([size = '', modified = '', name = '']) => [size.padStart(10), modified.padEnd(19), name])))
      }
    }
    if (isEmpty) context.output.note(prefix === '' ? `bucket ${bucket} has no objects; "dfs put FILE ${bucket}" stores one` : `there is nothing below ${bucket}/${prefix}`)
  })
}

/** Of a key the newest first. What is older than a delete marker is what was deleted: "dfs get --version-id" still reads it. */
async function listVersions (context: CommandContext, bucket: string, query: { readonly prefix: string, readonly delimiter?: string }): Promise<void> {
  let isEmpty = true
  for await (const { versions, prefixes, lost = [] } of versionPages(context, bucket, query)) {
    if (versions.length + prefixes.length + lost.length > 0) isEmpty = false
    for (const { key, versionId } of lost) context.output.warn(`version ${versionId} of "${key}" is lost`)
    if (context.output.isJson) {
      for (const name of prefixes) context.output.fact({ prefix: name }, '')
      for (const version of versions) context.output.fact(version, '')
      continue
    }
    const rows = [...prefixes.map((name) => ['', '', '', '', name]), ...versions.map(({ key, sizeBytes, modified, versionId, isLatest, isDeleteMarker }) =>
      [isDeleteMarker ? '' : sizeText(sizeBytes), modified.slice(0, 19).replace('T', ' '), versionId, `${isLatest ? 'current' : 'older'}${isDeleteMarker ? ', deleted' : ''}`, key])]
    // stable, so versions of a key keep their order
    const sorted = rows.toSorted((a, b) => Buffer.compare(Buffer.from(a[4] ?? ''), Buffer.from(b[4] ?? '')))
    if (sorted.length > 0) context.output.fact({}, table(sorted.map(([size = '', modified = '', id = '', state = '', name = '']) => [size.padStart(10), modified.padEnd(19), id.padEnd(64), state.padEnd(16), name])))
  }
  if (isEmpty) context.output.note(`there is no version below ${bucket}/${query.prefix}`)
}

/** `dfs stat BUCKET[/KEY]` */
export async function stat (object: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { bucket, key } = targetOf(object)
    if (key === undefined || key === '') {
      const found = await client.json<Bucket>('GET', `/v1/buckets/${encodeURIComponent(bucket)}`, { signal })
      output.fact(found, table(Object.entries(found).map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)])))
      return
    }
    const head = await client.head(`${objectPath(bucket, key)}${versionQuery(options)}`, { signal })
    const metadata = Object.fromEntries(Object.entries(head).filter(([name]) => name.startsWith('x-dfs-meta-')).map(([name, value]) => [name.slice('x-dfs-meta-'.length), value]))
    const info = { bucket, key, sizeBytes: Number(head['content-length']), etag: head.etag?.replaceAll('"', ''), versionId: head['x-dfs-version'], modified: head['x-dfs-modified'], contentType: head['content-type'], metadata, ...lockIn(head) }
    output.fact(info, table(Object.entries(info).map(([name, value]) => [name, name === 'sizeBytes' ? `${sizeText(Number(value))} (${String(value)} bytes)` : name === 'metadata' ? JSON.stringify(value) : name === 'retention' ? retentionText(value as Lock['retention']) : String(value)])))
  })
}

/** `dfs rm BUCKET/KEY`, or with -r everything below BUCKET/PREFIX. */
export async function rm (object: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => {
    if (options.recursive === true && options.versionId !== undefined) throw new InvalidInput('version-id', 'a version is of one object: leave out -r')
    if (options.recursive !== true) {
      const { bucket, key } = objectOf(object)
      await removeOne(context, { bucket, key }, { query: versionQuery(options) })
      return
    }
    const { bucket, key: prefix } = targetOf(object)
    if (prefix === undefined) throw new InvalidInput('object', `"${object}" is a bucket; "dfs rm -r ${object}/" removes everything in it`)
    let count = 0
    for await (const { key } of objectsBelow(context, bucket, prefix)) {
      await removeOne(context, { bucket, key }, { quiet: true })
      count++
    }
    context.output.fact({ bucket, prefix, removed: count }, `removed ${count} objects`)
  })
}

async function removeOne ({ client, output, signal }: CommandContext, { bucket, key }: { bucket: string, key: string }, { quiet = false, query = '' } = {}): Promise<void> {
  const { removed } = await client.json<{ removed: boolean }>('DELETE', `${objectPath(bucket, key)}${query}`, { signal })
  if (!quiet) output.fact({ bucket, key, removed }, removed ? `removed ${bucket}/${key}` : `there was no ${bucket}/${key}`)
}
