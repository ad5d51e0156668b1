import type { Registers } from '../../tables/index.ts'
import { WrongPart } from './errors.ts'
import type { FoundUpload } from './open-upload.ts'
import { decodePart, decodePartSummary, partKey, type PartRow, partsOf, type PartSummary, uploadAddress } from './upload-row.ts'
import { tables } from '../../tables/index.ts'

type Of = Pick<FoundUpload, 'bucketId' | 'id'>

export const partRowLimits = {
  /** Rows of parts read ahead of the manifest that lists them. */
  readAhead: 32,
  maxPage: 1000,
} as const

/** Parts in order of their numbers, without their chunks. */
export async function partPage (registers: Pick<Registers, 'list'>, { bucketId, id }: Of, { after, limit, signal }: { after: number | undefined, limit: number, signal?: AbortSignal }): Promise<{ parts: readonly PartSummary[], next: number | undefined }> {
  const page = await registers.list({ table: tables.uploads, scope: bucketId, prefix: partsOf(id), after: after === undefined ? undefined : partKey(id, after), limit }, { signal })
  const parts = page.entries.map(({ name, summary }) => decodePartSummary(name, summary))
  return { parts, next: page.next === undefined ? undefined : parts.at(-1)?.number }
}

/** All of them. */
export async function * allPartsOf (registers: Pick<Registers, 'list'>, of: Of, wait: { signal?: AbortSignal }): AsyncIterable<PartSummary> {
  let after: number | undefined
  do {
    const page = await partPage(registers, of, { after, limit: partRowLimits.maxPage, ...wait })
    yield * page.parts
    after = page.next
  } while (after !== undefined)
}

/**
 * All of a stream, each of whose parts came after the one before it. A listing is not a snapshot: while it is asked for it may come to have a part and not the one
 * before, which is then looked for.
 */
export async function * streamedParts (registers: Pick<Registers, 'list' | 'read'>, of: Of, wait: { signal?: AbortSignal }): AsyncIterable<PartSummary> {
  let next = 1
  for await (const part of allPartsOf(registers, of, wait)) {
    for (; next < part.number; next++) {
      const value = await registers.read(uploadAddress(of.bucketId, partKey(of.id, next)), wait)
      if (value !== undefined) yield decodePart(value)
    }
    yield part
    next = part.number + 1
  }
}

/** The rows of these numbers, in this order, some ahead. @throws WrongPart for one that is not there */
export async function * partRows (registers: Pick<Registers, 'read'>, { bucketId, id }: Of, numbers: Iterable<number>, wait: { signal?: AbortSignal }): AsyncIterable<PartRow> {
  const ahead: Array<Promise<PartRow>> = []
  const read = async (number: number): Promise<PartRow> => {
    const value = await registers.read(uploadAddress(bucketId, partKey(id, number)), wait)
    if (value === undefined) throw new WrongPart(number, `part ${number} was never put`)
    return decodePart(value)
  }
  for (const number of numbers) {
    const row = read(number)
    // a failure is heard when its turn comes
    row.catch(() => {})
    ahead.push(row)
    if (ahead.length > partRowLimits.readAhead) yield await (ahead.shift() as Promise<PartRow>)
  }
  for (const row of ahead) yield await row
}
