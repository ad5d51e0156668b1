import { UnknownOutcome } from '../../base/errors.ts'
import { encodeLayout, parseLayout } from '../../cluster/index.ts'
import { type Change, isClear, type Registers, tables } from '../../tables/index.ts'
import { layoutAddress } from '../membership/membership.ts'
import type { ClusterState } from '../state.ts'

/**
 * The rows of the cluster while the layout closes: the founder still decides alone, and hands on what it has decided; what it decides after that, and before the layout is settled, it would be alone in knowing.
 * So whoever has changed a row then, or found it as it is to be, writes the layout's anew, as it is, before it says so. Who settles the layout does that only where its row has not been written since it
 * began to hand on (settle.ts): of the two writes the one that comes second finds the other.
 */
export function closingRegisters<T extends Registers> (registers: T, state: Pick<ClusterState, 'layout'>): T {
  return {
    ...registers,
    async change (address, change, wait) {
      const mayClose = isClear(address.table) && address.table !== tables.layout && (state.layout.state === 'open' || state.layout.state === 'closing')
      const result = await registers.change(address, change, wait)
      if (mayClose && state.layout.state !== 'open' && !await isClosingStill(registers, wait)) throw new UnknownOutcome('the layout was settled meanwhile: look whether it was done')
      return result
    },
  }
}

async function isClosingStill (registers: Registers, wait: { signal?: AbortSignal } | undefined): Promise<boolean> {
  try {
    return await registers.change(layoutAddress, (value): Change<boolean> => {
      const layout = value === undefined ? undefined : parseLayout(value)
      return layout?.state === 'closing' ? { kind: 'write', value: encodeLayout(layout), result: true } : { kind: 'keep', result: false }
    }, wait)
  } catch (cause) {
    wait?.signal?.throwIfAborted()
    throw new UnknownOutcome('it was done while the layout closed, and may be forgotten', { cause })
  }
}
