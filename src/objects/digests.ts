import { equals } from '../base/bytes.ts'
import { type Digester, digesters } from '../base/checksums.ts'
import type { Attributes } from './attributes.ts'
import { DigestMismatch } from './errors.ts'
import type { DigestAlgorithm, Digests, PutOptions } from './index.ts'

type Wanted = Pick<PutOptions, 'wantsMd5' | 'checksum' | 'expected' | 'digests'>

/** The digests that a put asks for, taken of its bytes as they pass, and held against what was announced before anything is committed. */
export class PutDigests {
  readonly #wanted: Wanted
  readonly #digesters: ReadonlyMap<DigestAlgorithm, Digester>

  constructor (wanted: Wanted) {
    this.#wanted = wanted
    const { wantsMd5 = false, checksum, expected = {}, digests = [] } = wanted
    const announced = typeof expected === 'function' ? [] : Object.keys(expected) as DigestAlgorithm[]
    const algorithms = new Set<DigestAlgorithm>([...(wantsMd5 ? ['md5' as const] : []), ...(checksum === undefined ? [] : [checksum]), ...announced, ...digests])
    this.#digesters = new Map([...algorithms].map((algorithm) => [algorithm, digesters[algorithm]()]))
  }

  async * of (source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const bytes of source) {
      for (const digester of this.#digesters.values()) digester.update(bytes)
      yield bytes
    }
  }

  /** To be called once, when the source has ended. @throws DigestMismatch */
  async attributes (): Promise<Pick<Attributes, 'md5' | 'checksum'>> {
    const { wantsMd5 = false, checksum: algorithm, expected = {} } = this.#wanted
    const found = new Map([...this.#digesters].map(([name, digester]) => [name, digester.digest()]))
    check(typeof expected === 'function' ? await expected() : expected, found)
    const [md5, value] = [found.get('md5'), algorithm === undefined ? undefined : found.get(algorithm)]
    return {
      ...(wantsMd5 && md5 !== undefined ? { md5 } : {}),
      ...(algorithm === undefined || value === undefined ? {} : { checksum: { algorithm, value, type: 'FULL_OBJECT' } }),
    }
  }
}

function check (expected: Digests, found: ReadonlyMap<DigestAlgorithm, Uint8Array>): void {
  for (const [algorithm, value] of Object.entries(expected) as Array<[DigestAlgorithm, Uint8Array | undefined]>) {
    if (value === undefined) continue
    const own = found.get(algorithm)
    // what was not computed cannot be vouched for
    if (own === undefined || !equals(own, value)) throw new DigestMismatch(algorithm)
  }
}
