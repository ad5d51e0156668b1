/** dfs inside another program (docs/EMBEDDING.md): `createNode` does it all; what it is made of stands below it. */
export { createNode, type CreateNodeOptions, type EmbeddedNode } from './embed.ts'
export { type Clock, systemClock } from './base/clock.ts'
export { Conflict, Corrupt, DfsError, type ErrorCode, InvalidInput, NotFound, Refused, StoreFull, Unavailable, UnknownOutcome } from './base/errors.ts'
export { type Config, configOf, type ConfigSources } from './config.ts'
export { type AnnouncementSeen, type ClusterConversion, type ConvertReport, type DfsNode, type Finding, initCluster, type InviteOptions, joinCluster, type NodeStatus, openNode, type OpenOptions, type PeerStatus, type RepairFound, type RepairReport, type ScrubFound, type ScrubReport, type Secrets, type VerifiedObject, type VerifyCounts, type VerifyEvent, type VerifyOptions } from './node.ts'
export { NoSuchUpload, PartTooSmall, uploadLimits, WrongOffset, WrongPart, WrongPartOrder } from './objects/index.ts'
export type { CompleteOptions, CopyPartOptions, CreateUploadOptions, FinishOptions, NamedPart, PartInfo, PutPartOptions, Upload, Uploads } from './objects/index.ts'
export type { Bucket, BucketOptions, ByteRange, GetOptions, ListOptions, ObjectInfo, ObjectName, ObjectPage, ObjectReading, Objects, PutOptions } from './objects/index.ts'
