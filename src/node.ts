export { examineFolder } from './node/health/examine.ts'
export { bySeverity, type Finding } from './node/health/findings.ts'
export { initCluster } from './node/membership/found.ts'
export { joinCluster } from './node/membership/join.ts'
export { openNode, type OpenOptions } from './node/open.ts'
export { isNode } from './node/state.ts'
export { changeSecrets } from './node/membership/rekey.ts'
export type * from './node/health/reports.ts'
import type { SpanDigesting } from './base/checksums.ts'
import type { PeerId } from './base/peer-id.ts'
import type { Finding } from './node/health/findings.ts'
import type { AnnounceReport, ClusterConversion, CollectReport, CompareReport, ConvertReport, RepairReport, ScrubReport, VerifyEvent, VerifyOptions } from './node/health/reports.ts'
import type { AccessKeys, Objects, Shares } from './objects/index.ts'

/** A running node, as faces and embedding programs see it. */
export interface DfsNode extends AsyncDisposable {
  readonly peerId: PeerId
  readonly objects: Objects
  /** What programs that speak S3 are let in with. */
  readonly keys: AccessKeys
  /** Links that let whoever has them read one object. */
  readonly shares: Shares
  /** Digests taken beside the thread that serves users. */
  readonly digestingSpans: SpanDigesting
  status (): Promise<NodeStatus>
  peers (): readonly PeerStatus[]
  /** Announcements from now on, this node's own too. Ends with the signal. At most 1,000 wait for a slow reader; the oldest go first. */
  watch (options: { signal: AbortSignal }): AsyncIterable<AnnouncementSeen>
  /** One token for each use. @throws Refused when joining is closed or this node may not invite */
  invite (options: InviteOptions): Promise<readonly string[]>
  /** The invites that this node has made, the oldest first (the last 1,000). */
  invites (wait?: { signal?: AbortSignal }): Promise<readonly InviteState[]>
  /** By token or by key: from then on nobody joins with it. @throws Conflict if somebody has, InvalidInput, Unavailable */
  revokeInvite (invite: string, wait?: { signal?: AbortSignal }): Promise<void>
  /**
   * Puts a node out: its sessions are closed, it is let in no more, and if it could read, what is sealed from now on it cannot. What it has read it may have kept.
   * @throws Refused, NotFound, Unavailable (nothing happened), UnknownOutcome (repeat it)
   */
  removeMember (peer: PeerId, wait?: { signal?: AbortSignal }): Promise<{ readonly era: number, readonly epoch: number }>
  /**
   * Keys of a new epoch: what is sealed from now on nobody can read with a copy of those of before. What is sealed already stays as it is. Unused invites are dead with it.
   * @throws Refused, Unavailable (nothing happened), UnknownOutcome (once more does no harm)
   */
  rotateKeys (wait?: { signal?: AbortSignal }): Promise<{ readonly era: number, readonly epoch: number }>
  /**
   * When a majority is gone for good: these nodes are given up, and what survived them goes on. With `isDryRun` only says what that would mean.
   * @throws InvalidInput, Refused (one of them answers, a majority answers, this node may not), Unavailable (one that is not named does not answer; or repeat it)
   */
  forgetLost (lost: readonly PeerId[], options?: { isDryRun?: boolean, signal?: AbortSignal }): Promise<LossReport>
  /** That a member shall hold and decide nothing from now on, or again something; the layout follows. As `changes.set`. @throws Refused, Unavailable */
  setDraining (peer: PeerId, isDraining: boolean, wait?: { signal?: AbortSignal }): Promise<void>
  /** What is done to the nodes of the cluster: said beforehand, done, followed. @throws Refused on a node without keys */
  readonly changes: {
    /** What a change would move; nothing is changed. @throws Refused, InvalidInput, NotFound, Unavailable */
    plan (change: NodeChange, wait?: { signal?: AbortSignal }): Promise<ChangeForecast>
    /** @throws Refused where what is held would not fit any more, unless `isForced`; InvalidInput, Unavailable */
    set (peer: PeerId, settings: NodeSettings, options?: { isForced?: boolean, signal?: AbortSignal }): Promise<void>
    /**
     * One step of a replacement; to be repeated until it is 'removed'. `by` has joined and takes what `gone` had. @throws Refused (on a node that may not remove, too), NotFound, Unavailable, UnknownOutcome
     */
    replace (gone: PeerId, by: PeerId, options?: { isForced?: boolean, signal?: AbortSignal }): Promise<ReplaceState>
    /** A token: who joins with it takes what `gone` had. @throws Refused, Unavailable */
    inviteFor (gone: PeerId, options?: { zone?: string | undefined, signal?: AbortSignal }): Promise<string>
    /** Who has joined with such a token; undefined: nobody yet. */
    heir (gone: PeerId, wait?: { signal?: AbortSignal }): Promise<PeerId | undefined>
    /** How far the change is that is under way. @throws Unavailable */
    progress (wait?: { signal?: AbortSignal }): Promise<ChangeProgress>
  }
  /** Who decides and holds how much, as this node knows it. */
  layout (): LayoutReport
  /** Nodes that invite and remove beside the one that made the cluster. */
  admins (): readonly PeerId[]
  /** @throws Refused but on the node that made the cluster, NotFound, Unavailable, UnknownOutcome */
  addAdmin (peer: PeerId, wait?: { signal?: AbortSignal }): Promise<void>
  removeAdmin (peer: PeerId, wait?: { signal?: AbortSignal }): Promise<void>
  /** What keeps the redundancy of blocks full. @throws Refused on a witness, which holds none */
  readonly repair: {
    status (): RepairReport
    /** Everything is looked at afresh. @throws Refused while paused */
    now (): RepairReport
    /** Until `resume`, or the next start. */
    pause (): RepairReport
    resume (): RepairReport
  }
  /** What brings the space of dead versions back. @throws Refused on a witness, which holds no blocks */
  readonly collect: {
    status (): CollectReport
    /** What is dead is looked for now; the grace is waited all the same. @throws Refused while paused */
    now (): CollectReport
    /** Until `resume`, or the next start. */
    pause (): CollectReport
    resume (): CollectReport
  }
  /** What gives objects the redundancy that their bucket was set to. Each member does its share, and is asked for it. @throws Refused on a node without keys */
  readonly convert: {
    status (wait?: { signal?: AbortSignal }): Promise<ConvertReport & { readonly cluster: ClusterConversion }>
    /** Everything is looked at now. @throws Refused while paused */
    now (wait?: { signal?: AbortSignal }): Promise<ConvertReport & { readonly cluster: ClusterConversion }>
    /** This node's share, until `resume`, or the next start. */
    pause (wait?: { signal?: AbortSignal }): Promise<ConvertReport & { readonly cluster: ClusterConversion }>
    resume (wait?: { signal?: AbortSignal }): Promise<ConvertReport & { readonly cluster: ClusterConversion }>
  }
  /** What keeps the replicas of rows equal. */
  readonly compare: {
    status (): CompareReport
    /** With all other replicas, from the beginning where that is not under way. @throws Refused while paused */
    now (): CompareReport
    /** Until `resume`, or the next start. */
    pause (): CompareReport
    resume (): CompareReport
  }
  /** What says again what is stored, for those who have started since. @throws Refused on a node without keys */
  readonly announce: {
    status (): AnnounceReport
    /** @throws Refused while paused */
    now (): AnnounceReport
    /** Until `resume`, or the next start. */
    pause (): AnnounceReport
    resume (): AnnounceReport
  }
  /** What reads everything on this node's disk again, to find what has rotted. */
  readonly scrub: {
    status (): ScrubReport
    /** Everything is read now, as fast as users allow. @throws Refused while paused */
    now (): ScrubReport
    /** Until `resume`, or the next start. */
    pause (): ScrubReport
    resume (): ScrubReport
  }
  /**
   * Proves everything that can be read through this node: each object's row, every block of it opened and authenticated, its copies counted at their holders.
   * @throws NotFound (bucket), Refused on a node without keys, Unavailable
   */
  verify (options?: VerifyOptions): AsyncIterable<VerifyEvent>
  /** What is wrong with this node and its cluster, as far as it knows, and what to do; others are asked how they are. */
  doctor (wait?: { signal?: AbortSignal }): Promise<readonly Finding[]>
  /** Forgets fetched copies; what this node holds stays. */
  emptyCache (): Promise<{ freedBytes: number }>
  /** Prometheus text format. */
  metrics (): Promise<string>
  /** Whom Kademlia's routing table and gossipsub know now. */
  inspect (): { readonly routingTable: readonly string[], readonly gossip: readonly string[] }
}

/** Of the table of who holds what. */
export interface LayoutReport {
  readonly version: string
  readonly state: NodeStatus['layout']['state']
  readonly voters: number
  /** Those who hold or decide now, and those who are to. */
  readonly members: ReadonlyArray<{
    readonly peerId: PeerId
    readonly role: 'member' | 'storage' | 'witness'
    readonly zone: string
    readonly capacityBytes: number
    /** Undefined: nothing, it is to enter. */
    readonly present: PartitionCount | undefined
    /** Undefined: the layout does not change, or the node is to leave it. */
    readonly next: PartitionCount | undefined
  }>
}

/** Of 4,096 each: of rows, in which it decides; of blocks, in which it is one of those that may hold a copy or a shard. */
export interface PartitionCount {
  readonly rows: number
  readonly blocks: number
}

/** What of a node can be said after it has joined. */
export interface NodeSettings {
  readonly isDraining?: boolean | undefined
  readonly zone?: string | undefined
  /** Bytes of blocks that it is to hold, in proportion to the others' and at most; 0: none. */
  readonly capacityBytes?: number | undefined
}

export type NodeChange =
  | { readonly kind: 'set', readonly peer: PeerId, readonly settings: NodeSettings }
  | { readonly kind: 'remove', readonly peer: PeerId }
  /** `by` undefined: one that is to join, with the same capacity in the same zone. */
  | { readonly kind: 'replace', readonly peer: PeerId, readonly by: PeerId | undefined }
  | { readonly kind: 'join', readonly role: 'member' | 'storage' | 'witness', readonly zone: string, readonly capacityBytes: number }

/** What a change would move: partitions as the layout would have them, bytes as those who hold them say that they have, partition by partition. */
export interface ChangeForecast {
  readonly isPossible: boolean
  /** Why not; of a removal, which is never held up, what it would leave wanting. */
  readonly refusals: readonly string[]
  /** Of blocks, brought to other nodes, in sum. */
  readonly movedBytes: number
  /** Of 4,096, counted by those who hold them; what the others have is taken from these. All: the bytes are exact, but for what changes meanwhile. */
  readonly countedPartitions: number
  /** Hold blocks and have not told: what they have is taken to be what others have at the same positions. */
  readonly silent: readonly PeerId[]
  /** False: too few nodes answer to list the buckets, so what they ask is not held against the change. */
  readonly areBucketsKnown: boolean
  /** From which it starts. */
  readonly layout: { readonly version: string, readonly state: NodeStatus['layout']['state'] }
  readonly nodes: ReadonlyArray<{
    /** Undefined: the one that is to join. */
    readonly peerId: PeerId | undefined
    readonly role: 'member' | 'storage' | 'witness'
    readonly zone: string
    readonly capacityBytes: number
    readonly change: 'stays' | 'enters' | 'leaves'
    readonly receiveBytes: number
    readonly giveUpBytes: number
    /** Undefined: it has not said. */
    readonly heldBytes: number | undefined
    readonly rowPartitions: { readonly receive: number, readonly giveUp: number }
    readonly blockPartitions: { readonly receive: number, readonly giveUp: number }
  }>
}

export type ReplaceState = { readonly state: 'removed' } | { readonly state: 'moving', readonly why: string }

export interface ChangeProgress {
  readonly layout: { readonly version: string, readonly state: NodeStatus['layout']['state'], readonly members: number }
  /** That replicas are still to take over. */
  readonly rowPartitionsLeft: number
  /** Of blocks, that lie where they do not belong or are listed to be brought, as far as those tell who answer. */
  readonly leftBytes: number
  /** Everything lies where it belongs, as far as those tell who answer. */
  readonly isDone: boolean
  /** And there are as many copies of everything as there should be. */
  readonly isWhole: boolean
  readonly nodes: readonly NodeProgress[]
  /** What is not done, for people. */
  readonly waitingFor: readonly string[]
}

export interface NodeProgress {
  readonly peerId: PeerId
  readonly isAnswering: boolean
  readonly isInLayout: boolean
  /** At all that it has, since the layout last changed. This and what follows undefined: it has not told. */
  readonly hasLooked: boolean | undefined
  readonly heldBytes: number | undefined
  readonly misplacedBytes: number | undefined
  readonly leftBytes: number | undefined
  readonly shortBlocks: number | undefined
  /** It holds and decides nothing any more, and nothing lies on it alone. */
  readonly mayBeSwitchedOff: boolean
}

export interface InviteOptions {
  readonly uses?: number
  /** `member` holds the data key and serves users; `storage` holds ciphertext blocks only; `witness` votes, on rows it cannot read, and holds no blocks. */
  readonly role?: 'member' | 'storage' | 'witness'
  /** Wall-clock ms since the epoch after which the sponsor refuses; undefined: never. */
  readonly notAfterMs?: number
  readonly zone?: string
}

export interface InviteState {
  /** Hexadecimal; names it to `revokeInvite`. */
  readonly key: string
  /** 'lapsed': since then somebody was put out, or keys were changed, or this node may invite no more; nobody joins with it. */
  readonly state: 'open' | 'used' | 'revoked' | 'expired' | 'lapsed'
  readonly usedBy: string | undefined
  readonly roles: readonly string[]
  readonly zone: string
  readonly notAfterMs: number | undefined
  readonly madeMs: number
}

/** What the loss of some nodes means, as a survivor sees it. */
export interface LossReport {
  readonly lost: readonly string[]
  readonly survivors: readonly string[]
  /** Of 4,096 partitions of rows: with a majority left; with some replicas left, whose rows may be older than what was acknowledged; with none left. */
  readonly rows: { readonly whole: number, readonly stale: number, readonly gone: number }
  /** Of 4,096 partitions of blocks: of their first three holders all, some or none are left. Of blocks without a holder left a substitute may have a copy. */
  readonly blocks: { readonly whole: number, readonly fewer: number, readonly gone: number }
  /** For each redundancy of the buckets that this node knows, as they are set now: of how many of 4,096 partitions enough of a block's own holders are left to read it. Empty: it knows no bucket. */
  readonly forms: ReadonlyArray<{ readonly redundancy: string, readonly readable: number }>
  /** That this node knows of; `examples`, at most 100, are of those that may be stale, as BUCKET/KEY. */
  readonly objects: { readonly known: number, readonly possiblyStale: number, readonly examples: readonly string[] }
  readonly isDone: boolean
  /** When it is done: the era without them, the epoch that began, and the layout in which the survivors decide. */
  readonly era?: number
  readonly epoch?: number
  readonly layoutVersion?: string
}

export interface NodeStatus {
  readonly peerId: string
  readonly clusterId: string
  readonly version: string
  readonly role: 'member' | 'storage' | 'witness'
  readonly zone: string
  readonly addresses: readonly string[]
  readonly uptimeMs: number
  /** 'open': one founder votes; 'settled': the layout is decided; 'changing': others are to hold and decide, and take over. */
  readonly layout: { readonly version: string, readonly state: 'open' | 'closing' | 'settled' | 'changing', readonly members: number, readonly voters: number }
  /** `capacityBytes` as the layout counts on it; undefined: it is not in the layout. */
  readonly members: ReadonlyArray<{ readonly peerId: string, readonly role: string, readonly zone: string, readonly capacityBytes?: number | undefined, readonly isConnected: boolean }>
  readonly blocks: { readonly count: number, readonly bytes: number, readonly quotaBytes: number | undefined, readonly freeBytes: number, readonly corrupt: number, readonly isReadOnly: boolean }
  readonly cache: { readonly bytes: number, readonly limitBytes: number }
  readonly rows: { readonly lostPartitions: number, readonly isReadOnly: boolean }
  /** How far the last change of the layout is, as it was lately looked at; undefined: it has not been, or this node has no keys. */
  readonly change?: (Pick<ChangeProgress, 'isDone' | 'isWhole' | 'leftBytes' | 'rowPartitionsLeft' | 'waitingFor'> & {
    /** Members that hold and decide nothing any more, and have nothing alone. */
    readonly mayBeSwitchedOff: readonly string[]
  }) | undefined
  /** Undefined: a witness, which holds no blocks. */
  readonly collect?: CollectReport | undefined
  /** Undefined: a node without keys. */
  readonly convert?: ConvertReport | undefined
  /** Undefined: a witness, which holds no blocks. */
  readonly repair: RepairReport | undefined
  /** Of the whole cluster, as its nodes tell. */
  readonly atRisk: {
    /** Versions of objects of which a block has fewer copies, or shards, than it should; each once, however many nodes know of it. */
    readonly objects: number
    /** Not everybody who holds blocks has told, or has looked at everything since its start, or could tell all. */
    readonly isAtLeast: boolean
    /** Nodes that hold blocks and have not told. */
    readonly silent: readonly string[]
  }
  /** Redundancy is below what it should be: objects are at risk, or who holds blocks or decides about rows does not answer or has forgotten. Health says which. */
  readonly isDegraded: boolean
  /** Undefined: the node is not ready yet. */
  readonly scrub: ScrubReport | undefined
  readonly compare?: CompareReport | undefined
  /** Undefined: a node without keys. */
  readonly announce?: AnnounceReport | undefined
  /** Whether this node can serve a read and a write now: enough voters answer, its stores take writes, its memory of rows is whole. */
  readonly isReady: boolean
  /** What a person should know; empty when all is well. */
  readonly health: readonly string[]
}

export interface PeerStatus {
  readonly peerId: string
  readonly isConnected: boolean
  readonly isMember: boolean
  readonly role: string
  readonly addresses: readonly string[]
  readonly version: string | undefined
  readonly freeBytes: number | undefined
  readonly latencyMs: number | undefined
}

export interface AnnouncementSeen {
  readonly at: string
  readonly from: string
  readonly versionId: string
  readonly root: string | undefined
  /** Known only to members that can read the row; undefined if it is gone by now. */
  readonly object: { readonly bucket: string, readonly key: string } | undefined
}

/** What opens a keyring. */
export type Secrets =
  | { readonly kind: 'passphrase', readonly passphrase: string }
  /** The file is made, with 32 random bytes, when a keyring is. */
  | { readonly kind: 'key-file', readonly path: string }
