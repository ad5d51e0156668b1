import { Corrupt } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type ClusterKeys, openBlock, sealBlock, type SealedBlock } from '../encryption/index.ts'
import { compressed, decompressed } from './compression.ts'
import { type Entry, encodeNode, type ManifestNode } from './manifest.ts'
import { padded, unpadded } from './padding.ts'

/** How a bucket wants its chunks. */
export interface SealingOptions {
  /** Bucket id (16 bytes), or empty where equal content is one block over the whole cluster. */
  readonly domain: Uint8Array
  readonly isPrivate: boolean
  readonly compression: 'auto' | 'off'
}

/** Chunks and nodes to blocks and back, under one cluster's keys. */
export interface Sealer {
  chunk (plaintext: Uint8Array, options: SealingOptions & { mostBytes: number, isLast: boolean }): SealedBlock
  node (node: ManifestNode): SealedBlock
  /** The plaintext of a chunk: checked against address and key, decompressed or unpadded to exactly the entry's size. @throws Corrupt */
  openChunk (block: Uint8Array, entry: Entry): Uint8Array
  /** The payload of a node. @throws Corrupt */
  openNode (block: Uint8Array, entry: Entry): Uint8Array
}

export function sealerOf (keys: ClusterKeys, random: Random): Sealer {
  return {
    chunk (plaintext, { domain, isPrivate, compression, mostBytes, isLast }) {
      // which rises while the node runs
      const epoch = keys.currentEpoch
      if (isPrivate) {
        const payload = isLast ? padded(plaintext, { most: mostBytes }) : plaintext
        return sealBlock({ type: 'data', flag: payload.byteLength === plaintext.byteLength ? 'plain' : 'padded', epoch, payload, secret: { kind: 'random', key: keys.epoch(epoch).random, fresh: random.bytes(32) } })
      }
      const smaller = compression === 'auto' ? compressed(plaintext) : undefined
      return sealBlock({ type: 'data', flag: smaller === undefined ? 'plain' : 'compressed', epoch, payload: smaller ?? plaintext, secret: { kind: 'convergent', key: keys.domain(epoch, domain).convergence } })
    },
    node (node) {
      const epoch = keys.currentEpoch
      return sealBlock({ type: 'manifest', flag: 'plain', epoch, payload: encodeNode(node), secret: { kind: 'random', key: keys.epoch(epoch).random, fresh: random.bytes(32) } })
    },
    openChunk (block, entry) {
      const { payload, flag } = openBlock(block, { ...entry, type: 'data', lengthBytes: entry.blockBytes })
      if (flag === 'compressed') return decompressed(payload, entry.sizeBytes)
      if (flag === 'padded') return unpadded(payload, entry.sizeBytes)
      if (payload.byteLength !== entry.sizeBytes) throw new Corrupt(`a chunk of ${payload.byteLength} bytes where its manifest says ${entry.sizeBytes}`)
      return payload
    },
    openNode: (block, entry) => openBlock(block, { ...entry, type: 'manifest', lengthBytes: entry.blockBytes }).payload,
  }
}
