import { type Clock, deadline } from '../../base/clock.ts'
import { Refused } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { ClusterConversion, ConvertReport, DfsNode } from '../../node.ts'
import { Conversion, conversionLimits, type ObjectParts, type Objects } from '../../objects/index.ts'
import { conversionAnswerLimits, conversionAt, serveConversion, type ToldConversion } from '../../protocols/conversion.ts'
import type { RowCodec, RowStore } from '../../tables/index.ts'
import { type Background, runInBackground } from './background.ts'
import type { ClusterState } from '../state.ts'
import type { TableEngine } from '../rows/table-engine.ts'
import type { UserActivity } from './user-activity.ts'

export interface ConvertingParts {
  readonly state: ClusterState
  readonly network: Pick<Network, 'peerId' | 'requests' | 'reachable'>
  readonly tables: Pick<TableEngine, 'voters' | 'peers'>
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly users: UserActivity
  readonly clock: Clock
  readonly logger: { info (fields: object, message: string): void }
}

/** What gives the objects of a bucket the redundancy that it was set to. */
export interface Converting {
  /** From now on, on a member, until what it gives is disposed. */
  begin (engine: Pick<ObjectParts, 'registers' | 'replication' | 'content' | 'versions' | 'blockPlaces' | 'warn'> & { readonly buckets: Pick<Objects, 'listBuckets'> }): Promise<AsyncDisposable>
  /** Undefined: a node without keys, or it has not begun. */
  status (): ConvertReport | undefined
  readonly door: DfsNode['convert']
}

const taskName = 'convert'

export function convertingOf (parts: ConvertingParts): Converting {
  const { state, network, tables, rows: store, codec, users, clock, logger } = parts
  let begun: { readonly conversion: Conversion, readonly background: Background } | undefined
  const running = (): NonNullable<typeof begun> => {
    if (begun === undefined) throw new Refused('this node has no data key: it converts nothing. Ask a member')
    return begun
  }
  const report = (): ConvertReport => {
    const { conversion, background } = running()
    const task = background.tasks().find(({ name }) => name === taskName)
    if (task === undefined) throw new Error('the conversion of a node is not among its tasks')
    const { surveyed: _, failure, phase, doneShare, doneBytes, totalBytes, found, buckets, total } = conversion.status()
    return { state: task.state, phase, doneShare, doneBytes, totalBytes, etaMs: task.etaMs, failure: failure ?? task.failure, found, buckets, total }
  }
  const own = (): ToldConversion => {
    const { surveyed, found, doneBytes, totalBytes } = running().conversion.status()
    const { state: doing, phase, etaMs } = report()
    // of a survey it would be the time until it knows
    return { isPaused: doing === 'paused', etaMs: phase === 'converting' ? etaMs : undefined, isAtLeast: found?.isAtLeast ?? false, surveyed, leftVersions: found?.versions ?? 0, leftBytes: found?.bytes ?? 0, doneBytes, totalBytes }
  }
  const whole = async (wait: { signal?: AbortSignal } = {}): Promise<ClusterConversion> => {
    const { conversion } = running()
    const settings = await conversion.settings(wait)
    const told = new Map<PeerId, ToldConversion>([[network.peerId, own()]])
    const others = state.layout.members.map(({ peerId }) => peerId).filter((peer) => peer !== network.peerId && state.isMember(peer))
    await Promise.all(others.map(async (peer) => {
      using limit = deadline(clock, conversionAnswerLimits.timeoutMs, { ...wait, what: 'asking a member how far it is' })
      try {
        told.set(peer, await conversionAt(network.requests, peer, { signal: limit.signal }))
      } catch {
        wait.signal?.throwIfAborted()
        // it is named as silent, whatever keeps it from telling
      }
    }))
    return clusterConversionOf({ settings, told, silent: others.filter((peer) => !told.has(peer)) })
  }
  const steered = (act: (background: Background) => void) => async (wait?: { signal?: AbortSignal }) => {
    act(running().background)
    return { ...report(), cluster: await whole(wait) }
  }
  return {
    async begin (engine) {
      const conversion = new Conversion({
        ...engine, self: network.peerId, store, codec, voters: tables.voters, clock,
        isMember: (peer) => state.isMember(peer), reachable: () => tables.peers.reachable(), atOnce: () => users.atOnce(conversionLimits.atOnce),
      })
      let wasLeft = false
      const step = async (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> => {
        const outcome = await conversion.step(wait)
        const { found, phase } = conversion.status()
        const isLeft = found !== undefined && (found.versions > 0 || found.isAtLeast)
        if (phase !== 'surveying' && found !== undefined && isLeft !== wasLeft) {
          wasLeft = isLeft
          logger.info({ ...found }, wasLeft ? 'objects are converted to the redundancy of their buckets' : 'what this node looks after has the redundancy of its bucket')
        }
        return outcome
      }
      const background = runInBackground([{ name: taskName, step, long: { progress: () => conversion.status(), now: () => { conversion.now() } } }], { clock, warn: engine.warn, users })
      begun = { conversion, background }
      await serveConversion(network.requests, own)
      return { async [Symbol.asyncDispose] () { await background[Symbol.asyncDispose](); conversion[Symbol.dispose]() } }
    },
    status: () => begun === undefined ? undefined : report(),
    door: {
      status: steered(() => {}),
      now: steered((background) => { background.now(taskName) }),
      pause: steered((background) => { background.pause(taskName) }),
      resume: steered((background) => { background.resume(taskName) }),
    },
  }
}

/** Pure: what members tell, together. It is done when all have told, and found nothing left by what the buckets are set to now. */
export function clusterConversionOf ({ settings, told, silent }: { readonly settings: number, readonly told: ReadonlyMap<PeerId, ToldConversion>, readonly silent: readonly PeerId[] }): ClusterConversion {
  const all = [...told.values()]
  const sum = (of: (one: ToldConversion) => number): number => all.reduce((total, one) => total + of(one), 0)
  const [versions, bytes] = [sum(({ leftVersions }) => leftVersions), sum(({ leftBytes }) => leftBytes)]
  const isKnown = silent.length === 0 && all.every(({ surveyed }) => surveyed === settings)
  const isAtLeast = !isKnown || all.some((one) => one.isAtLeast)
  const busy = all.filter(({ leftVersions }) => leftVersions > 0).map(({ etaMs }) => etaMs)
  // they work side by side
  const etaMs = isAtLeast || busy.length === 0 || busy.includes(undefined) ? undefined : Math.max(...busy as number[])
  return { versions, bytes, etaMs, isAtLeast, isDone: versions === 0 && !isAtLeast, doneBytes: sum(({ doneBytes }) => doneBytes), totalBytes: sum(({ totalBytes }) => totalBytes), silent, paused: [...told].filter(([, { isPaused }]) => isPaused).map(([peer]) => peer) }
}
