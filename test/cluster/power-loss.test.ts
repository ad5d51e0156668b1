/** What test/proof/power-loss.proof.ts does for long, for a short time. */
process.env.POWER_LOSSES = '1'
await import('../proof/power-loss.proof.ts')
