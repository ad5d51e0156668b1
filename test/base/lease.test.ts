import { describe, expect, it } from 'vitest'
import { free, giveBack, hold, lend } from '../../src/base/lease.ts'

const bytes = (length = 100_000): Uint8Array => new Uint8Array(length).fill(7)

describe('memory that was lent', () => {
  it('is gone when whoever holds it has given it back', () => {
    const lent = lend(bytes())
    giveBack(lent)
    expect(lent.byteLength).toBe(0)
  })

  it('is there until the last who holds it has given it back', () => {
    const lent = lend(bytes().subarray(1))
    hold(lent)
    hold(lent)
    giveBack(lent)
    giveBack(lent)
    expect(lent).toEqual(bytes(99_999))
    giveBack(lent)
    expect(lent.byteLength).toBe(0)
  })

  it('may be given back twice, and what was never lent stays', () => {
    const [lent, own] = [lend(bytes()), bytes()]
    giveBack(lent)
    giveBack(lent)
    hold(own)
    giveBack(own)
    giveBack(own)
    expect(own.byteLength).toBe(100_000)
  })

  it('is never part of a pool', () => {
    const pool = bytes(1_000_000)
    const lent = lend(pool.subarray(0, 100_000))
    giveBack(lent)
    expect(pool.byteLength).toBe(1_000_000)
  })
})

describe('memory that nobody else has seen', () => {
  it('is freed, unless it is part of a pool', () => {
    const [own, pooled] = [bytes(), Buffer.from('a short one')]
    free(own)
    free(pooled)
    expect(own.byteLength).toBe(0)
    expect(pooled.toString()).toBe('a short one')
  })
})
