import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { Refused } from '../../base/errors.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { FileMissing, type Files } from '../../disk/index.ts'

export interface OwnCapacityParts {
  readonly files: Files
  /** The setting of this node. */
  readonly given: number | undefined
  /** What the cluster counts on: as the layout has it. Undefined: it is in none. */
  readonly counted: () => number | undefined
  /** Writes it to this node's members row. Undefined: a node without keys, which may write nothing. */
  readonly tell: ((capacityBytes: number, wait: { signal?: AbortSignal }) => Promise<unknown>) | undefined
}

interface Told {
  /** The setting when it was last heeded. */
  readonly given: number | undefined
  /** What the cluster counted on then. */
  readonly counted: number
}

/**
 * How much of blocks this node is to hold has two mouths: its own setting, and whoever says it to the cluster (`dfs node set`). What was said last counts. A setting
 * that is another than at the last start is told to the cluster; a number in the layout that is another than then was said by somebody, and is the limit here too.
 */
export class OwnCapacity {
  readonly #parts: OwnCapacityParts
  #told: Told
  #isKnown: boolean
  #refusal: string | undefined

  private constructor (parts: OwnCapacityParts, told: Told | undefined) {
    this.#parts = parts
    const counted = parts.counted()
    this.#isKnown = told !== undefined
    // the first start that keeps this: what it joined with, unless the setting has changed since
    this.#told = told ?? { given: counted === undefined || parts.given === undefined || counted === parts.given ? parts.given : counted, counted: counted ?? parts.given ?? 0 }
  }

  static async open (parts: OwnCapacityParts): Promise<OwnCapacity> {
    return new OwnCapacity(parts, await readTold(parts.files))
  }

  /** Bytes of blocks that are taken here; undefined: what the disk has. */
  get limitBytes (): number | undefined {
    const { given, counted } = this.#parts
    const now = counted()
    return this.#isNews || now === undefined || now === this.#told.counted ? given : now
  }

  /** What a person should know. */
  get trouble (): string | undefined {
    const { given, tell } = this.#parts
    if (!this.#isNews) return undefined
    if (this.#refusal !== undefined) return `this node's capacity of ${given} bytes is not counted on: ${this.#refusal}`
    return tell === undefined ? `this node's capacity was set to ${given} bytes, and the cluster counts on ${this.#parts.counted() ?? 'nothing'}: say so on a member, "dfs node set PEER --capacity ${given}"` : undefined
  }

  /** Tells the cluster what it has not been told. */
  async step (wait: { signal?: AbortSignal }): Promise<'idle'> {
    const { given, tell } = this.#parts
    if (this.#isNews && given !== undefined && tell !== undefined && this.#refusal === undefined) {
      try {
        await tell(given, wait)
        await this.#remember({ given, counted: given })
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        this.#refusal = error.message
      }
    } else if (!this.#isKnown || (given === undefined && this.#told.given !== undefined)) {
      await this.#remember({ given: this.#isNews ? this.#told.given : given, counted: this.#told.counted })
    }
    return 'idle'
  }

  get #isNews (): boolean { return this.#parts.given !== undefined && this.#parts.given !== this.#told.given }

  async #remember (told: Told): Promise<void> {
    await writeTold(this.#parts.files, told)
    this.#told = told
    this.#isKnown = true
  }
}

const path = 'capacity'

/** 01 | u8 1 if there is a setting | u64 setting | u64 counted | H(all before). */
async function writeTold (files: Files, { given, counted }: Told): Promise<void> {
  await files.writeDurable(path, [withDigest(new ByteWriter().u8(1).u8(given === undefined ? 0 : 1).u64(given ?? 0).u64(counted).finish())])
}

/** Undefined: none, or damaged. Then nothing is known to have been told, which is told once more at worst. */
async function readTold (files: Files): Promise<Told | undefined> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  const body = bytes === undefined ? undefined : withoutDigest(bytes)
  if (body === undefined || body.byteLength !== 18) return undefined
  const reader = new ByteReader(body)
  const [version, hasSetting, given, counted] = [reader.u8(), reader.u8(), reader.u64(), reader.u64()]
  return version === 1 ? { given: hasSetting === 1 ? Number(given) : undefined, counted: Number(counted) } : undefined
}
