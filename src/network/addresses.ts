import { multiaddr } from '@multiformats/multiaddr'
import { MalformedBytes } from '../base/bytes.ts'

/** A multiaddr's binary form, as statements and greetings carry it (https://github.com/multiformats/multiaddr). @throws MalformedBytes */
export function addressBytes (text: string): Uint8Array {
  try { return multiaddr(text).bytes } catch (cause) { throw new MalformedBytes(`not a multiaddr: ${text.slice(0, 200)}`, { cause }) }
}

/** @throws MalformedBytes */
export function addressText (bytes: Uint8Array): string {
  try { return multiaddr(bytes).toString() } catch (cause) { throw new MalformedBytes('not a binary multiaddr', { cause }) }
}

/** Those that are addresses: what a node says of where it listens is its own word, and may be none. */
export function addressTexts (all: readonly Uint8Array[]): readonly string[] {
  return all.flatMap((bytes) => {
    try { return bytes.byteLength === 0 ? [] : [addressText(bytes)] } catch (error) {
      if (error instanceof MalformedBytes) return []
      throw error
    }
  })
}
