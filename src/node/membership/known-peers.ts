import { utf8 } from '../../base/bytes.ts'
import type { Files } from '../../disk/index.ts'

/** Where peers were last seen: hints that let a node find its cluster again without its bootstrap list. */
const path = 'peers.json'

export async function readKnownPeers (files: Files): Promise<ReadonlyMap<string, readonly string[]>> {
  if (await files.size(path) === undefined) return new Map()
  try {
    return new Map(Object.entries(JSON.parse(Buffer.from(await files.read(path)).toString()) as Record<string, string[]>))
  } catch (error) {
    // a damaged hint is no hint: members' rows and bootstrap lists have addresses too
    if (error instanceof SyntaxError) return new Map()
    throw error
  }
}

export async function writeKnownPeers (files: Files, known: ReadonlyMap<string, readonly string[]>): Promise<void> {
  await files.writeDurable(path, [utf8(JSON.stringify(Object.fromEntries(known), null, 2))])
}

/** The peer in a multiaddr that ends in /p2p. */
export const peerInAddress = (address: string): string | undefined => /\/p2p\/([^/]+)$/.exec(address)?.[1]
