export const saltOf = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset).getUint32(0)

// the finalizer of MurmurHash3 (https://github.com/aappleby/smhasher): well mixed and the same everywhere, nothing more is asked of it
export function mixed (salt: number, partition: number): number {
  let h = salt ^ Math.imul(partition + 1, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
