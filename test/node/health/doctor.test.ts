import { describe, expect, test } from 'vitest'
import { type DoctorFacts, doctorLimits, findingsOf } from '../../../src/node/health/doctor.ts'
import type { PeerHealth } from '../../../src/node/health/cluster-health.ts'
import type { NodeStatus } from '../../../src/node.ts'

const found = { pieces: 9, wrongPieces: 0, wrongReferences: 0, enteredFiles: 0, rows: 9, lostPartitions: 0, damagedFiles: 0 }
const repair: NonNullable<NodeStatus['repair']> = {
  state: 'idle', phase: 'waiting', why: undefined, doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, full: [],
  found: { layoutVersion: '3', objectsAtRisk: 0, isAtLeast: false, shortBlocks: 0, goneBlocks: 0, narrowBlocks: 0, misplacedBlocks: 0, misplacedBytes: 0 }, total: { broughtBlocks: 0, fetchedBlocks: 0, releasedBlocks: 0, movedBytes: 0, failures: 0 },
}
const scrub: NonNullable<NodeStatus['scrub']> = { state: 'idle', phase: 'waiting', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, everyMs: 1, found, last: { finished: '2026-01-01', finishedMs: 0, tookMs: 1, bytes: 1, found } }
const collect: NonNullable<NodeStatus['collect']> = {
  state: 'idle', phase: 'waiting', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, collectAfterMs: 1, publishing: { phase: 'waiting', doneShare: 1, failure: undefined },
  found: { condemnedBlocks: 4, condemnedBytes: 4, unreferencedBlocks: 0, unreferencedBytes: 0, heldUpBlocks: 0 }, total: { collectedBlocks: 0, collectedBytes: 0, sparedBlocks: 0, publishedDeaths: 0, abandonedUploads: 0 },
}
const member = (peerId: string, isConnected = true, role = 'member'): NodeStatus['members'][number] => ({ peerId, role, zone: 'default', capacityBytes: 1e9, isConnected })
const status: NodeStatus = {
  peerId: 'a', clusterId: '00', version: '0.1.0', role: 'member', zone: 'default', addresses: [], uptimeMs: 1000, layout: { version: '3', state: 'settled', members: 3, voters: 3 },
  members: ['a', 'b', 'c'].map((peer) => member(peer)), blocks: { count: 1, bytes: 1, quotaBytes: undefined, freeBytes: 1e12, corrupt: 0, isReadOnly: false }, cache: { bytes: 0, limitBytes: 1 },
  rows: { lostPartitions: 0, isReadOnly: false }, repair, scrub, collect, atRisk: { objects: 0, isAtLeast: false, silent: [] }, isReady: true, isDegraded: false, health: [],
}
const health = (changed: Partial<PeerHealth> = {}): PeerHealth => ({ wallMs: 0, clockAheadMs: 20, hasSurveyed: true, isTruncated: false, holdsBlocks: true, isRepairPaused: false, hasScrubbed: true, isScrubPaused: false, softwareVersion: '0.1.0', shortBlocks: 0, versionsAtRisk: [], ...changed })
const well: DoctorFacts = { status, peers: [], healthOfPeers: new Map([['b', health()], ['c', health()]]), hasMajority: true, belongs: true, layoutTrouble: undefined, forgetful: [], reserveBytes: 1e9, blocksReadOnlyReason: undefined, rowsReadOnlyReason: undefined }
const but = (changed: Partial<NodeStatus>): Partial<DoctorFacts> => ({ status: { ...status, ...changed } })
const heard = (...peers: ReadonlyArray<Partial<PeerHealth>>): Partial<DoctorFacts> => ({ healthOfPeers: new Map(peers.map((peer, i) => [String.fromCodePoint(98 + i), health(peer)])) })
const codesOf = (facts: Partial<DoctorFacts>): string[] => findingsOf({ ...well, ...facts }).map(({ severity, code }) => `${severity} ${code}`)

describe('dfs doctor says', () => {
  test('nothing where all is well', () => { expect(findingsOf(well)).toEqual([]) })

  test.each<[string, Partial<DoctorFacts>, string]>([
    ['that this node was removed', { belongs: false }, 'error removed'],
    ['that there is no majority', { hasMajority: false }, 'error quorum'],
    ['who was left out with what perhaps nobody else has', { leftOut: ['d'] }, 'warning left-out'],
    ['what the layout waits for', { layoutTrouble: 'the layout changes, and waits for b' }, 'warning layout-waits'],
    ['that the layout changes', but({ layout: { ...status.layout, state: 'changing' } }), 'note layout-changes'],
    ['that there is no bucket yet', but({ layout: { ...status.layout, state: 'open' } }), 'note layout-open'],
    ['that a node is alone', but({ layout: { ...status.layout, voters: 1, members: 1 } }), 'warning one-node'],
    ['that two voters are too few', but({ layout: { ...status.layout, voters: 2 } }), 'warning two-voters'],
    ['that one alone has the keys', but({ members: [member('a'), member('b', true, 'storage'), member('c', true, 'witness')] }), 'warning one-member'],
    ['that one alone may invite', { admins: ['a'] }, 'note one-admin'],
    ['whose row store has forgotten', { forgetful: ['b'] }, 'warning row-store-forgot'],
    ['why blocks are read-only', { blocksReadOnlyReason: 'an fsync failed' }, 'error blocks-read-only'],
    ['why rows are', { rowsReadOnlyReason: 'the disk is full' }, 'error rows-read-only'],
    ['that rows were lost', but({ rows: { lostPartitions: 7, isReadOnly: false } }), 'warning rows-lost'],
    ['that the disk is full', but({ blocks: { ...status.blocks, freeBytes: 1e9 } }), 'warning disk-full'],
    ['that the quota nearly is', but({ blocks: { ...status.blocks, bytes: 96, quotaBytes: 100 } }), 'warning quota-full'],
    ['that blocks have rotted', but({ blocks: { ...status.blocks, corrupt: 1 } }), 'warning rot'],
    ['that the index of blocks was damaged', but({ health: ['the index of blocks was damaged when the node started (1.log): …'] }), 'warning index-damaged'],
    ['who is away', but({ members: [member('a'), member('b', false), member('c')] }), 'warning peer-away'],
    ['who is away, and is not in the layout', but({ members: [member('a'), { ...member('b', false), capacityBytes: undefined }, member('c')] }), 'note peer-off'],
    ['that objects are at risk', but({ atRisk: { objects: 4, isAtLeast: true, silent: [] } }), 'warning at-risk'],
    ['that blocks may be gone', but({ repair: { ...repair, found: { ...repair.found as NonNullable<typeof repair.found>, goneBlocks: 1 } } }), 'warning blocks-gone'],
    ['that blocks ask for more nodes than there are', but({ repair: { ...repair, found: { ...repair.found as NonNullable<typeof repair.found>, narrowBlocks: 1 } } }), 'warning too-few-holders'],
    ['who has not told', but({ atRisk: { objects: 0, isAtLeast: true, silent: ['b'] } }), 'note silent'],
    ['that repair is paused', but({ repair: { ...repair, state: 'paused' } }), 'warning repair-paused'],
    ['that repair fails', but({ repair: { ...repair, failure: 'the disk' } }), 'warning repair-fails'],
    ['who is full', but({ repair: { ...repair, full: ['b'] } }), 'warning peer-full'],
    ['that nothing was scrubbed in a day', but({ scrub: { ...scrub, last: undefined }, uptimeMs: doctorLimits.scrubMs + 1 }), 'note never-scrubbed'],
    ['that scrub is paused', but({ scrub: { ...scrub, state: 'paused' } }), 'warning scrub-paused'],
    ['that scrub fails', but({ scrub: { ...scrub, failure: 'the disk' } }), 'warning scrub-fails'],
    ['what scrub found', but({ scrub: { ...scrub, found: { ...found, wrongReferences: 1 } } }), 'warning scrub-found'],
    ['that collection is paused', but({ collect: { ...collect, state: 'paused' } }), 'warning collect-paused'],
    ['that collection fails', but({ collect: { ...collect, failure: 'the disk' } }), 'warning collect-fails'],
    ['that deaths wait', but({ collect: { ...collect, publishing: { phase: 'waiting', doneShare: 1, failure: 'too few replicas' } } }), 'warning deaths-wait'],
    ['what is held up', but({ collect: { ...collect, found: { ...collect.found as NonNullable<typeof collect.found>, heldUpBlocks: 1 } } }), 'warning collect-held-up'],
    ['what is recorded for nobody', but({ collect: { ...collect, found: { ...collect.found as NonNullable<typeof collect.found>, unreferencedBlocks: 1 } } }), 'note unreferenced'],
    ['whose clock differs', heard({ clockAheadMs: 90_000 }, {}), 'warning clock'],
    ['that its own clock differs, when most others say so', heard({ clockAheadMs: 90_000 }, { clockAheadMs: 91_000 }), 'warning clock'],
    ['who runs another version', heard({ softwareVersion: '0.2.0' }), 'note versions'],
    ['where repair is paused', heard({ isRepairPaused: true }), 'warning repair-paused-elsewhere'],
  ])('%s', (_what, facts, expected) => { expect(codesOf(facts)).toEqual([expected]) })

  test('who alone tells of objects at risk: another may have lost its sight of them, or lie', () => {
    const atRisk = but({ atRisk: { objects: 2, isAtLeast: false, silent: [] } })
    const textOf = (facts: Partial<DoctorFacts>): string | undefined => findingsOf({ ...well, ...facts }).find(({ code }) => code === 'at-risk')?.what
    expect(textOf({ ...atRisk, ...heard({ versionsAtRisk: ['aa', 'bb'] }, {}) })).toContain('as b alone says')
    expect(textOf({ ...atRisk, ...heard({ versionsAtRisk: ['aa', 'bb'] }, { versionsAtRisk: ['bb'] }) })).not.toContain('alone')
    const seen = { repair: { ...repair, found: { ...repair.found as NonNullable<typeof repair.found>, objectsAtRisk: 1 } }, atRisk: { objects: 2, isAtLeast: false, silent: [] } }
    expect(textOf({ ...but(seen), ...heard({ versionsAtRisk: ['aa', 'bb'] }, {}) })).not.toContain('alone')
  })

  test('where to look for a node that is away, and whose clock it is', () => {
    const [away] = findingsOf({ ...well, ...but({ members: [member('a'), member('b', false), member('c')] }), peers: [{ peerId: 'b', isConnected: false, isMember: true, role: 'member', addresses: ['/ip4/10.0.0.2/tcp/4201'], version: undefined, freeBytes: undefined, latencyMs: undefined }] })
    expect(away?.todo).toContain('/ip4/10.0.0.2/tcp/4201')
    expect(findingsOf({ ...well, ...heard({ clockAheadMs: -90_000 }, {}) })[0]?.what).toBe('the clock of b is 90 s behind of this node\'s')
    expect(findingsOf({ ...well, ...heard({ clockAheadMs: -90_000 }, { clockAheadMs: -90_000 }) })[0]?.what).toBe('this node\'s clock differs from those of 2 of 2 others by 90 s ahead, 90 s ahead')
  })

  test('neither that a node has not scrubbed that has just started, nor anything of repair on a witness', () => {
    expect(codesOf(but({ scrub: { ...scrub, last: undefined } }))).toEqual([])
    expect(codesOf(but({ repair: undefined }))).toEqual([])
  })
})
