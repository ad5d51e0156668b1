/**
 * Memory that can be given back before the collector finds it. What lies outside V8's heap sets off a collection of all of the heap for every 64 MiB that
 * became garbage in the old generation: of a long read a quarter of the processor's time. Blocks that were received are most of it, and it is known when each
 * has been opened; of a put it is pieces and messages of its body, and it is known when each has been copied into the chunker's window. Only who made the memory may lend it: bytes that a store has kept would be gone.
 *
 * Bytes that were given back have length 0. Who uses them after all fails every check, and gets no other's bytes.
 */
const holders = new WeakMap<ArrayBufferLike, number>()

/** The bytes are in memory of their own, which nobody else knows of: whoever is given them next holds it. */
export function lend<Bytes extends Uint8Array> (bytes: Bytes): Bytes {
  // few are not worth it, and may be part of a pool
  if (bytes.byteLength >= leastBytes && bytes.buffer.byteLength - bytes.byteLength <= headBytes) holders.set(bytes.buffer, 1)
  return bytes
}
const leastBytes = 16 * 1024
/** What may stand before them, as it came. */
const headBytes = 64

/** One more holds the bytes, if they were lent. Each has to give them back, or the collector does it when all have forgotten them. */
export function hold ({ buffer }: Uint8Array): void {
  const count = holders.get(buffer)
  if (count !== undefined) holders.set(buffer, count + 1)
}

/** Not used any more by one who was holding them; nothing happens if they were not lent. */
export function giveBack ({ buffer }: Uint8Array): void {
  const count = holders.get(buffer)
  if (count === undefined) return
  if (count > 1) { holders.set(buffer, count - 1); return }
  holders.delete(buffer)
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}

/** What a library has just made and nobody else has seen, e.g. the output of a cipher that was copied: what is made next has its memory, in the processor's cache. */
export function free ({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > poolBytes) buffer.transfer(0)
}
/** Node makes short buffers out of a longer one of this length. */
const poolBytes = Buffer.poolSize
