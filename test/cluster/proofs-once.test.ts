/** What test/proof/power-loss.proof.ts and clocks.test.ts do for long, once. */
Object.assign(process.env, { POWER_LOSSES: '1', POWER_LOSSES_WITHOUT: '0', CLOCK_ROUNDS: '1' })
await import('../proof/power-loss.proof.ts')
await import('./clocks.test.ts')
