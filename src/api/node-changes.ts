import { InvalidInput } from '../base/errors.ts'
import type { NodeChange, NodeSettings } from '../node.ts'

/** What a node is to be set to, whatever face it came by. @throws InvalidInput where nothing is said */
export function demandSettings (settings: NodeSettings): NodeSettings {
  const { isDraining, zone, capacityBytes } = settings
  if (isDraining === undefined && zone === undefined && capacityBytes === undefined) throw new InvalidInput('member', 'say what to set: draining, zone or capacityBytes')
  return settings
}

/** A node that is to join, for a forecast. @throws InvalidInput where its share cannot be told */
export function arrivalOf ({ role = 'member', zone = 'default', capacityBytes }: { role?: 'member' | 'storage' | 'witness' | undefined, zone?: string | undefined, capacityBytes?: number | undefined }): NodeChange {
  if (role !== 'witness' && !(capacityBytes !== undefined && Number.isSafeInteger(capacityBytes) && capacityBytes >= 0)) throw new InvalidInput('capacity', 'say how much the node is to hold: its share depends on it')
  return { kind: 'join', role, zone, capacityBytes: capacityBytes ?? 0 }
}
