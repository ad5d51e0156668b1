import { compareBytes, utf8 } from '../../src/base/bytes.ts'
import type { BucketSettings } from '../../src/objects/index.ts'

/** A version, or a delete marker (no content), as whoever wrote it was told. */
export interface ModelVersion {
  readonly versionId: string
  readonly isNull: boolean
  readonly etag?: string
  readonly content?: Uint8Array
}

/** What a bucket is to whoever looks at it: of each key its versions, the newest first. */
export class BucketModel {
  readonly name: string
  readonly keys = new Map<string, readonly ModelVersion[]>()
  readonly uploads = new Map<string, { readonly key: string, readonly parts: Map<number, { readonly content: Uint8Array, readonly etag: string }> }>()
  versioning: BucketSettings['versioning']

  constructor (name: string) { this.name = name }

  versions (key: string): readonly ModelVersion[] { return this.keys.get(key) ?? [] }

  live (key: string): ModelVersion | undefined {
    const [newest] = this.versions(key)
    return newest?.content === undefined ? undefined : newest
  }

  /** On top of what is kept; there is one null version. */
  add (key: string, version: ModelVersion): void {
    this.keys.set(key, [version, ...this.versions(key).filter(({ isNull }) => this.versioning === 'enabled' || !isNull)])
  }

  /** What a delete without a version id makes: a marker of its own, unless one stands there already. */
  markerOf (key: string): ModelVersion | 'new' | 'none' {
    const [newest] = this.versions(key)
    if (this.versioning === undefined) return 'none'
    return newest !== undefined && newest.content === undefined && (this.versioning === 'enabled' || newest.isNull) ? newest : 'new'
  }

  drop (key: string, version: ModelVersion): void {
    const left = this.versions(key).filter((other) => other !== version)
    if (left.length === 0) this.keys.delete(key)
    else this.keys.set(key, left)
  }

  /** Keys and, with "/" or another delimiter at their end, prefixes, in byte order. */
  list ({ prefix, delimiter, after }: { readonly prefix: string, readonly delimiter: string | undefined, readonly after: string | undefined }): readonly string[] {
    const listed = new Set<string>()
    for (const key of this.#sorted(prefix)) {
      if (this.live(key) === undefined || (after !== undefined && inByteOrder(key, after) <= 0)) continue
      const at = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length)
      const name = at < 0 ? key : key.slice(0, at + (delimiter ?? '').length)
      if (at < 0 || name !== after) listed.add(name)
    }
    return [...listed]
  }

  listVersions (prefix: string): ReadonlyArray<ModelVersion & { readonly key: string }> {
    return this.#sorted(prefix).flatMap((key) => this.versions(key).map((version) => ({ ...version, key })))
  }

  #sorted (prefix: string): readonly string[] { return [...this.keys.keys()].filter((key) => key.startsWith(prefix)).toSorted(inByteOrder) }
}

const inByteOrder = (a: string, b: string): number => compareBytes(utf8(a), utf8(b))
