/** What test/proof/partitions.proof.ts does for long, of halves alone. */
Object.assign(process.env, { PARTITION_SHAPE: 'halves', FLAPS: '0' })
await import('../proof/partitions.proof.ts')
