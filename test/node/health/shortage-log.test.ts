import { describe, expect, test } from 'vitest'
import { ShortageLog, shortageLogLimits } from '../../../src/node/health/shortage-log.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

const shortage = { cid: 'bafy', have: 2, want: 3 }

describe('blocks that are stored with fewer copies than they should', () => {
  test('are told in the log one by one when they are few, and by their number when they are many', async () => {
    const [time, said] = [new VirtualTime(), [] as object[]]
    using log = new ShortageLog({ clock: time.clock(), log: { warn: (fields) => { said.push(fields) } } })
    const pass = async (ms: number): Promise<void> => {
      let isOver = false
      time.clock().after(ms, () => { isOver = true })
      await time.run(() => isOver)
    }
    for (let i = 0; i < 1000; i++) log.note(shortage)
    expect(said).toEqual([shortage])
    await pass(shortageLogLimits.everyMs + 1)
    expect(said).toEqual([shortage, { blocks: 999 }])
    log.note(shortage)
    await pass(3 * shortageLogLimits.everyMs)
    expect(said).toEqual([shortage, { blocks: 999 }, { blocks: 1 }])
    log.note(shortage)
    expect(said.at(-1)).toEqual(shortage)
    log.note(shortage)
    log[Symbol.dispose]()
    expect(said.at(-1)).toEqual({ blocks: 1 })
  })
})
