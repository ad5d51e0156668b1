import type { NodeStatus } from '../../node.ts'

/** Whether what a node says of the redundancy of its blocks is of this layout: before it has looked at everything it knows of nothing that is short, and that is not all being there. */
export const hasLooked = ({ repair, layout }: Pick<NodeStatus, 'repair'> & { readonly layout: Pick<NodeStatus['layout'], 'version'> }): boolean =>
  repair === undefined || (repair.found !== undefined && BigInt(repair.found.layoutVersion) >= BigInt(layout.version))
