/** Sealing and opening, and the keys behind it: blocks, rows, versions, key boxes, capabilities, the keyring. Every byte stands in docs/FORMAT.md. */
export { type BlockFlag, blockOverhead, type BlockToSeal, type BlockType, type ExpectedBlock, openBlock, type OpenedBlock, sealBlock, type SealedBlock } from './block.ts'
export { exchangeKeyOf, openRing, type Ring, ringPurpose, sealRing } from './box.ts'
export { capabilityText, parseCapability, type ReadCapability } from './capability.ts'
export { type Keyring, type KeyringKey, keyringLimits, openKeyring, rekeyed, sealKeyring } from './keyring.ts'
export { ClusterKeys, type ClusterSecrets, type DomainKeys, type EpochKeys, UnknownEpoch } from './keys.ts'
export { localSealer, type LocalSealer } from './local.ts'
export { acceptedRecord, openRow, rowHeader, sealedRowKey, type SealedRowContent, sealRow, splitRecord, votedRow } from './row.ts'
export { deathProof, freshVersion, versionIdOf, type VersionKey } from './version.ts'
