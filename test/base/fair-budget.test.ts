import { describe, expect, test } from 'vitest'
import { FairBudget } from '../../src/base/fair-budget.ts'

const never = new AbortController().signal
const settled = async (): Promise<void> => { for (let i = 0; i < 10; i++) await Promise.resolve() }
/** As many as it is given at once. */
function taken (room: FairBudget, amount: number, by: string | undefined): Disposable[] {
  const claims: Disposable[] = []
  for (let claim = room.take(amount, by); claim !== undefined; claim = room.take(amount, by)) claims.push(claim)
  return claims
}

describe('a budget of which nobody can take all', () => {
  test('gives one alone three quarters, and who comes then a share of what is left', () => {
    const room = new FairBudget(100)
    expect(taken(room, 1, 'a')).toHaveLength(75)
    expect(taken(room, 1, 'b')).toHaveLength(18)
    expect(taken(room, 1, 'c').length).toBeGreaterThan(3)
    expect(room.take(1, 'a')).toBeUndefined()
  })

  test('gives those that come together equal shares, and room for one more', () => {
    const room = new FairBudget(1000)
    const held = new Map(['a', 'b', 'c'].map((by) => [by, 0]))
    for (let round = 0; round < 1000; round++) for (const by of held.keys()) if (room.take(1, by) !== undefined) held.set(by, (held.get(by) ?? 0) + 1)
    expect([...held.values()]).toEqual([300, 300, 300])
    expect(room.take(100, 'd')).toBeDefined()
  })

  test('gives somebody who has nothing whatever fits, and one who shows no name all of it', () => {
    const room = new FairBudget(100)
    expect(taken(room, 10, undefined)).toHaveLength(10)
    const other = new FairBudget(100)
    taken(other, 1, 'a')
    expect(other.take(25, 'b')).toBeDefined()
    expect(new FairBudget(10).take(1000, 'a')).toBeDefined()
  })

  test('lets nobody wait behind those that wait for their own share, who have it when enough is given back', async () => {
    const room = new FairBudget(100)
    const claims = taken(room, 5, 'a')
    let isGranted = false
    void room.claim(5, { by: 'a', signal: never }).then(() => { isGranted = true })
    await settled()
    expect([isGranted, room.take(5, 'b') !== undefined]).toEqual([false, true])
    claims[0]?.[Symbol.dispose]()
    await settled()
    expect(isGranted).toBe(false)
    claims[1]?.[Symbol.dispose]()
    await settled()
    expect(isGranted).toBe(true)
  })

  test('is first come, first served: a large claim is not passed by small ones, nor once it has given up', async () => {
    const room = new FairBudget(100)
    const all = room.take(90, undefined)
    const order: string[] = []
    const gone = new AbortController()
    const claims = [['large', 50], ['small', 5]].map(async ([name, amount]) => room.claim(amount as number, { by: name as string, signal: name === 'large' ? gone.signal : never }).then((claim) => { order.push(name as string); return claim }))
    await settled()
    expect([order, room.take(1, 'other')]).toEqual([[], undefined])
    gone.abort(new Error('gone'))
    await expect(claims[0]).rejects.toThrow('gone')
    await settled()
    expect(order).toEqual(['small'])
    all?.[Symbol.dispose]()
    expect(room.used).toBe(5)
  })
})
