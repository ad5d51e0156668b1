import { describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { Budget } from '../../src/base/budget.ts'
import { ByteWriter, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { answer, type Answering, Asker, exchangeLimits } from '../../src/network/exchange.ts'
import { PeerUnreachable } from '../../src/network/index.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { type FarEnd, streamPair } from '../support/stream-pair.ts'

/** Both ends of a stream with a hand on the bytes: peers that break the rules of docs/PROTOCOLS.md, "Streams and requests". */
const peer = 'a peer' as PeerId
const frame = (id: number, kind: number, body: Uint8Array, length = body.byteLength + 5): Uint8Array => new ByteWriter().u32(length).u32(id).u8(kind).raw(body).finish()
const [request, answered, refused] = [1, 2, 3]
const asking = { body: [utf8('?')], signal: undefined, timeoutMs: 60_000, maxAnswerBytes: 100 }

const answering = (more: Partial<Answering> = {}): Answering => ({
  peer, room: new Budget(2), handler: async (_peer, body) => [body], clock: systemClock, warn: () => {}, maxRequestBytes: 100, maxConcurrent: 2, ...more,
})

describe('an asker whose peer', () => {
  test.each([
    ['answers what nobody asked', frame(77, answered, utf8('!'))],
    ['answers longer than was allowed', frame(1, answered, new Uint8Array(101))],
    ['refuses at length', frame(1, refused, new Uint8Array(exchangeLimits.maxRefusalBytes + 1))],
    ['sends a frame that is no answer', frame(1, 9, utf8('!'))],
    ['sends a frame that is too short to be one', frame(1, answered, new Uint8Array(0), 4)],
  ])('%s ends the stream, and whoever waits is told', async (_, bytes) => {
    const [near, far] = streamPair()
    const asker = new Asker(near, { peer, clock: systemClock })
    const asked = asker.ask(asking)
    far.send(bytes)
    await expect(asked).rejects.toThrow(PeerUnreachable)
    expect(asker.isOpen).toBe(false)
  })

  test('answers a question that was given up is not thought to be lying', async () => {
    const [near, far] = streamPair()
    const asker = new Asker(near, { peer, clock: systemClock })
    const over = new AbortController()
    const given = asker.ask({ ...asking, signal: over.signal })
    over.abort(new Error('never mind'))
    await expect(given).rejects.toThrow('never mind')
    const second = asker.ask(asking)
    far.send(frame(1, answered, utf8('late')))
    far.send(frame(2, answered, utf8('yes')))
    expect(Buffer.from(await second).toString()).toBe('yes')
  })
})

test('a peer that takes requests and never answers is not remembered without end', async () => {
  const [near] = streamPair()
  const asker = new Asker(near, { peer, clock: systemClock })
  const waiting = asker.ask(asking)
  waiting.catch(() => {}) // it is looked at below
  for (let i = 0; i <= exchangeLimits.maxForgotten; i++) {
    expect(asker.isOpen).toBe(true)
    const over = new AbortController()
    const given = asker.ask({ ...asking, signal: over.signal })
    over.abort(new Error('never mind'))
    await expect(given).rejects.toThrow('never mind')
  }
  expect(asker.isOpen).toBe(false)
  await expect(waiting).rejects.toThrow(PeerUnreachable)
})

describe('a request that waits', () => {
  const start = (time: VirtualTime): { far: FarEnd, asked: Promise<unknown>, isOver: () => boolean } => {
    const [near, far] = streamPair()
    const asker = new Asker(near, { peer, clock: time.clock() })
    // a first one whose answer is long, and one behind it
    asker.ask({ ...asking, maxAnswerBytes: 10_000_000 }).catch(() => {})
    let isOver = false
    const asked = asker.ask({ ...asking, timeoutMs: 1000 }).catch((error: unknown) => error).finally(() => { isOver = true })
    return { far, asked, isOver: () => isOver }
  }

  test('for a silent peer ends at its time limit', async () => {
    const time = new VirtualTime()
    const { asked, isOver } = start(time)
    await time.run(isOver)
    expect(String(await asked)).toContain('took longer than')
    expect(time.nowMs).toBeLessThan(1100)
  })

  test('behind others goes on waiting while bytes come', async () => {
    const time = new VirtualTime()
    const { far, asked, isOver } = start(time)
    const total = 20 * exchangeLimits.leastBytesPerSecond
    far.send(new ByteWriter().u32(total + 5).u32(1).u8(answered).finish())
    let sent = 0
    const trickle = (): void => {
      if (sent === total) { far.send(frame(2, answered, utf8('at last'))); return }
      far.send(new Uint8Array(exchangeLimits.leastBytesPerSecond * 2))
      sent += exchangeLimits.leastBytesPerSecond * 2
      time.after(900, trickle)
    }
    trickle()
    await time.run(isOver)
    expect(Buffer.from(await asked as Uint8Array).toString()).toBe('at last')
    expect(time.nowMs).toBeGreaterThan(8000)
  })
})

describe('an answerer', () => {
  test('whose asker breaks off in the middle of requests has its places and bytes back', async () => {
    const [room, budget] = [new Budget(2), new Budget(1000)]
    for (let i = 0; i < 5; i++) {
      const [near, far] = streamPair()
      const served = answer(near, answering({ room, holding: { budget, answerBytes: 10 } }))
      far.send(frame(1, request, utf8('half'), 5 + 50))
      await until('the request is being read', 2000, () => room.used === 1 && budget.used === 60)
      far.abort(new Error('gone'))
      await served.catch(() => {})
      expect([room.used, budget.used]).toEqual([0, 0])
    }
  })

  test('gives one peer no more than its share of what all may have held', async () => {
    const [budget, share] = [new Budget(1000), new Budget(250)]
    const gate = Promise.withResolvers<void>()
    const [near, far] = streamPair()
    void answer(near, answering({ room: new Budget(10), share, holding: { budget, answerBytes: 0 }, handler: async () => { await gate.promise; return [] } }))
    for (let id = 1; id <= 5; id++) far.send(frame(id, request, new Uint8Array(100)))
    await until('two are in work', 2000, () => share.used === 200)
    expect(budget.used).toBe(200)
    gate.resolve()
    await until('all five are answered', 2000, () => far.received.byteLength === 5 * 9)
    expect([budget.used, share.used]).toEqual([0, 0])
  })

  test('holds request and answer until the answer is sent', async () => {
    const budget = new Budget(1000)
    const [near, far] = streamPair()
    const gate = Promise.withResolvers<void>()
    void answer(near, answering({ holding: { budget, answerBytes: 500 }, handler: async () => { await gate.promise; return [new Uint8Array(400)] } }))
    far.send(frame(1, request, new Uint8Array(100)))
    await until('it is in work', 2000, () => budget.used === 600)
    gate.resolve()
    await until('it is sent', 2000, () => budget.used === 0)
  })

  test.each([
    ['a request that is too long', frame(1, request, new Uint8Array(101))],
    ['one that uses the number of another in work', new Uint8Array([...frame(1, request, utf8('a')), ...frame(1, request, utf8('b'))])],
    ['an answer to nothing', frame(1, answered, utf8('!'))],
  ])('refuses %s by ending the stream', async (_, bytes) => {
    const [near, far] = streamPair()
    const served = answer(near, answering({ handler: async (_peer, _body, { signal }) => { await new Promise((resolve) => { signal.addEventListener('abort', resolve) }); return [] } }))
    far.send(bytes)
    await expect(served).rejects.toThrow(RangeError)
  })
})
