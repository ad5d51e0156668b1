import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { hash } from '../../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../../src/base/peer-id.ts'
import { type AtRisk, ClusterHealth, clusterHealthLimits, healthOfCluster } from '../../../src/node/health/cluster-health.ts'
import type { Health } from '../../../src/protocols/health.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { memoryNetwork } from '../../support/memory-requests.ts'

const version = (n: number): string => n.toString(16).padStart(64, '0').split('').toReversed().join('')
const of = (...versions: readonly number[]): Partial<Health> => ({ versionsAtRisk: versions.map(version) })
const well: Health = { wallMs: 0, hasSurveyed: true, isTruncated: false, holdsBlocks: true, isRepairPaused: false, hasScrubbed: true, isScrubPaused: false, softwareVersion: '0.1.0', shortBlocks: 0, versionsAtRisk: [] }

interface World { readonly ids: readonly PeerId[], readonly nodes: readonly ClusterHealth[], readonly network: ReturnType<typeof memoryNetwork>, readonly time: VirtualTime, readonly risks: AtRisk[], readonly away: Set<PeerId>, readonly step: () => Promise<AtRisk> }

/** Nodes that are so; the first is the one that is asked. */
async function world (...healths: ReadonlyArray<Partial<Health>>): Promise<World> {
  const time = new VirtualTime()
  const network = memoryNetwork({ clock: time.clock() })
  const ids = healths.map((_, i) => peerIdOf(hash(utf8(`node ${i}`))))
  const [risks, away]: [AtRisk[], Set<PeerId>] = [[], new Set()]
  const nodes = healths.map((health, i) => new ClusterHealth({
    self: ids[i] as PeerId, requests: network.of(ids[i] as PeerId), clock: time.clock(), holders: () => ids, reachable: () => ids.filter((id, at) => at !== i && !away.has(id)),
    own: () => ({ ...well, ...health, wallMs: time.clock().wallMs() + (health.wallMs ?? 0) }), onRisk: (atRisk) => { if (i === 0) risks.push(atRisk) },
  }))
  for (const node of nodes) await node.serve()
  const wait = async <T>(work: Promise<T>): Promise<T> => { let over = false; const done = work.finally(() => { over = true }); done.catch(() => {}); await time.run(() => over); return done }
  const first = nodes[0] as ClusterHealth
  return {
    ids, nodes, network, time, risks, away,
    step: async () => {
      await wait(time.sleep(clusterHealthLimits.everyMs))
      await wait(first.step({ signal: new AbortController().signal }))
      return first.atRisk()
    },
  }
}

describe('objects at risk in the cluster', () => {
  test.each([['5', true], ['6', false]])('are not known of by who looked at everything under another layout: layout 6, looked at under %s', async (layoutVersion, isAtLeast) => {
    const time = new VirtualTime()
    const network = memoryNetwork({ clock: time.clock() })
    const peerId = peerIdOf(hash(utf8('node')))
    const parts = {
      state: { layout: { version: 6n }, belongs: () => true }, network: { peerId, requests: network.of(peerId), reachable: () => [] }, clock: time.clock(), logger: { warn: () => {}, info: () => {} },
      repairing: { status: () => ({ state: 'idle', found: { layoutVersion, isAtLeast: false, shortBlocks: 0 } }), versionsAtRisk: () => [], holders: () => [peerId] }, scrubbing: { status: () => undefined },
    } as unknown as Parameters<typeof healthOfCluster>[0]
    expect((await healthOfCluster(parts)).atRisk()).toEqual({ objects: 0, isAtLeast, silent: [] })
  })

  test('are one number: what several nodes know of is counted once', async () => {
    const { step } = await world(of(1, 2), of(2, 3), of(3, 4, 5))
    expect(await step()).toEqual({ objects: 5, isAtLeast: false, silent: [] })
  })

  test.each<[string, Partial<Health>]>([['has not looked at everything', { hasSurveyed: false }], ['could not tell all', { isTruncated: true }]])('are at least so many while one %s', async (_what, health) => {
    expect(await (await world(of(1), { ...of(2), ...health })).step()).toMatchObject({ objects: 2, isAtLeast: true })
  })

  test('do not wait for a witness, which holds no blocks', async () => {
    expect(await (await world(of(1), { holdsBlocks: false, hasSurveyed: false })).step()).toMatchObject({ objects: 1, isAtLeast: false })
  })

  test('are at least so many while one that holds blocks does not answer, and what it told before counts no more', async () => {
    const { step, away, ids, network } = await world(of(1), of(2), of(3))
    const [, second, third] = ids as [PeerId, PeerId, PeerId]
    expect((await step()).objects).toBe(3)
    away.add(second)
    expect(await step()).toEqual({ objects: 2, isAtLeast: true, silent: [second] })
    // connected, and silent
    network.kill(third)
    expect(await step()).toEqual({ objects: 1, isAtLeast: true, silent: [second, third] })
    network.revive(third)
    away.clear()
    expect(await step()).toEqual({ objects: 3, isAtLeast: false, silent: [] })
  })

  test('are told in the log when there are some, many more, and none any more', async () => {
    const healths: Array<{ versionsAtRisk: string[] }> = [{ versionsAtRisk: [] }, { versionsAtRisk: [] }]
    const { step, risks } = await world(...healths)
    const now = async (count: number): Promise<void> => { for (const health of healths) health.versionsAtRisk = Array.from({ length: count }, (_, i) => version(i)); await step() }
    for (const count of [0, 3, 4, 5, 20, 7, 0, 0, 2]) await now(count)
    expect(risks.map(({ objects }) => objects)).toEqual([3, 20, 0, 2])
  })

  test('and each node\'s clock is held against this one\'s', async () => {
    const { nodes, ids, step } = await world({}, { wallMs: 90_000 }, { wallMs: -5000 })
    await step()
    expect(ids.map((id) => nodes[0]?.peers().get(id)?.clockAheadMs)).toEqual([undefined, 90_000, -5000])
  })
})
