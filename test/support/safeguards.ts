/** A safeguard as it stands in the product, and what is there without it. */
export interface Safeguard {
  readonly file: string
  /** Once in the file. */
  readonly text: string
  readonly instead: string
}

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
