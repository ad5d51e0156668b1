import { expect, test } from 'vitest'
import type { NodeStatus } from '../../src/node.ts'
import { belowLimits, stillBelow } from '../../src/cli/below.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'

type Seen = Pick<NodeStatus, 'isDegraded' | 'repair'>
const found = { objectsAtRisk: 0, isAtLeast: false, shortBlocks: 0, goneBlocks: 0, narrowBlocks: 0 }
const seen = (isDegraded: boolean, more: Partial<typeof found> | undefined): Seen => ({ isDegraded, repair: more === undefined ? undefined : { found: { ...found, ...more } } as unknown as NodeStatus['repair'] })

/** What is said at the end, where each look sees the next of these, and the last for ever; and after how long. */
async function end (...looks: Seen[]): Promise<{ said: string | undefined, afterMs: number }> {
  const time = new VirtualTime()
  let outcome: { said: string | undefined, afterMs: number } | undefined
  const over = stillBelow(async () => (looks.length > 1 ? looks.shift() : looks[0]) as Seen, { clock: time.clock(), signal: new AbortController().signal }).then((degraded) => { outcome = { said: degraded?.message, afterMs: time.nowMs } })
  await time.run(() => outcome !== undefined)
  await over
  return outcome as unknown as { said: string | undefined, afterMs: number }
}

test('a change that was waited for ends with degraded where a bucket asks for more nodes than there are, as status does (it was told as all copies, with exit code 0)', async () => {
  expect((await end(seen(true, { narrowBlocks: 3 }))).said).toMatch(/as these nodes can have/)
  // one that holds nothing knows from the others
  expect((await end(seen(true, undefined))).said).toMatch(/as these nodes can have/)
  expect(await end(seen(false, {}))).toEqual({ said: undefined, afterMs: 0 })
})
test('what others told before all was in its place passes, and what repair brings is not meant', async () => {
  const { said, afterMs } = await end(seen(true, { narrowBlocks: 3 }), seen(true, { narrowBlocks: 3 }), seen(false, {}))
  expect(said).toBeUndefined()
  expect(afterMs).toBeLessThan(belowLimits.settleMs)
  expect((await end(seen(true, { shortBlocks: 1 }))).said).toBeUndefined()
})
