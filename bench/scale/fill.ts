import { fromHex, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { systemRandom } from '../../src/base/random.ts'
import { freshVersion } from '../../src/encryption/index.ts'
import { encodeContent } from '../../src/file/content.ts'
import { encodeObjectRow } from '../../src/objects/object-row.ts'
import { encodeEnvelope } from '../../src/tables/envelope.ts'
import { type StoredRow, tables } from '../../src/tables/index.ts'
import { cpuSecondsSince } from '../measure.ts'
import { rowsOfMember } from './rows-of-member.ts'

/**
 * Rows of objects into the row store of a member that does not run, as if each had been put: sealed by the same codec, saved by the same store, so that a node finds
 * nothing odd about them, at ten times the rate of puts. Arguments: data folder, bucket id, from, to (numbers of objects). Prints a Filled.
 */
export interface Filled { readonly rows: number, readonly cpuSeconds: number }

const [data = '', bucketId = '', from = '0', to = '0'] = process.argv.slice(2)
const atOnce = 1024
/** Makes a row about as long as that of an object of one chunk. */
const contentBytes = 100

const { rows, codec, keys, signer } = await rowsOfMember(data)
await using _open = rows
const ballot = { counter: await rows.nextCounter(0n), proposer: signer.publicKey }
const [scope, content] = [fromHex(bucketId), encodeContent({ kind: 'inline', bytes: new Uint8Array(contentBytes) })]
const before = process.cpuUsage()
for (let at = Number(from); at < Number(to); at += atOnce) {
  await rows.save(Array.from({ length: Math.min(atOnce, Number(to) - at) }, (_, i) => rowOf(at + i)))
}
console.log(JSON.stringify({ rows: Number(to) - Number(from), cpuSeconds: cpuSecondsSince(before) } satisfies Filled))

function rowOf (at: number): StoredRow {
  const key = keyOf(at)
  const rowKey = codec.rowKeyOf({ table: tables.objects, scope, key: utf8(key) })
  const value = encodeObjectRow({
    bucketId: scope, key, pending: [], dropped: [],
    current: { ...freshVersion(keys, systemRandom), sizeBytes: contentBytes, modifiedMs: 1_800_000_000_000, contentType: 'application/octet-stream', metadata: {}, content, hasBlocks: false },
  })
  const body = encodeEnvelope({ operations: [systemRandom.bytes(16), systemRandom.bytes(16)], value })
  return { table: tables.objects, rowKey, promised: ballot, accepted: codec.encode({ table: tables.objects, rowKey, content: { revision: 2n, isTombstone: false, body }, ballot }) }
}

/** In 256 folders, and in no order of their numbers. */
function keyOf (at: number): string {
  const digits = Buffer.from(hash(utf8(String(at)))).toString('hex')
  return `filled/${digits.slice(0, 2)}/${digits.slice(2, 18)}`
}
