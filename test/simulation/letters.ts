import { equals, textOf, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { type ContentCodec, redundancyLimits } from '../../src/objects/index.ts'

/** A letter is a block: a small one as a small letter, a file of its own, and an object large enough for shards, as a capital. So a few letters are what many versions share. Whatever else there is stands in the row. */
export const isLarge = (letter: string): boolean => letter !== letter.toLowerCase()

/** What it is taken for, in bytes. */
const sizeOf = (letter: string): number => isLarge(letter) ? redundancyLimits.spreadFromBytes : 1

const blocks = new Map(Array.from('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ', (letter) => {
  const block = new Uint8Array(isLarge(letter) ? 80_000 : 64).fill(letter.charCodeAt(0))
  return [letter, { cid: cidOf(block), block }] as const
}))

export function blockOfLetter (letter: string): { readonly cid: Cid, readonly block: Uint8Array } {
  const found = blocks.get(letter)
  if (found === undefined) throw new Error(`${letter} is no letter`)
  return found
}

export const lettersContent: ContentCodec = {
  namesOf: () => ({ root: undefined, chunks: [] }),
  rootOf: () => undefined,
  async * blocksOf (content) {
    for (const letter of new Set(textOf(content))) if (blocks.has(letter)) yield { cid: blockOfLetter(letter).cid, mayBeSpread: isLarge(letter) }
  },
  writePart: async () => none(),
  join: async () => none(),
  excerpt: async () => none(),
  async write (source, { put }) {
    const letters: string[] = []
    for await (const piece of source) {
      for (const letter of textOf(piece)) {
        letters.push(letter)
        if (!blocks.has(letter)) continue
        const { cid, block } = blockOfLetter(letter)
        await put(cid, block, { mayBeSpread: isLarge(letter) })
      }
    }
    return { sizeBytes: letters.reduce((sum, letter) => sum + sizeOf(letter), 0), content: utf8(letters.join('')), hasBlocks: letters.some((letter) => blocks.has(letter)), root: undefined, chunks: [] }
  },
  async * read (content, { get }) {
    for (const letter of textOf(content)) {
      if (!blocks.has(letter)) { yield utf8(letter); continue }
      const { cid, block } = blockOfLetter(letter)
      if (!equals(await get(cid, { mayBeSpread: isLarge(letter) }), block)) throw new Error('other bytes')
      yield utf8(letter)
    }
  },
}

const none = (): never => { throw new Error('letters have no parts') }
