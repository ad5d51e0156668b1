import { describe, expect, test } from 'vitest'
import { type Invocation, isLinearizable } from './linearizable.ts'

type State = string | undefined
const write = (value: string, startMs: number, endMs: number): Invocation<State> => ({ what: `write ${value}`, startMs, endMs, apply: () => ({ state: value }) })
const read = (value: State, startMs: number, endMs: number): Invocation<State> => ({ what: `read ${value}`, startMs, endMs, apply: (state) => (state === value ? { state } : 'impossible') })
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
})
