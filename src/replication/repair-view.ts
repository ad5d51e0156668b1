import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { InventoryItem } from '../blockstore/inventory.ts'
import { isCode } from '../blockstore/shard.ts'
import { type BlockPeers, type Placement, type Presence, presenceLimits, type ShardPresence } from './index.ts'
import type { RepairAccount } from './repair-account.ts'
import { repairLimits } from './repair-limits.ts'
import { type BlockPlan, planFor } from './repair-plan.ts'
import { type ShardPlan, shardPlanFor } from './shard-plan.ts'

/** What is to be done about one block, as whole copies and as shards of each code that a version wants. */
export interface Seen {
  readonly cid: Cid
  /** undefined: nobody has said how many copies there should be. It is kept, and that is all. */
  readonly plan: BlockPlan | undefined
  readonly shardPlans: readonly ShardPlan[]
  /** It is for nobody who is known, and this node holds blocks no more: nothing can be done about it but not to call the node empty. */
  readonly isStranded: boolean
}

export interface ViewParts {
  readonly self: PeerId
  readonly peers: Pick<BlockPeers, 'presence' | 'shardPresence' | 'reachable'>
  readonly placement: Placement & { isMoving (): boolean, members (): readonly PeerId[] }
  readonly account: Pick<RepairAccount, 'isSilent' | 'silent'>
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

/** Asks those where these blocks may lie what they have of them. Who does not answer is left out. */
export async function viewOf (items: readonly InventoryItem[], { self, peers, placement, account, clock, warn }: ViewParts, { signal, isOverdue }: { signal: AbortSignal, isOverdue: boolean }): Promise<readonly Seen[]> {
  const isLeftOut = !placement.members().includes(self)
  const blocks = items.map(({ cid, isHere, isUnseen, shards, references, isInDoubt }) => ({
    cid, isHere, isUnseen, references, isStranded: isLeftOut && isInDoubt, placed: [...new Set(placement.holdersOf(cid))], answers: new Map<PeerId, Presence>(),
    // asked for one that cannot be, a peer refuses the whole question
    codes: references.codes.filter(({ redundancy }) => isCode(redundancy)).map(({ redundancy, digest }) => ({
      cid, redundancy, references: digest, answers: new Map<PeerId, ShardPresence>(),
      indexes: new Set(shards.filter(({ k, m }) => k === redundancy.k && m === redundancy.m).map(({ index }) => index)),
    })),
  }))
  await Promise.all(peers.reachable().filter((peer) => peer !== self && !account.isSilent(peer)).map(async (peer) => {
    const asked = blocks.filter(({ placed }) => placed.includes(peer))
    if (asked.length === 0) return
    using limit = deadline(clock, repairLimits.askMs, { signal, what: 'asking what a peer holds' })
    try {
      const whole = asked.filter(({ references }) => references.redundancy !== undefined)
      const answers = whole.length === 0 ? [] : await peers.presence(peer, whole.map(({ cid }) => cid), { signal: limit.signal })
      for (const [i, block] of whole.entries()) block.answers.set(peer, answers[i] as Presence)
      for (const codes = asked.flatMap((block) => block.codes); codes.length > 0;) {
        const page = codes.splice(0, presenceLimits.maxAsked)
        const found = await peers.shardPresence(peer, page, { signal: limit.signal })
        for (const [i, code] of page.entries()) code.answers.set(peer, found[i] as ShardPresence)
      }
    } catch (error) {
      signal.throwIfAborted()
      if (limit.signal.aborted) account.silent(peer)
      warn(`${peer} did not say what it holds: its copies count for nothing until it does`, error)
    }
  }))
  const isMoving = placement.isMoving()
  return blocks.map(({ cid, isHere, isUnseen, isStranded, references: { redundancy, digest }, placed, answers, codes }) => ({
    cid, isStranded,
    plan: redundancy === undefined ? undefined : planFor({ self, placed, redundancy, isHere, isUnseen, references: digest, answers, isMoving, isOverdue }),
    shardPlans: codes.map((code) => shardPlanFor({ self, placed, isWhole: isHere, isUnseen, isMoving, isOverdue, ...code })),
  }))
}
