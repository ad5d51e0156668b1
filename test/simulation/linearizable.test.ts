import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { type Invocation, isLinearizable } from './linearizable.ts'

type State = string | undefined
const write = (value: string, startMs: number, endMs: number): Invocation<State> => ({ what: `write ${value}`, startMs, endMs, apply: () => ({ state: value }) })
const read = (value: State, startMs: number, endMs: number): Invocation<State> => ({ what: `read ${value}`, startMs, endMs, isRead: true, apply: (state) => (state === value ? { state } : 'impossible') })
const cas = (from: State, to: string, startMs: number, endMs: number): Invocation<State> => ({ what: `${from} to ${to}`, startMs, endMs, apply: (state) => (state === from ? { state: to } : 'impossible') })

describe('the linearizability checker', () => {
  test('accepts reads of either value while a write is under way', () => {
    expect(isLinearizable([write('x', 0, 10), read(undefined, 1, 3), read('x', 4, 6)], undefined)).toBe(true)
  })
  test('refuses a read that goes back', () => {
    expect(isLinearizable([write('x', 0, 10), read('x', 1, 3), read(undefined, 4, 6)], undefined)).toBe(false)
  })
  test('refuses a read that misses what was acknowledged', () => {
    expect(isLinearizable([write('x', 0, 1), read(undefined, 2, 3)], undefined)).toBe(false)
  })
  test('refuses two winners of one compare-and-set', () => {
    expect(isLinearizable([cas(undefined, 'x', 0, 5), cas(undefined, 'y', 0, 5)], undefined)).toBe(false)
  })
  test('lets an unknown write happen late', () => {
    expect(isLinearizable([write('x', 0, Infinity), read(undefined, 1, 2), read('x', 3, 4)], undefined)).toBe(true)
  })
  test('lets an unknown write never happen', () => {
    expect(isLinearizable([write('x', 0, Infinity), read(undefined, 1, 2)], undefined)).toBe(true)
  })
  test('refuses an unknown write that happens twice', () => {
    expect(isLinearizable([write('x', 0, Infinity), read('x', 1, 2), write('y', 3, 4), read('x', 5, 6)], undefined)).toBe(false)
  })
  test('refuses a value from nowhere', () => {
    expect(isLinearizable([write('x', 0, 1), read('z', 0, 5)], undefined)).toBe(false)
  })
  test('says what trying every order says, of thousands of small histories', () => {
    const verdicts = { fits: 0, breaks: 0 }
    for (let seed = 0; seed < 4000; seed++) {
      const history = smallHistory(seed)
      const expected = hasOrder(history, undefined)
      expect(isLinearizable(history, undefined), `seed ${seed}`).toBe(expected)
      verdicts[expected ? 'fits' : 'breaks']++
    }
    expect(Math.min(verdicts.fits, verdicts.breaks)).toBeGreaterThan(500)
  })
  test('comes to an end where thirty outcomes are unknown', () => {
    const unknown = Array.from({ length: 30 }, (_, i) => write(`u${i}`, i, Infinity))
    const known = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? write(`k${i}`, 100 + i, 101 + i) : read(`k${i - 1}`, 100 + i, 101 + i)))
    expect(isLinearizable([...unknown, ...known, read('u3', 300, 301)], undefined)).toBe(true)
    expect(isLinearizable([...unknown, ...known, read('u3', 300, 301), read('u4', 302, 303), read('u3', 304, 305)], undefined)).toBe(false)
  })
})

/** Up to seven operations that overlap, some of unknown outcome. */
function smallHistory (seed: number): ReadonlyArray<Invocation<State>> {
  const random = seededRandom(seed)
  const below = (most: number): number => Math.floor(random.fraction() * most)
  const value = (): string => ['x', 'y', 'z'][below(3)] ?? 'x'
  return Array.from({ length: 3 + below(5) }, () => {
    const startMs = below(12)
    const endMs = startMs + 1 + below(6)
    const mayBeUnknown = below(3) === 0 ? Infinity : endMs
    switch (below(5)) {
      case 0: case 1: return read(below(4) === 0 ? undefined : value(), startMs, endMs)
      case 2: return cas(below(2) === 0 ? undefined : value(), value(), startMs, mayBeUnknown)
      case 3: return { what: 'the next letter', startMs, endMs: mayBeUnknown, apply: (state) => ({ state: state === 'x' ? 'y' : state === 'y' ? 'z' : 'x' }) }
      default: return write(value(), startMs, mayBeUnknown)
    }
  })
}

/** By trying every order that real time allows, of every choice of unknown outcomes. */
function hasOrder (left: ReadonlyArray<Invocation<State>>, state: State): boolean {
  if (left.every(({ endMs }) => endMs === Infinity)) return true
  return left.some((operation) => {
    if (left.some(({ endMs }) => endMs < operation.startMs)) return false
    const after = operation.apply(state)
    return after !== 'impossible' && hasOrder(left.filter((other) => other !== operation), after.state)
  })
}
