// AssemblyScript, compiled to gear.wasm by `npm run build:wasm`. Memory: 256 × u32 table at 0, data from `dataAt` on.
// Gear hash (Xia et al., "FastCDC", USENIX ATC 2016): h = (h << 1) + table[byte]; a byte's influence is gone after 32 steps.

export const dataAt: u32 = 1024

/**
 * Looks for a cut in [from, to): the first position after which the hash has no bit of the mask. `hash` goes on from call to call.
 * Returns the position behind the cut, or 0 if there is none; lastHash() has the hash at the end.
 */
export function scan (from: u32, to: u32, mask: u32, hash: u32): u32 {
  let h = hash
  for (let at = from; at < to; at++) {
    h = (h << 1) + load<u32>(<u32>load<u8>(dataAt + at) << 2)
    if ((h & mask) == 0) {
      state = h
      return at + 1
    }
  }
  state = h
  return 0
}

let state: u32 = 0
export function lastHash (): u32 { return state }
