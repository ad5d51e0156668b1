import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, partitionCount } from '../../src/base/bytes.ts'
import { hash, withDigest } from '../../src/base/hash.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import type { RowChange } from '../../src/tables/row-changes.ts'
import { decodeProof, RowProof } from '../../src/tables/row-proof.ts'
import { decodeEntry, encodeEntry } from '../../src/tables/stored-row-format.ts'
import { newDisk, openOn, promise, row, rowKey } from './row-store-disk.ts'

interface Vectors {
  readonly version1: { readonly storeId: string, readonly journal: string, readonly proof: string }
  readonly version2: { readonly segment: string, readonly body: string, readonly proof: string }
}
const vectors = JSON.parse(readFileSync(new URL('../vectors/row-store-vectors.json', import.meta.url), 'utf8')) as Vectors

const changes: readonly RowChange[] = [
  { kind: 'saved', row: row(1, 4), before: undefined },
  { kind: 'saved', row: promise(2, 3), before: hash(Uint8Array.of(9)) },
  { kind: 'filled', row: row(3, 5) },
  { kind: 'buried', table: 1, rowKey: rowKey(4), before: hash(Uint8Array.of(8)) },
  { kind: 'floor', partition: 4095, floor: promise(0, 7).promised },
  { kind: 'cleared', partition: 16, what: 'sealed', remains: { count: 2, sum: 258n } },
  { kind: 'cleared', partition: 17, what: 'everything', remains: { count: 0xffff_ffff, sum: 0n } },
  { kind: 'restored', partition: 17, found: { count: 1, sum: 3n } },
]

describe('what a row store writes', () => {
  test('is what the vectors say, and is read back', async () => {
    const body = encodeEntry({ changes, counter: 1024n })
    expect(hexOf(body)).toBe(vectors.version2.body)
    expect(decodeEntry({ body, format: 2 })).toEqual({ changes, counter: 1024n })
    const disk = newDisk()
    const store = await openOn(disk)
    await store.save([row(1, 4)])
    await store.raiseFloor([4095, promise(0, 7).promised])
    expect(hexOf(await disk.files.read(disk.files.paths.find((path) => path.includes('/journal/')) as string))).toBe(vectors.version2.segment)
  })

  test('and the proof, with its floors', () => {
    const proof = new RowProof()
    proof.set(1, { count: 3, sum: 5n })
    proof.lose(2)
    proof.raiseFloor(3, promise(0, 7).promised)
    const bytes = proof.encode({ storeId: new Uint8Array(16).fill(6), position: 8n, counter: 9n })
    expect(hexOf(hash(bytes))).toBe(vectors.version2.proof)
    const read = decodeProof(bytes)
    expect(read?.head).toEqual({ storeId: new Uint8Array(16).fill(6), position: 8n, counter: 9n })
    expect([read?.proof.holds(1, { count: 3, sum: 5n }), read?.proof.isLost(2), read?.proof.floor(3)?.counter, read?.proof.floor(1)]).toEqual([true, true, 7n, undefined])
    expect(decodeProof(withDigest(bytes.subarray(0, -33)))).toBeUndefined()
    expect(read?.proof.floor(clearPartition)).toBeUndefined()
    proof.raiseFloor(clearPartition, promise(0, 8).promised)
    const withClear = proof.encode({ storeId: new Uint8Array(16).fill(6), position: 8n, counter: 9n })
    expect(withClear.byteLength).toBe(bytes.byteLength + 40)
    expect(decodeProof(withClear)?.proof.floor(clearPartition)?.counter).toBe(8n)
    expect(decodeProof(withDigest(withClear.subarray(0, -33)))).toBeUndefined()
  })
})

test('a store of version 1 is opened with all that it has, and goes on as one of version 2', async () => {
  const { storeId, journal, proof } = vectors.version1
  const head = [Uint8Array.of(0x44, 0x46, 0x53, 0x50, 1), fromHex(storeId), new Uint8Array(16), new Uint8Array(partitionCount * 36)]
  const written = withDigest(Buffer.concat(head))
  expect(hexOf(hash(written))).toBe(proof)
  const disk = { files: memoryFiles(), index: memoryKeyValue() }
  await disk.files.ensureFolder('rows/journal')
  await disk.files.writeDurable('rows/proof', [written])
  // its last frame was cut short by a crash: nobody was told of it
  await disk.files.writeDurable('rows/journal/0000000000000000', [Buffer.concat([fromHex(journal), fromHex(journal).subarray(29, 50)])])
  for (let start = 0; start < 2; start++) {
    const store = await openOn(disk)
    expect(store.lostPartitions().size).toBe(0)
    expect(hexOf(store.storeId)).toBe(storeId)
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 4))
    expect(await store.get(1, rowKey(2))).toEqual(promise(2, 3))
    await store.save([row(3, 5)])
  }
})
