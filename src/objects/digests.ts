import { equals } from '../base/bytes.ts'
import { type Digesting, digestsHere, type RunningDigests } from '../base/checksums.ts'
import type { Attributes } from './versions/attributes.ts'
import { DigestMismatch } from './errors.ts'
import type { DigestAlgorithm, Digests, PutOptions } from './index.ts'

type Wanted = Pick<PutOptions, 'wantsMd5' | 'checksum' | 'expected' | 'digests'>

/**
 * The digests that a put asks for, taken of its bytes as they pass, and held against what was announced before anything is committed. To be disposed of however the
 * put ends: a thread remembers those that were begun until it is told.
 */
export class PutDigests implements Disposable {
  readonly #wanted: Wanted
  readonly #running: RunningDigests
  #isOver = false

  constructor (wanted: Wanted, digesting: Digesting = digestsHere) {
    this.#wanted = wanted
    const { wantsMd5 = false, checksum, expected = {}, digests = [] } = wanted
    const announced = typeof expected === 'function' ? [] : Object.keys(expected) as DigestAlgorithm[]
    const algorithms = new Set<DigestAlgorithm>([...(wantsMd5 ? ['md5' as const] : []), ...(checksum === undefined ? [] : [checksum]), ...announced, ...digests])
    this.#running = digesting([...algorithms])
  }

  async * of (source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    let hasEnded = false
    try {
      for await (const bytes of source) {
        // whoever stored it has failed, and no digest is wanted any more
        if (this.#isOver) return
        await this.#running.update(bytes)
        yield bytes
      }
      hasEnded = true
    } finally {
      if (!hasEnded) this[Symbol.dispose]()
    }
  }

  /** To be called once, when the source has ended. @throws DigestMismatch */
  async attributes (): Promise<Pick<Attributes, 'md5' | 'checksum'>> {
    const { wantsMd5 = false, checksum: algorithm, expected = {} } = this.#wanted
    this.#isOver = true
    const found = await this.#running.finish()
    check(typeof expected === 'function' ? await expected() : expected, found)
    const [md5, value] = [found.get('md5'), algorithm === undefined ? undefined : found.get(algorithm)]
    return {
      ...(wantsMd5 && md5 !== undefined ? { md5 } : {}),
      ...(algorithm === undefined || value === undefined ? {} : { checksum: { algorithm, value, type: 'FULL_OBJECT' } }),
    }
  }

  /** After `attributes`, nothing. */
  [Symbol.dispose] (): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#running[Symbol.dispose]()
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
