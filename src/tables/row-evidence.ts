import { ByteReader, ByteWriter, concat, equals } from '../base/bytes.ts'
import { StoreFull } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { FileMissing, type Files, type KeyValue, type KeyValueChange } from '../disk/index.ts'
import { openJournal, readJournal, type JournalOpened } from './journal.ts'
import { decodeProof } from './row-proof.ts'
import { decodeEntry, type JournalEntry } from './stored-row-format.ts'

/**
 * What a store finds of itself when it is opened. Journal, proof and index each testify to the others: the proof says how far the journal must reach, and
 * so does the mark that goes into the index with every batch. Without the mark, a journal whose end reads as zeros looks like a write that was cut short,
 * and replaying what is left would put older promises over newer ones without a trace.
 */
export interface RowEvidence {
  readonly saved: NonNullable<ReturnType<typeof decodeProof>> | undefined
  readonly journal: JournalOpened['journal']
  /** What the proof does not cover yet, oldest first. */
  readonly entries: readonly JournalEntry[]
  /** Counters up to here were given out, as far as is known. */
  readonly counter: bigint
  /** Why nothing here is proof of anything. Undefined: the store is whole, or new. */
  readonly loss: string | undefined
}

/** Beyond every partition. Value: u64 position | u64 counter | first 16 of H(key | those). */
const markKey: Uint8Array = Uint8Array.of(0xff)
const markCheckLength = 16

interface Mark { readonly position: bigint, readonly counter: bigint }

export function markChange ({ position, counter }: Mark): KeyValueChange {
  const body = new ByteWriter().u64(position).u64(counter).finish()
  return { type: 'put', key: markKey, value: concat([body, hash(markKey, body).subarray(0, markCheckLength)]) }
}

function decodeMark (value: Uint8Array): Mark | 'damaged' {
  const body = value.subarray(0, -markCheckLength)
  if (body.byteLength !== 16 || !equals(hash(markKey, body).subarray(0, markCheckLength), value.subarray(-markCheckLength))) return 'damaged'
  const reader = new ByteReader(body)
  return { position: reader.u64(), counter: reader.u64() }
}

export async function gatherEvidence ({ files, folder, index }: { files: Files, folder: string, index: KeyValue }): Promise<RowEvidence> {
  const proof = await readProof(files, folder)
  const saved = typeof proof === 'object' ? proof : undefined
  const { journal, frames, isDamaged } = await openJournal(files, `${folder}/journal`, saved?.head.position)
  const mark = await readMark(index)
  const entries = frames.filter(({ position }) => saved === undefined || position > saved.head.position).map((frame) => decodeEntry(frame))
  const isUsed = journal.position > 0n || frames.length > 0 || await hasRows(index)
  const loss = isDamaged ? 'the journal is damaged'
    : proof === 'damaged' ? 'the proof is damaged'
    : proof === 'none' && isUsed ? 'the proof is missing'
    : mark === 'damaged' ? 'the mark in the index is damaged'
    : mark !== undefined && mark.position > journal.position ? 'the journal lacks saves that the index has had'
    : undefined
  const known = highest([saved?.head.counter ?? 0n, typeof mark === 'object' ? mark.counter : 0n, ...entries.map(({ counter }) => counter)])
  return { saved, journal, entries, counter: known, loss }
}

/** What journal and proof of a store that nobody has open tell, without its index: why they prove nothing; undefined: they are whole. */
export async function examineRows (files: Files, folder: string): Promise<string | undefined> {
  const proof = await readProof(files, folder)
  if (proof === 'damaged') return 'the proof is damaged'
  const { isDamaged, link, frames } = await readJournal(files, `${folder}/journal`, typeof proof === 'object' ? proof.head.position : undefined)
  if (isDamaged) return 'the journal is damaged'
  return proof === 'none' && (link.position > 0n || frames.length > 0) ? 'the proof is missing' : undefined
}

async function readProof (files: Files, folder: string): Promise<NonNullable<ReturnType<typeof decodeProof>> | 'none' | 'damaged'> {
  try {
    return decodeProof(await files.read(`${folder}/proof`)) ?? 'damaged'
  } catch (error) {
    if (error instanceof FileMissing) return 'none'
    throw error
  }
}

/** A table that LevelDB cannot read where the mark should be says that it has been damaged, not that there is none. */
async function readMark (index: KeyValue): Promise<Mark | 'damaged' | undefined> {
  try {
    const marked = await index.get(markKey)
    return marked === undefined ? undefined : decodeMark(marked)
  } catch (error) {
    if (error instanceof StoreFull) throw error
    return 'damaged'
  }
}

async function hasRows (index: KeyValue): Promise<boolean> {
  for await (const _key of index.keys({ to: markKey, limit: 1 })) return true
  return false
}

const highest = (values: readonly bigint[]): bigint => values.reduce((a, b) => (a > b ? a : b), 0n)
