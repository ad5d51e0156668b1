import { systemClock } from '../../base/clock.ts'
import { InvalidInput } from '../../base/errors.ts'
import type { ChangeForecast, NodeStatus } from '../../node.ts'
import { withNode } from '../context.ts'
import { durationMsOf } from '../duration.ts'
import type { GivenOptions } from '../settings.ts'
import { capacityIn, show } from './members.ts'

/** `dfs invite` */
export async function invite (options: GivenOptions): Promise<void> {
  const { uses, role, zone, expires, dryRun, capacity, ...place } = options
  if (dryRun === true) return foreseen({ role, zone, capacity }, place)
  if (capacity !== undefined) throw new InvalidInput('capacity', 'a node says its capacity when it joins; here it is for --dry-run alone')
  const body = {
    ...(uses === undefined ? {} : { uses: usesOf(String(uses)) }),
    ...(role === undefined ? {} : { role }),
    ...(zone === undefined ? {} : { zone }),
    ...(expires === undefined ? {} : { notAfterMs: systemClock.wallMs() + durationMsOf(String(expires)) }),
  }
  await withNode(options, async ({ client, output, signal }) => {
    const { tokens } = await client.json<{ tokens: string[] }>('POST', '/v1/invites', { body, signal })
    output.note(`on the machine that joins: dfs join TOKEN${tokens.length > 1 ? ' (each token once)' : ''}`)
    const { addresses } = await client.json<NodeStatus>('GET', '/v1/status', { signal })
    if (addresses.every(isLoopback)) output.warn(`this node listens on ${addresses.join(', ')} alone, so the token works on this machine only; for others set --listen, or --announce`)
    for (const token of tokens) output.fact({ token }, token)
  })
}

const isLoopback = (address: string): boolean => /^\/(ip4\/127\.|ip6\/::1\/|dns[46]?\/localhost\/)/.test(address)

/** What would move if such a node joined. */
async function foreseen ({ role, zone, capacity }: GivenOptions, options: GivenOptions): Promise<void> {
  if (capacity === undefined && role !== 'witness') throw new InvalidInput('capacity', 'say how much the node is to hold, "--capacity 500GiB": its share depends on it')
  const body = { ...(role === undefined ? {} : { role }), ...(zone === undefined ? {} : { zone }), ...(capacity === undefined ? {} : { capacityBytes: capacityIn(String(capacity)) }) }
  await withNode(options, async (context) => { show(context, await context.client.json<ChangeForecast>('POST', '/v1/changes', { body, signal: context.signal })) })
}

/** @throws InvalidInput unless it is a whole number above 0; the node has the upper bound */
function usesOf (text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidInput('uses', `uses is "${text}"; it takes a number of tokens, 1 to 100`)
  return Number(text)
}
