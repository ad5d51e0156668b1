import type { MessageInitShape } from '@bufbuild/protobuf'
import type { ServiceImpl } from '@connectrpc/connect'
import { InvalidInput, Unavailable } from '../../base/errors.ts'
import type { ChangeProgress, LossReport, NodeChange, NodeSettings } from '../../node.ts'
import { etaMsOf, type Expected, shareOf } from '../../node/layout/change-share.ts'
import { arrivalOf, demandSettings } from '../node-changes.ts'
import { peerIn } from '../local/node-routes.ts'
import { untilStopped } from './calls.ts'
import { forecastIn, forecastMessageOf, layoutMessageOf, progressMessageOf } from './change-messages.ts'
import type { ClusterService, ForgetLostResponseSchema, NodeSettings as SettingsMessage, PlanChangeRequest, WatchChangeRequest, WatchChangeResponseSchema } from './generated/dfs/v1/cluster_pb.ts'
import { looks } from './looks.ts'
import { nameIn } from './names.ts'
import { roles } from './role-names.ts'
import type { RpcParts } from './service.ts'
import { comparable, numberOf, whole, wholeIfKnown, wholes } from './whole.ts'

/** What is done to the nodes of the cluster: said beforehand, done, and followed. */
export type ChangeCall = 'getLayout' | 'planChange' | 'updateNode' | 'replaceNode' | 'inviteHeir' | 'getHeir' | 'getChange' | 'watchChange' | 'forgetLost'

export function changesOf ({ node, clock }: Pick<RpcParts, 'node' | 'clock'>): Pick<ServiceImpl<typeof ClusterService>, ChangeCall> {
  return {
    getLayout: async () => layoutMessageOf(node.layout()),
    planChange: async ({ change }, { signal }) => ({ forecast: forecastMessageOf(await node.changes.plan(changeIn(change), { signal })) }),
    async updateNode ({ peerId, settings, force }, { signal }) {
      await node.changes.set(peerIn(peerId), settingsIn(settings), { isForced: force, signal })
      return {}
    },
    async replaceNode ({ peerId, byPeerId, force }, { signal }) {
      const state = await node.changes.replace(peerIn(peerId), peerIn(byPeerId), { isForced: force, signal })
      return { isRemoved: state.state === 'removed', why: state.state === 'moving' ? state.why : undefined }
    },
    inviteHeir: async ({ peerId, zone }, { signal }) => ({ token: await node.changes.inviteFor(peerIn(peerId), { zone, signal }) }),
    getHeir: async ({ peerId }, { signal }) => ({ heirPeerId: await node.changes.heir(peerIn(peerId), { signal }) }),
    getChange: async (_, { signal }) => ({ progress: progressMessageOf(await node.changes.progress({ signal })) }),
    watchChange: (request, context) => untilStopped(context, (signal) => followed(request, { node, clock, signal })),
    forgetLost: async ({ peerIds, dryRun }, { signal }) => lossMessageOf(await node.forgetLost(peerIds.map(peerIn), { isDryRun: dryRun, signal })),
  }
}

function changeIn (change: PlanChangeRequest['change']): NodeChange {
  switch (change.case) {
    case 'update': return { kind: 'set', peer: peerIn(change.value.peerId), settings: settingsIn(change.value.settings) }
    case 'remove': return { kind: 'remove', peer: peerIn(change.value.peerId) }
    case 'replace': return { kind: 'replace', peer: peerIn(change.value.peerId), by: change.value.byPeerId === undefined ? undefined : peerIn(change.value.byPeerId) }
    case 'arrive': {
      const { role, zone, capacityBytes } = change.value
      return arrivalOf({ role: nameIn(roles, role, 'role'), zone, capacityBytes: capacityBytes === undefined ? undefined : numberOf('capacity', capacityBytes) })
    }
    case undefined: throw new InvalidInput('change', 'say what is to change: update, remove, replace or arrive')
    default: return change satisfies never
  }
}

function settingsIn (settings: SettingsMessage | undefined): NodeSettings {
  const { draining, zone, capacityBytes } = settings ?? {}
  return demandSettings({ isDraining: draining, zone, capacityBytes: capacityBytes === undefined ? undefined : numberOf('capacity', capacityBytes) })
}

async function * followed ({ everyMs, forecast }: WatchChangeRequest, { node, clock, signal }: Pick<RpcParts, 'node' | 'clock'> & { readonly signal: AbortSignal }): AsyncIterable<MessageInitShape<typeof WatchChangeResponseSchema>> {
  const expected = forecast === undefined ? undefined : forecastIn(forecast)
  const startMs = clock.monotonicMs()
  const look = async (): Promise<MessageInitShape<typeof WatchChangeResponseSchema>> => {
    const progress = await node.changes.progress({ signal }).catch((error: unknown) => {
      // while voters change, a moment without a majority is no end
      if (error instanceof Unavailable) return undefined
      throw error
    })
    if (progress === undefined) return {}
    return { progress: progressMessageOf(progress), share: expected === undefined ? undefined : shareMessageOf(expected, progress, clock.monotonicMs() - startMs) }
  }
  // that time passes is no news
  yield * looks(everyMs, { clock, signal, look, sameness: ({ progress, share }) => comparable([progress, share?.doneBytes]) })
}

function shareMessageOf (forecast: Expected, progress: ChangeProgress, tookMs: number): NonNullable<MessageInitShape<typeof WatchChangeResponseSchema>['share']> {
  const share = shareOf(forecast, progress)
  return { ...wholes({ ...share }), doneShare: share.totalBytes === 0 ? 1 : share.doneBytes / share.totalBytes, etaMs: wholeIfKnown(etaMsOf(share, tookMs)) }
}

function lossMessageOf ({ lost, survivors, rows, blocks, objects: { known, possiblyStale, examples }, isDone, era, epoch, layoutVersion }: LossReport): MessageInitShape<typeof ForgetLostResponseSchema> {
  return { lostPeerIds: [...lost], survivorPeerIds: [...survivors], rows, blocks, objects: { known: whole(known), possiblyStale: whole(possiblyStale), examples: [...examples] }, isDone, era, epoch, layoutVersion }
}
