import type { Body } from './transport.ts'

/** dfs from a program: in Node and in browsers, over HTTP (docs/CLIENT.md). */
export interface Client extends Disposable {
  /**
   * Stores `source` under `key`. When it resolves the version is on disk at its write quorum. Never repeated by itself.
   * @throws ClientError: 'conflict' (a condition), 'not-found' (the bucket), 'full', 'invalid', 'unavailable' (nothing happened), 'unknown' (read to find out); Unreachable: it is unknown, too; what the source threw
   */
  put (target: ObjectName, source: Body, options?: PutOptions): Promise<ObjectInfo>
  /**
   * Opens one version for reading. A body that breaks off goes on where it ended, on the same version, until a few attempts in a row brought nothing.
   * @throws ClientError: 'not-found', 'conflict' (if-match), 'invalid' (the range), 'unavailable'; Unreachable
   */
  get (target: ObjectName, options?: GetOptions): Promise<Reading>
  /** @throws ClientError: 'not-found' */
  head (target: ObjectName, options?: Wait): Promise<ObjectInfo>
  /** Absent is fine: resolves to whether there was one. @throws ClientError: 'conflict' (if-match) */
  remove (target: ObjectName, options?: Wait & { readonly ifMatch?: string }): Promise<boolean>
  /** The bytes do not pass through here. @throws as `get` and `put` */
  copy (source: ObjectName, target: ObjectName, options?: Conditions & Wait): Promise<ObjectInfo>
  /** All objects, in byte order of their keys, a page ahead. Whoever stops taking stops the asking. */
  list (bucket: string, options?: Omit<ListOptions, 'delimiter'>): AsyncIterable<ObjectInfo>
  /** One page, with what goes on after `delimiter` as prefixes. */
  page (bucket: string, options?: ListOptions): Promise<ObjectPage>
  readonly buckets: {
    /** @throws ClientError: 'conflict' if the name is taken */
    create (name: string, options?: Partial<BucketOptions>, wait?: Wait): Promise<Bucket>
    list (wait?: Wait): Promise<readonly Bucket[]>
    get (name: string, wait?: Wait): Promise<Bucket>
    /** For what is put from now on. */
    update (name: string, change: BucketChange, wait?: Wait): Promise<Bucket>
    /** @throws ClientError: 'conflict' if it is not empty */
    remove (name: string, wait?: Wait): Promise<void>
  }
  /** Resolves when it watches; then what is stored, by any node, from now on. Ends when the node stops, or with the signal. At most 1,000 wait for a slow reader. */
  watch (options?: Wait & { readonly bucket?: string, readonly prefix?: string }): Promise<AsyncIterable<Announcement>>
  /** With the node's own token alone. */
  status (wait?: Wait): Promise<Status>
  /** Any request of docs/API.md, its answer as JSON; repeated if it is a GET. `body` is sent as JSON. */
  request<T> (method: string, path: string, options?: Wait & { readonly body?: unknown }): Promise<T>
  close (): void
}

/** One of copies and shards, settings, or both; null takes a setting away. */
export interface BucketChange {
  readonly copies?: number
  readonly shards?: string
  readonly versioning?: 'enabled' | 'suspended'
  /** 'all': a put is acknowledged with every copy, or shard, on disk. */
  readonly ack?: 'all' | null
  readonly quotaBytes?: number | null
  readonly quotaObjects?: number | null
  readonly publicRead?: boolean | null
}

export interface Wait { readonly signal?: AbortSignal }

export interface ObjectName {
  readonly bucket: string
  /** 1 to 1,024 bytes of UTF-8, taken as it is. */
  readonly key: string
}

export interface ObjectInfo extends ObjectName {
  readonly sizeBytes: number
  /** Without quotes; differs for every version. */
  readonly etag: string
  readonly versionId: string
  /** ISO 8601, by the clock of the writer's node. */
  readonly modified: string
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

export interface Conditions {
  /** An etag, or '*': only if there is an object. */
  readonly ifMatch?: string
  /** '*': only if there is none. */
  readonly ifNoneMatch?: '*'
}

export interface PutOptions extends Conditions, Wait {
  readonly contentType?: string
  /** At most 2 KiB in all; names in lower case. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Of an iterable, if known: a source of another length stores nothing. */
  readonly sizeBytes?: number
  /** Bytes that were sent, after each piece. In browsers only of an iterable, before it is sent. */
  readonly onProgress?: (sentBytes: number) => void
}

export interface GetOptions extends Wait {
  /** First byte and, inclusive, last; undefined last: to the end. A negative first counts from the end. */
  readonly range?: { readonly first: number, readonly last?: number }
  readonly ifMatch?: string
  /** Bytes that have come, and how many will, after each piece. */
  readonly onProgress?: (gotBytes: number, totalBytes: number) => void
}

export interface Reading {
  readonly info: ObjectInfo
  /** What of the object comes: first and, exclusive, end. */
  readonly range: { readonly first: number, readonly end: number }
  /** In order, as it comes; once. */
  readonly body: AsyncIterable<Uint8Array>
  /** All of it, in memory. */
  bytes (): Promise<Uint8Array<ArrayBuffer>>
  text (): Promise<string>
  stream (): ReadableStream<Uint8Array>
}

export interface ListOptions extends Wait {
  readonly prefix?: string
  readonly delimiter?: string
  /** Only keys above this one. */
  readonly after?: string
  /** Of a page: 1 to 1,000 (default). */
  readonly limit?: number
}

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[]
  readonly prefixes: readonly string[]
  /** Pass as `after`; undefined: nothing more. */
  readonly next: string | undefined
}

export interface BucketOptions {
  readonly copies: number
  /** "k+m": Reed-Solomon shards. */
  readonly shards?: string
  readonly isPrivate: boolean
  readonly compression: 'auto' | 'off'
  readonly chunking: 'content' | 'content-small' | 'fixed'
  readonly dedup: 'bucket' | 'cluster'
  readonly degraded?: 'refuse' | 'allow'
}

export interface Bucket extends BucketOptions {
  readonly name: string
  readonly id: string
  readonly created: string
}

export interface Announcement {
  readonly at: string
  /** The peer id of the node that stored it. */
  readonly from: string
  readonly versionId: string
  readonly root: string | undefined
  /** Undefined where the node asked does not know the name, or not yet. */
  readonly object: ObjectName | undefined
}

/** The parts of GET /v1/status that a program most likely needs; the rest is there too. */
export interface Status {
  readonly peerId: string
  readonly clusterId: string
  readonly version: string
  readonly role: 'member' | 'storage' | 'witness'
  readonly zone: string
  readonly addresses: readonly string[]
  readonly uptimeMs: number
  readonly layout: { readonly version: string, readonly state: string, readonly members: number, readonly voters: number }
  readonly members: ReadonlyArray<{ readonly peerId: string, readonly role: string, readonly zone: string, readonly isConnected: boolean }>
  readonly blocks: { readonly count: number, readonly bytes: number, readonly quotaBytes?: number | undefined, readonly freeBytes: number, readonly corrupt: number, readonly isReadOnly: boolean }
  readonly isReady: boolean
  readonly isDegraded: boolean
  readonly health: readonly string[]
}
