/** What background work of a node tells of itself. */
export interface WorkReport {
  readonly state: 'busy' | 'idle' | 'paused'
  /** What it does now; each kind of work says which there are. */
  readonly phase: string
  /** 0 to 1, of the phase. */
  readonly doneShare: number
  /** Undefined: it is not busy, or it is too early to say. */
  readonly etaMs: number | undefined
  /** Why its last unit of work failed, if it did; it is tried again. */
  readonly failure: string | undefined
}

/** And of how many bytes, of the phase. */
export interface BytesReport extends WorkReport {
  readonly doneBytes: number
  readonly totalBytes: number
}

/** What this node has that nobody needs, and what became of it. Phases: waiting; walking: what is dead is looked for; collecting: what is condemned for long enough is taken away. Bytes are of what is condemned: while walking, what is known of it by then. */
export interface CollectReport extends BytesReport {
  /** How long a block that nobody needs is kept. */
  readonly collectAfterMs: number
  /** As the last whole walk found; undefined: there was none since the start. */
  readonly found: CollectFound | undefined
  /** Since the start. */
  readonly total: { readonly collectedBlocks: number, readonly collectedBytes: number, readonly sparedBlocks: number, readonly publishedDeaths: number, readonly abandonedUploads: number }
  /** Of the deaths of versions, by members; undefined: a node without keys. */
  readonly publishing: { readonly phase: string, readonly doneShare: number, readonly failure: string | undefined } | undefined
}

export interface CollectFound {
  /** Waiting for the grace. */
  readonly condemnedBlocks: number
  readonly condemnedBytes: number
  /** Recorded for no version, so never taken away: a missing record proves nothing. */
  readonly unreferencedBlocks: number
  readonly unreferencedBytes: number
  /** The grace is over, and too few of those that may need them answer. */
  readonly heldUpBlocks: number
}

/** How far this node has come with its share of what is to have another redundancy. Phases: waiting; surveying: what is to be converted is looked for; converting. Bytes are of versions that the last survey listed. */
export interface ConvertReport extends BytesReport {
  /** What is left of this node's share; undefined: it has not been looked at since the start, or since a bucket was changed. */
  readonly found: { readonly versions: number, readonly bytes: number, readonly isAtLeast: boolean } | undefined
  /** Those in which something was found, by name. */
  readonly buckets: readonly string[]
  /** Since the start. */
  readonly total: { readonly convertedVersions: number, readonly convertedBytes: number, readonly failures: number }
}

/** What all members tell together. */
export interface ClusterConversion {
  /** Left to be converted. */
  readonly versions: number
  readonly bytes: number
  /** Somebody has not told, or not looked at everything since a bucket was changed, or could not count all. */
  readonly isAtLeast: boolean
  /** Everything has the redundancy of its bucket, as far as it was put before the members last looked. */
  readonly isDone: boolean
  readonly doneBytes: number
  readonly totalBytes: number
  /** Until the last member is done, as they expect; undefined: nothing is left, or somebody cannot say. */
  readonly etaMs: number | undefined
  /** Members that have not told. */
  readonly silent: readonly string[]
  readonly paused: readonly string[]
}

/** What this node knows of the redundancy of the blocks that it holds or should, and what it does about it. Phases: waiting; surveying: everything is looked at; repairing: what was found is mended. */
export interface RepairReport extends BytesReport {
  /** Why it last looked at everything. */
  readonly why: string | undefined
  /** What was found when everything was last looked at, less what was mended since; undefined: not yet since the start. */
  readonly found: RepairFound | undefined
  /** Since the start. */
  readonly total: { readonly broughtBlocks: number, readonly fetchedBlocks: number, readonly releasedBlocks: number, readonly movedBytes: number, readonly failures: number }
  /** Nodes that had no room when they were last brought a block. */
  readonly full: readonly string[]
}

/** How far this node has come in comparing its rows with those of their other replicas. Phases: waiting; comparing: what the others lack is handed over. Partitions count once for each replica. */
export interface CompareReport extends WorkReport {
  readonly donePartitions: number
  readonly totalPartitions: number
  /** Since the start: replicas that were compared with, those that failed among them; rows that they lacked. */
  readonly total: { readonly comparisons: number, readonly failures: number, readonly handedOverRows: number, readonly handedOverBytes: number }
}

/** How far this node has come in saying again what is stored. Phases: waiting; announcing. */
export interface AnnounceReport extends WorkReport {
  /** Since the start, without what was announced when it was put: objects told by gossip, roots that lie here told to Kademlia. */
  readonly total: { readonly announcedObjects: number, readonly providedRoots: number, readonly failures: number }
}

export interface RepairFound {
  readonly layoutVersion: string
  /** Versions of objects of which a block has fewer copies, or shards, than it should. */
  readonly objectsAtRisk: number
  /** There are more objects at risk than were counted. */
  readonly isAtLeast: boolean
  readonly shortBlocks: number
  /** Of those, blocks of which too few copies or shards are known to be left to read them: their holders are away, or they are lost. */
  readonly goneBlocks: number
  /** Of which the redundancy asks for more nodes than there are that hold blocks: their objects are at risk though nothing is missing that could be there. */
  readonly narrowBlocks: number
  /** Here, and to be given up once those whose they are have them. */
  readonly misplacedBlocks: number
  readonly misplacedBytes: number
}

export interface VerifyOptions {
  /** Undefined: all of them. */
  readonly bucket?: string
  readonly prefix?: string
  /** Each holder's copy or shard is read too: as many bytes over the network as the cluster holds of these objects. */
  readonly isDeep?: boolean
  readonly signal?: AbortSignal
}

export type VerifyEvent =
  /** First: what there was when it began. */
  | { readonly kind: 'total', readonly objects: number, readonly bytes: number }
  /** Now and then. */
  | { readonly kind: 'progress' } & VerifyCounts
  /** Not all is well with it. */
  | { readonly kind: 'object' } & VerifiedObject
  /** Last. */
  | { readonly kind: 'done' } & VerifyCounts

export interface VerifiedObject {
  readonly bucket: string
  /** Empty: the versions of the bucket cannot all be listed. */
  readonly key: string
  readonly versionId: string
  /**
   * 'damaged': some of it is not what was written, wherever it is looked for, or (deep) at a holder; 'unreadable': too few nodes answer to tell; 'below': it is read, and has fewer copies or shards
   * than it should.
   */
  readonly problem: 'damaged' | 'unreadable' | 'below'
  /** For people. */
  readonly reason: string
}

/** So far. */
export interface VerifyCounts {
  readonly objects: number
  /** Of objects, as they are read. */
  readonly bytes: number
  readonly blocks: number
  readonly damaged: number
  readonly unreadable: number
  readonly below: number
}

/** How far this node has come in reading all that is on its disk again. Phases: 'waiting': a pass is not due; else what is read: tables (of both indexes), files (that the index of blocks lacks), blocks, references, rows, journal. Share and bytes are of the pass. */
export interface ScrubReport extends BytesReport {
  /** A pass begins so long after the last one ended. */
  readonly everyMs: number
  /** In the pass under way, or the last one. */
  readonly found: ScrubFound
  /** The last whole pass; undefined: there was none yet. */
  readonly last: undefined | { readonly finished: string, readonly finishedMs: number, readonly tookMs: number, readonly bytes: number, readonly found: ScrubFound }
}

export interface ScrubFound {
  /** Blocks and shards that were read. */
  readonly pieces: number
  /** Of those, not what their names say: set aside, and reported to repair. */
  readonly wrongPieces: number
  /** References that were not what was written: set aside. */
  readonly wrongReferences: number
  /** Files that the index of blocks lacked, and has again. */
  readonly enteredFiles: number
  readonly rows: number
  /** Partitions of rows that were not what was saved: they are taken over from the others. */
  readonly lostPartitions: number
  /** Files of the indexes and of the journal that were not what was written: copies are in `evidence/`. */
  readonly damagedFiles: number
}
