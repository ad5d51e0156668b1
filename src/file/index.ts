/** Files as sealed blocks: cut, compressed or padded, sealed, listed in a manifest; and back. */
export { type ChunkProfile, contentChunks, fixedChunkBytes, fixedChunks, gearTable, profiles } from './chunker.ts'
export { type Content, contentLimits, decodeContent, encodeContent, sizeOfContent } from './content.ts'
export { excerptLimits, excerptOf, type ExcerptOptions } from './excerpt.ts'
export { joinContents, joinLimits } from './join.ts'
export { decodeNode, encodeNode, type Entry, type ManifestNode, manifestLimits } from './manifest.ts'
export { leavesOf, readFile, readLimits, type ReadOptions, type ReadRoom } from './reader.ts'
export { type Sealer, sealerOf, type SealingOptions } from './sealing.ts'
export { writeFile, type WriteOptions } from './writer.ts'
