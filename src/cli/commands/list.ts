import { InvalidInput } from '../../base/errors.ts'
import { objectPath } from '../../client/paths.ts'
import type { Bucket } from '../../objects/index.ts'
import { type CommandContext, withNode } from '../context.ts'
import { objectsBelow, pages } from '../listing.ts'
import { type Lock, lockIn, retentionText, versionQuery } from '../lock-text.ts'
import { sizeText, table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf, targetOf } from '../target.ts'
import { listBuckets } from './bucket.ts'

/** `dfs ls [BUCKET[/PREFIX]]` */
export async function ls (path: string | undefined, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => {
    if (path === undefined) { await listBuckets(context); return }
    const { bucket, key: prefix = '' } = targetOf(path)
    let isEmpty = true
    for await (const page of pages(context, bucket, { prefix, ...(options.recursive === true ? {} : { delimiter: '/' }) })) {
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
