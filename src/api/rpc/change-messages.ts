import type { MessageInitShape } from '@bufbuild/protobuf'
import type { PeerId } from '../../base/peer-id.ts'
import type { ChangeForecast, ChangeProgress, LayoutReport } from '../../node.ts'
import type { Expected } from '../../node/layout/change-share.ts'
import { type ChangeForecast as ForecastMessage, type ChangeForecastSchema, type ChangeProgressSchema, type GetLayoutResponseSchema, type PlannedNode, PlannedPlace, type PlannedNodeSchema } from './generated/dfs/v1/cluster_pb.ts'
import { numberIn } from './names.ts'
import { layoutStates, roles } from './role-names.ts'
import { numberOf, whole, wholeIfKnown } from './whole.ts'

const places = { stays: PlannedPlace.STAYS, enters: PlannedPlace.ENTERS, leaves: PlannedPlace.LEAVES } as const

export function forecastMessageOf ({ isPossible, refusals, movedBytes, countedPartitions, silent, areBucketsKnown, layout, nodes }: ChangeForecast): MessageInitShape<typeof ChangeForecastSchema> {
  return {
    isPossible, refusals: [...refusals], movedBytes: whole(movedBytes), countedPartitions, silentPeerIds: [...silent], areBucketsKnown,
    layoutVersion: layout.version, layoutState: numberIn(layoutStates, layout.state), nodes: nodes.map(plannedMessageOf),
  }
}

const plannedMessageOf = ({ peerId, role, zone, capacityBytes, change, receiveBytes, giveUpBytes, heldBytes, rowPartitions, blockPartitions }: ChangeForecast['nodes'][number]): MessageInitShape<typeof PlannedNodeSchema> => ({
  peerId, zone,
  role: numberIn(roles, role), capacityBytes: whole(capacityBytes), place: numberIn(places, change), receiveBytes: whole(receiveBytes), giveUpBytes: whole(giveUpBytes), heldBytes: wholeIfKnown(heldBytes),
  receivePartitions: { rows: rowPartitions.receive, blocks: blockPartitions.receive }, giveUpPartitions: { rows: rowPartitions.giveUp, blocks: blockPartitions.giveUp },
})

/** Of a forecast that somebody brings back, what its progress is measured by. @throws InvalidInput */
export const forecastIn = ({ movedBytes, nodes }: ForecastMessage): Expected => ({ movedBytes: numberOf('forecast', movedBytes), nodes: nodes.map(plannedIn) })

// it is compared with those of nodes, and trusted in nothing
const plannedIn = ({ peerId, receiveBytes, giveUpBytes, heldBytes }: PlannedNode): Expected['nodes'][number] => ({
  peerId: peerId as PeerId | undefined, receiveBytes: numberOf('forecast', receiveBytes), giveUpBytes: numberOf('forecast', giveUpBytes), heldBytes: heldBytes === undefined ? undefined : numberOf('forecast', heldBytes),
})

export function progressMessageOf ({ layout, rowPartitionsLeft, leftBytes, isDone, isWhole, waitingFor, nodes }: ChangeProgress): MessageInitShape<typeof ChangeProgressSchema> {
  return {
    layoutVersion: layout.version, layoutState: numberIn(layoutStates, layout.state), rowPartitionsLeft, leftBytes: whole(leftBytes), isDone, isWhole, waitingFor: [...waitingFor],
    nodes: nodes.map(({ heldBytes, misplacedBytes, leftBytes: left, shortBlocks, ...node }) => ({
      ...node, heldBytes: wholeIfKnown(heldBytes), misplacedBytes: wholeIfKnown(misplacedBytes), leftBytes: wholeIfKnown(left), shortBlocks: wholeIfKnown(shortBlocks),
    })),
  }
}

export function layoutMessageOf ({ version, state, voters, members }: LayoutReport): MessageInitShape<typeof GetLayoutResponseSchema> {
  return {
    layout: { version, voters, state: numberIn(layoutStates, state), members: members.filter(({ present }) => present !== undefined).length },
    members: members.map(({ peerId, role, zone, capacityBytes, present, next }) => ({ peerId, zone, role: numberIn(roles, role), capacityBytes: whole(capacityBytes), present, next })),
  }
}
