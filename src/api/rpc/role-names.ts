import { LayoutState, Role } from './generated/dfs/v1/cluster_pb.ts'

export const roles = { member: Role.MEMBER, storage: Role.STORAGE, witness: Role.WITNESS } as const
export const layoutStates = { open: LayoutState.OPEN, closing: LayoutState.CLOSING, settled: LayoutState.SETTLED, changing: LayoutState.CHANGING } as const
