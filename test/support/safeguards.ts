/** A safeguard as it stands in the product, and what is there without it. */
export interface Safeguard {
  readonly file: string
  /** Once in the file. */
  readonly text: string
  readonly instead: string
  /** Where what it prevents is prevented once more. */
  readonly also?: Safeguard
}

/** All that is taken out with it. */
export const partsOf = (safeguard: Safeguard): readonly Safeguard[] => [safeguard, ...safeguard.also === undefined ? [] : partsOf(safeguard.also)]

/** What the proofs with real processes must miss, by what a node does without it. */
export const safeguards: Readonly<Record<string, Safeguard>> = {
  'one decides alone': {
    file: 'src/tables/electorate.ts',
    text: 'majorityOf = (voters: number): number => Math.floor(voters / 2) + 1',
    instead: 'majorityOf = (voters: number): number => Math.min(1, voters)',
  },
  'two of however many decide': {
    file: 'src/tables/electorate.ts',
    text: 'majorityOf = (voters: number): number => Math.floor(voters / 2) + 1',
    instead: 'majorityOf = (voters: number): number => Math.min(2, Math.floor(voters / 2) + 1)',
  },
  'a layout ends before its hand-over is confirmed': {
    file: 'src/node/layout/layout-keeper.ts',
    text: "if (late.length === 0) await this.#propose(layout, changed, 'all has",
    instead: "if (late.length >= 0) await this.#propose(layout, changed, 'all has",
  },
  'nothing is taken over': {
    file: 'src/tables/hand-over.ts',
    text: 'this.#left = [...takeover.partitions].sort(',
    instead: 'this.#left = takeover.partitions.filter((partition) => partition === clearPartition).sort(',
  },
  'nothing is taken over, nor compared afterwards': {
    file: 'src/tables/hand-over.ts',
    text: 'this.#left = [...takeover.partitions].sort(',
    instead: 'this.#left = takeover.partitions.filter((partition) => partition === clearPartition).sort(',
    also: {
      file: 'src/tables/anti-entropy.ts',
      text: 'return of.includes(this.#ports.self) && of.includes(peer)',
      instead: 'return partition === clearPartition && of.includes(this.#ports.self) && of.includes(peer)',
    },
  },
  'graces are counted by the wall clock': {
    file: 'src/base/clock.ts',
    text: 'monotonicMs: () => performance.now(),',
    instead: 'monotonicMs: () => Date.now(),',
  },
  'redundant shards are not kept': {
    file: 'src/blockstore/holder.ts',
    text: 'async storeShard (shard: Shard, reference: BlockReference): Promise<void> {\n',
    instead: 'async storeShard (shard: Shard, reference: BlockReference): Promise<void> {\n    if (shard.index >= shard.k) return\n',
  },
  'blocks are not verified when they are read': {
    file: 'src/blockstore/disk-blocks.ts',
    text: 'isRight: (cid, block) => cidOf(block) === cid,',
    instead: 'isRight: () => true,',
  },
  'what the full disk did not take counts as stored': {
    file: 'src/blockstore/piece-disk.ts',
    text: 'await this.heeding(this.files.writeDurable(path, [bytes], { temporaryFolder: pieceRoots.temporary }))',
    instead: 'await this.heeding(this.files.writeDurable(path, [bytes], { temporaryFolder: pieceRoots.temporary })).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })',
  },
  'blocks use the reserve': {
    file: 'src/blockstore/piece-disk.ts',
    text: 'if (free() - bytes < reserveBytes) throw',
    instead: 'if (free() - bytes < 0) throw',
  },
  'rows that the disk did not take count as saved': {
    file: 'src/tables/row-writer.ts',
    text: '.catch((cause: unknown) => { throw health.journalFailedBy(cause) })',
    instead: '.catch(() => {})',
    also: {
      file: 'src/tables/row-writer.ts',
      text: 'await applyToIndex(index, changes, { mark: [this.#mark()], sync: false })',
      instead: 'await applyToIndex(index, changes, { mark: [this.#mark()], sync: false }).catch(() => {})',
    },
  },
  'an index is written on behind where the disk was full': {
    file: 'src/disk/level-key-value.ts',
    text: 'if (this.#failure instanceof StoreFull) await this.#reopen(this.#failure)',
    instead: 'if (this.#failure instanceof StoreFull) this.#failure = undefined',
  },
  'nobody looks whether there is room again': {
    file: 'src/node/open.ts',
    text: 'await this.#rows.recover(); await this.#stores.blocks.recover(); return',
    instead: 'return',
  },
  'half a frame stays in the journal': {
    file: 'src/disk/node-files.ts',
    text: 'await file.truncate(sizeBytes)\n        throw error',
    instead: 'throw error',
  },
  'what a peer sends is not verified': {
    file: 'src/protocols/fetch.ts',
    text: ' || cidOf(block) !== cid)',
    instead: ')',
  },
  'whoever likes proposes': {
    file: 'src/tables/replica.ts',
    text: "if (!isMember(from)) throw new Refused('only members propose')",
    instead: '',
  },
}
