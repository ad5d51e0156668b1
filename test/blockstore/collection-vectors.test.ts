import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { concat, fromHex, hexOf } from '../../src/base/bytes.ts'
import { cidOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { condemnedKeyOf, deadKeyOf, encodeSince, longDeadKeyOf } from '../../src/blockstore/condemned.ts'
import { deathOf } from '../../src/tables/deaths.ts'
import { decodeAnswer, encodeAnswer, encodeRequest } from '../../src/tables/messages-codec.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/collection-vectors.json', import.meta.url), 'utf8')) as {
  proof: string, block: string, versionId: string, run: string, monotonicMs: number, condemned: { key: string, value: string }, dead: { key: string, value: string }, longDead: { key: string }
  publish: { version: number, request: string, answer: string }, deaths: { request: string, answer: string }
}
const [proof, block, versionId] = [fromHex(vectors.proof), fromHex(vectors.block), fromHex(vectors.versionId)]

test('deaths, and what a holder keeps of them, are what they were', () => {
  expect(hexOf(deathOf(proof).rowKey)).toBe(vectors.versionId)
  expect(hexOf(condemnedKeyOf(cidOf(block)))).toBe(vectors.condemned.key)
  expect(hexOf(encodeSince({ run: fromHex(vectors.run), monotonicMs: vectors.monotonicMs + 0.9 }))).toBe(vectors.condemned.value)
  expect(hexOf(deadKeyOf(cidOf(block), { versionId }))).toBe(vectors.dead.key)
  expect(hexOf(longDeadKeyOf(cidOf(block), { versionId }))).toBe(vectors.longDead.key)
  expect(hexOf(encodeRequest({ version: BigInt(vectors.publish.version), kind: 'publish', proofs: [proof] }))).toBe(vectors.publish.request)
  expect(decodeAnswer(fromHex(vectors.publish.answer))).toEqual({ kind: 'published', published: [true, false] })
  expect(hexOf(encodeAnswer({ kind: 'deaths', proofs: [proof, undefined] }))).toBe(vectors.deaths.answer)
})

test('the same, by hand from the page of the format', () => {
  const digest = hash(block)
  expect(vectors.versionId).toBe(hexOf(hash(proof)))
  expect(vectors.condemned.key).toBe(hexOf(concat([Uint8Array.of(0x0b), digest])))
  expect(vectors.condemned.value).toBe(`${vectors.run}${vectors.monotonicMs.toString(16).padStart(16, '0')}`)
  expect(vectors.dead.key).toBe(hexOf(concat([Uint8Array.of(0x0c), digest, hash(proof)])))
  expect(vectors.longDead.key).toBe(hexOf(concat([Uint8Array.of(0x0d), digest, hash(proof)])))
  expect(vectors.publish.request).toBe(`020a${vectors.publish.version.toString(16).padStart(16, '0')}0001${vectors.proof}`)
  expect(vectors.deaths.request).toBe(`020b${vectors.publish.version.toString(16).padStart(16, '0')}0001${vectors.versionId}`)
})
