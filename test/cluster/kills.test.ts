/** What test/proof/kills.proof.ts does for long, for a short time. */
process.env.KILLS = '6'
await import('../proof/kills.proof.ts')
