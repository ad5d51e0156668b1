/** What test/proof/churn.proof.ts does for long, for a short time. */
process.env.CHURN_MINUTES = '0.5'
await import('../proof/churn.proof.ts')
