/** What test/proof/churn.proof.ts and partitions.proof.ts do for long, for a short time. */
Object.assign(process.env, { CHURN_MINUTES: '0.2', MOVES: '0', PARTITION_SHAPE: 'one alone', FLAPS: '0' })
await import('../proof/churn.proof.ts')
await import('../proof/partitions.proof.ts')
