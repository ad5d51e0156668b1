/** The bits of test/node/rot.test.ts, more of them: FLIPS in each place. */
process.env.FLIPS ??= '30'
await import('../node/rot.test.ts')
