import { systemClock } from '../../base/clock.ts'
import { InvalidInput, Refused } from '../../base/errors.ts'
import { stillBelow } from '../below.ts'
import { Degraded } from '../degraded.ts'
import { ClientError } from '../../client/errors.ts'
import { sizeOf } from '../../config.ts'
import type { ChangeForecast, ChangeProgress, NodeStatus, ReplaceState } from '../../node.ts'
import { type CommandContext, withNode } from '../context.ts'
import { followChange } from '../follow-change.ts'
import { forecastText } from '../forecast-text.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs node drain PEER [--undo]` */
export async function drain (peer: string, options: GivenOptions): Promise<void> {
  const draining = options.undo !== true
  await change(peer, { draining }, options, {
    said: draining ? `${peer} drains: the layout changes without it, and "dfs status" says when it may be switched off` : `${peer} is to hold and decide again`,
    isOver: ({ nodes, isDone }) => draining ? nodes.some((node) => node.peerId === peer && node.mayBeSwitchedOff) : isDone,
    over: draining ? `${peer} may be switched off` : 'done',
  })
}

/** `dfs node set PEER` */
export async function set (peer: string, options: GivenOptions): Promise<void> {
  const settings = { ...options.zone === undefined ? {} : { zone: String(options.zone) }, ...options.capacity === undefined ? {} : { capacityBytes: capacityIn(String(options.capacity)) } }
  if (Object.keys(settings).length === 0) throw new InvalidInput('node', 'say what to set: --zone or --capacity')
  // the command's options are settings of nodes too, and would be read as those of this one
  const { zone: _zone, capacity: _capacity, ...rest } = options
  await change(peer, settings, rest, { said: `${peer} is set: the layout follows`, isOver: ({ isDone }) => isDone, over: 'everything lies where it belongs' })
}

interface Told {
  readonly said: string
  readonly isOver: (progress: ChangeProgress) => boolean
  /** What is said when it is waited for. */
  readonly over: string
}

async function change (peer: string, body: object, options: GivenOptions, { said, isOver, over }: Told): Promise<void> {
  const path = `/v1/members/${encodeURIComponent(peer)}`
  await withNode(options, async (context) => {
    const { client, output, signal } = context
    if (options.dryRun === true) {
      show(context, await client.json<ChangeForecast>('PATCH', `${path}?dry-run=true`, { body, signal }))
      return
    }
    const forecast = options.wait === true ? await client.json<ChangeForecast>('PATCH', `${path}?dry-run=true`, { body, signal }) : undefined
    await client.json('PATCH', path, { body: { ...body, ...options.force === true ? { force: true } : {} }, signal })
    output.fact({ peer, ...body }, said)
    if (forecast === undefined) return
    await followed(context, forecast, async (progress) => isOver(progress))
    output.fact({ peer, done: true }, over)
    const degraded = await below(context)
    if (degraded !== undefined) throw degraded
  })
}

/** `dfs cluster rotate-keys` */
export async function rotateKeys (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const begun = await client.json<{ era: number, epoch: number }>('POST', '/v1/cluster/rotate-keys', { signal })
    output.fact(begun, `era ${begun.era}: what is sealed from now on is of epoch ${begun.epoch}`)
    output.note('what was sealed before stays as it is, and is read with the keys of before. Unused invites are dead: make new ones')
  })
}

/** `dfs node remove PEER` */
export async function remove (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => {
    const { client, output, signal } = context
    const path = `/v1/members/${encodeURIComponent(peer)}`
    if (options.dryRun === true) {
      show(context, await client.json<ChangeForecast>('DELETE', `${path}?dry-run=true`, { signal }))
      return
    }
    const removed = await client.json<{ era: number, epoch: number }>('DELETE', path, { signal })
    output.fact({ peer, ...removed }, `removed ${peer}: era ${removed.era}, what is sealed from now on is of epoch ${removed.epoch}`)
    output.note('what it has read, it may have kept')
    // put out first: a stolen node does not wait for what follows to be reckoned
    const { refusals } = await client.json<ChangeForecast>('DELETE', `${path}?dry-run=true`, { signal })
    for (const reason of refusals) output.warn(reason)
  })
}

/** `dfs node replace OLD [NEW]`: without NEW it prints a token, and waits until somebody has joined with it. */
export async function replace (old: string, fresh: string | undefined, options: GivenOptions): Promise<void> {
  const path = `/v1/members/${encodeURIComponent(old)}`
  const { zone, ...rest } = options
  await withNode(rest, async (context) => {
    const { client, output, signal } = context
    const forecast = await client.json<ChangeForecast>('POST', `${path}/replacement?dry-run=true`, { body: fresh === undefined ? {} : { by: fresh }, signal })
    if (options.dryRun === true) {
      show(context, forecast)
      return
    }
    const by = fresh ?? await heirOf(context, { path, old, zone, isForced: options.force === true, forecast })
    const step = async (): Promise<boolean> => {
      const { state } = await client.json<ReplaceState>('POST', `${path}/replacement`, { body: { by, ...options.force === true ? { force: true } : {} }, signal })
      return state === 'removed'
    }
    // whoever has waited for a machine to be brought does not lose that wait to a moment without a majority
    let isRemoved = await unlessPassing(step()) ?? false
    // one that answers goes when nothing lies on it any more; of one that does not, nobody knows what it alone had
    let isAnswering = !forecast.silent.some((peer) => peer === old)
    output.note(`${by} takes the place of ${old}`)
    await followed(context, forecast, async ({ isWhole, isDone, nodes }) => {
      const wasRemoved = isRemoved
      if (!isRemoved) isAnswering = nodes.find(({ peerId }) => peerId === old)?.isAnswering ?? isAnswering
      isRemoved ||= await step()
      if (options.wait !== true) return isRemoved
      // what was looked at before it went says nothing of what came of that
      return wasRemoved && isWhole && isDone
    })
    const degraded = options.wait === true ? await below(context) : undefined
    const whole = degraded === undefined ? `there are as many copies as there should be of everything${isAnswering ? '' : ' that the others know of'}` : 'there are as many copies of everything as these nodes can have'
    output.fact({ peer: old, by, removed: true }, `${old} is replaced by ${by}, and put out of the cluster${options.wait === true ? `; ${whole}` : ': "dfs status" says when all has come to it'}`)
    if (!isAnswering) output.warn(`${old} did not answer: what it alone had is not known, and "dfs verify" says whether an object is meant`)
    if (degraded !== undefined) throw degraded
  })
}

async function heirOf ({ client, output, signal }: CommandContext, { path, old, zone, isForced, forecast }: { path: string, old: string, zone: unknown, isForced: boolean, forecast: ChangeForecast }): Promise<string> {
  if (forecast.refusals.length > 0 && !isForced) throw new Refused(`${forecast.refusals.join('; ')}. --force does it all the same`)
  const { token } = await client.json<{ token: string }>('POST', `${path}/heir`, { body: zone === undefined ? {} : { zone: String(zone) }, signal })
  output.note('on the machine that comes: dfs join TOKEN --start')
  output.fact({ token }, token)
  output.note(`this ends when it has joined; interrupted, "dfs node replace ${old} NEW" goes on`)
  for (;;) {
    const { heir } = await unlessPassing(client.json<{ heir: string | null }>('GET', `${path}/heir`, { signal })) ?? { heir: null }
    if (heir !== null) return heir
    await systemClock.sleep(1000, { signal })
  }
}

/** @throws Refused, when it has been shown, if it could not be; Degraded, if it could and would leave something wanting */
export function show ({ output }: Pick<CommandContext, 'output'>, forecast: ChangeForecast): void {
  output.fact({ dryRun: true, ...forecast }, forecastText(forecast))
  if (!forecast.isPossible) throw new Refused(`it cannot be: ${forecast.refusals.join('; ')}`)
  if (forecast.refusals.length > 0) throw new Degraded(`it would be done, and then: ${forecast.refusals.join('; ')}`)
}

async function followed ({ client, output, signal }: CommandContext, forecast: ChangeForecast, isOver: (progress: ChangeProgress) => Promise<boolean>): Promise<void> {
  await followChange({
    output, clock: systemClock, terminal: process.stderr, signal, forecast,
    look: async () => unlessPassing(client.json<ChangeProgress>('GET', '/v1/changes', { signal })),
    isOver: async (progress) => await unlessPassing(isOver(progress)) ?? false,
  })
}

/** Undefined: there was no majority to answer, and while voters change, or keys do, a moment of that is no failure. */
const unlessPassing = async <T>(answer: Promise<T>): Promise<T | undefined> => answer.catch((error: unknown) => {
  if (error instanceof ClientError && error.code === 'unavailable') return undefined
  throw error
})

const below = async ({ client, signal }: CommandContext): Promise<Degraded | undefined> =>
  stillBelow(async () => client.json<NodeStatus>('GET', '/v1/status', { signal }), { clock: systemClock, signal })

/** @throws InvalidInput */
export function capacityIn (text: string): number {
  const bytes = sizeOf(text)
  if (bytes === undefined) throw new InvalidInput('capacity', `capacity is "${text}"; it takes a size such as 500GiB, or 0`)
  return bytes
}

/** `dfs admin add PEER` */
export async function addAdmin (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'PUT', `/${encodeURIComponent(peer)}`) })
}

/** `dfs admin rm PEER` */
export async function removeAdmin (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'DELETE', `/${encodeURIComponent(peer)}`) })
}

/** `dfs admin ls` */
export async function listAdmins (options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'GET', '') })
}

async function asked ({ client, output, signal }: CommandContext, method: string, path: string): Promise<void> {
  const { admins } = await client.json<{ admins: string[] }>(method, `/v1/admins${path}`, { signal })
  if (admins.length === 0) output.note('no admins beside the node that made the cluster')
  for (const admin of admins) output.fact({ admin }, admin)
}
