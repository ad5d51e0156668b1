import { describe, expect, test } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { followChange } from '../../src/cli/follow-change.ts'
import { forecastText } from '../../src/cli/forecast-text.ts'
import type { ChangeForecast, ChangeProgress, NodeProgress } from '../../src/node.ts'
import { shareOf } from '../../src/node/layout/change-share.ts'

const [a, b] = ['peer a', 'peer b'] as PeerId[] as [PeerId, PeerId]
const node = (peerId: PeerId | undefined, more: Partial<ChangeForecast['nodes'][number]> = {}): ChangeForecast['nodes'][number] =>
  ({ peerId, role: 'member', zone: 'attic', capacityBytes: 2 ** 30, change: 'stays', receiveBytes: 0, giveUpBytes: 0, heldBytes: 1000, rowPartitions: { receive: 0, giveUp: 0 }, blockPartitions: { receive: 0, giveUp: 0 }, ...more })
const forecast = (more: Partial<ChangeForecast> = {}): ChangeForecast => ({
  isPossible: true, refusals: [], movedBytes: 4096, countedPartitions: 4096, silent: [], areBucketsKnown: true, layout: { version: '7', state: 'settled' },
  nodes: [node(a, { receiveBytes: 4096, rowPartitions: { receive: 5, giveUp: 0 } }), node(b, { change: 'leaves', giveUpBytes: 4096 })], ...more,
})
const holding = (peerId: PeerId, heldBytes: number): NodeProgress => ({ peerId, isAnswering: true, isInLayout: true, hasLooked: true, heldBytes, misplacedBytes: 0, leftBytes: 0, shortBlocks: 0, mayBeSwitchedOff: false })
const progress = (held: number, more: Partial<ChangeProgress> = {}): ChangeProgress => ({ layout: { version: '8', state: 'settled', members: 1 }, rowPartitionsLeft: 0, leftBytes: 0, isDone: false, isWhole: false, nodes: [holding(a, held)], waitingFor: ['5 bytes on peer b belong elsewhere'], ...more })

describe('what a change would move, as text', () => {
  test('names who receives and gives up how much, and how that is known', () => {
    const text = forecastText(forecast())
    expect(text).toContain('4.0 KiB of blocks would be brought to other nodes')
    expect(text).toMatch(/peer a .*receives 4\.0 KiB .*rows \+5 -0/)
    expect(text).toMatch(/peer b .*leaves.*gives up 4\.0 KiB/)
    expect(text).toContain('bytes as the nodes hold them now')
  })
  test('leaves out who is not touched, and says what is not known, or not possible', () => {
    const text = forecastText(forecast({ nodes: [node(a)], countedPartitions: 100, silent: [b], areBucketsKnown: false, refusals: ['no room'], isPossible: false }))
    expect(text.split('\n')).toEqual(['nothing moves', 'bytes counted in 100 of 4096 partitions, and taken from those for the rest', expect.stringContaining('not told by peer b'), expect.stringContaining('buckets could not be listed'), 'not possible: no room'])
  })
  test('does not call a removal impossible, which is never held up', () => {
    expect(forecastText(forecast({ refusals: ['bucket wide needs 4 nodes'] }))).toContain('\ndone all the same: bucket wide needs 4 nodes')
  })
  test('names who only changes places, where that moves bytes', () => {
    const text = forecastText(forecast({ nodes: [node(a, { receiveBytes: 4096 }), node(b)] }))
    expect(text).toMatch(/^4\.0 KiB of blocks.*\npeer a .*receives 4\.0 KiB/)
    expect(text).not.toContain('peer b')
  })
  test('calls one that is to come that', () => { expect(forecastText(forecast({ nodes: [node(undefined, { change: 'enters' })] }))).toContain('the new node') })
})

describe('a change that is waited for', () => {
  test('is as far as what has come to those who were to receive something', () => {
    expect(shareOf(forecast(), progress(1000))).toEqual({ doneBytes: 0, totalBytes: 4096 })
    expect(shareOf(forecast(), progress(3048))).toEqual({ doneBytes: 2048, totalBytes: 4096 })
    expect(shareOf(forecast(), progress(99_999))).toEqual({ doneBytes: 4096, totalBytes: 4096 })
  })

  test('of who receives and gives up alike is not there before it has begun', () => {
    const alike = forecast({ nodes: [node(a, { receiveBytes: 4096, giveUpBytes: 4096 })] })
    const at = (heldBytes: number, more: Partial<NodeProgress>): number => shareOf(alike, progress(0, { nodes: [{ ...holding(a, heldBytes), ...more }] })).doneBytes
    expect(at(1000, { hasLooked: false })).toBe(0)
    expect(at(3048, { hasLooked: false })).toBe(2048)
    expect(at(5096, { misplacedBytes: 4096 })).toBe(4096)
    // what it has given up hides as much of what came
    expect(at(3048, { misplacedBytes: 3072 })).toBe(3072)
    expect(at(1000, { misplacedBytes: 0 })).toBe(4096)
  })
  test('that moves no bytes is told by what it waits for, and is not whole before it is over', async () => {
    const rows = [progress(1000, { rowPartitionsLeft: 5, waitingFor: ['rows are taken over: 5 partitions left'] }), progress(1000, { isDone: true })]
    const none = forecast({ movedBytes: 0, nodes: [] })
    expect((await followed(rows, { of: none })).notes).toEqual(['rows are taken over: 5 partitions left'])
    expect((await followed(rows, { of: none, isJson: true })).facts).toMatchObject([{ progress: { percent: 0, rowPartitionsLeft: 5 } }])
  })

  async function followed (steps: ReadonlyArray<ChangeProgress | undefined>, { isJson = false, isTTY = false, of = forecast() }: { isJson?: boolean, isTTY?: boolean, of?: ChangeForecast } = {}): Promise<{ facts: object[], notes: string[], warnings: string[], drawn: string }> {
    let [nowMs, step] = [0, 0]
    const [facts, notes, warnings, drawn]: [object[], string[], string[], string[]] = [[], [], [], []]
    await followChange({
      output: { isJson, fact: (fact) => { facts.push(fact) }, note: (text) => { notes.push(text) }, warn: (text) => { warnings.push(text) } },
      clock: { monotonicMs: () => nowMs, sleep: async () => { nowMs += 6000 } } as unknown as Clock,
      terminal: { isTTY, columns: 120, write: (text) => { drawn.push(text); return true } },
      look: async () => steps[step++], isOver: async ({ isDone }) => isDone, forecast: of, signal: new AbortController().signal,
    })
    return { facts, notes, warnings, drawn: drawn.join('') }
  }
  const steps = [progress(1000), undefined, progress(2024), progress(2024), progress(5096, { isDone: true })]

  test('is told in bytes, percentage and time left, once for each news, and ends when it is over', async () => {
    expect((await followed(steps)).notes).toEqual(['0 B of 4.0 KiB, 0 %: 5 bytes on peer b belong elsewhere', '1.0 KiB of 4.0 KiB, 25 %, 36s left: 5 bytes on peer b belong elsewhere'])
  })
  test('is told as not known, again and again, when it cannot be asked for a while', async () => {
    const over = progress(5096, { isDone: true })
    expect((await followed([progress(1000), undefined, over])).warnings).toEqual([])
    for (const isJson of [false, true]) expect((await followed([undefined, undefined, undefined, over], { isJson })).warnings).toEqual(Array.from({ length: 2 }, () => expect.stringMatching(/^how far it is cannot be told now/)))
    expect((await followed([undefined, undefined, over], { isTTY: true })).drawn).toContain('cannot be told now')
  })
  test('is told scripts as objects', async () => {
    expect((await followed(steps, { isJson: true })).facts).toEqual([
      { progress: { doneBytes: 0, totalBytes: 4096, percent: 0, rowPartitionsLeft: 0, leftBytes: 0, waitingFor: ['5 bytes on peer b belong elsewhere'] } },
      { progress: { doneBytes: 1024, totalBytes: 4096, percent: 25, etaSeconds: 36, rowPartitionsLeft: 0, leftBytes: 0, waitingFor: ['5 bytes on peer b belong elsewhere'] } },
    ])
  })
  test('is drawn in one line of a terminal, which is cleared at the end', async () => {
    const { drawn, notes } = await followed(steps, { isTTY: true })
    expect(notes).toEqual([])
    expect(drawn).toContain('25%')
    expect(drawn.endsWith('\r\u001b[2K')).toBe(true)
  })
})
