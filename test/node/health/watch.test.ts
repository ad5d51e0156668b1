import { describe, expect, test } from 'vitest'
import type { PeerId } from '../../../src/base/peer-id.ts'
import type { Announcement } from '../../../src/network/index.ts'
import { watchAnnouncements } from '../../../src/node/health/watch.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

describe('who watches what is stored', () => {
  test('is told when it is stored, and not when it is announced again for others', async () => {
    const stop = new AbortController()
    const told: string[] = []
    let say: (announcement: Announcement) => void = () => {}
    const seen = watchAnnouncements({ clock: new VirtualTime().clock(), listen: (listener) => { say = listener; return () => {} }, nameOf: async (rowKey) => ({ bucket: 'bucket', key: String(rowKey[0]) }) }, stop.signal)
    const watching = (async () => { for await (const { object } of seen) { told.push(object?.key ?? ''); if (told.length === 2) stop.abort() } })()
    await Promise.resolve()
    for (const [i, isAgain] of [[1, false], [2, true], [3, false]] as const) say({ rowKey: new Uint8Array(32).fill(i), versionId: new Uint8Array(32), root: undefined, blocks: [], from: 'peer' as PeerId, isAgain })
    await watching
    expect(told).toEqual(['1', '3'])
  })
})
