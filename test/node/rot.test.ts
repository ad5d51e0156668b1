import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { type RottingDisk, rotten, rottingDisk, type RotOutcome } from '../support/rot.ts'
import { tried } from '../support/tried.ts'

/** FLIPS: bits flipped in each kind of file (`npm run prove`: more). */
const count = Number(process.env.FLIPS ?? 2)
const seed = Number(process.env.ROT_SEED ?? 8)
let disk: RottingDisk
beforeAll(async () => { disk = await rottingDisk() }, 60_000)
afterAll(async () => { await disk?.[Symbol.asyncDispose]() })

describe(`a bit flipped on a node's disk, ${count} times in each place (ROT_SEED=${seed})`, () => {
  for (const [what, pattern] of Object.entries(rotten)) test(`in ${what} is found, gives no wrong byte, loses nothing that is not looked for, and leaves evidence`, async ({ task }) => {
    const random = seededRandom(seed)
    const outcomes: RotOutcome[] = []
    for (let i = 0; i < count; i++) outcomes.push(await disk.rot(pattern, random))
    const told = ({ where, wrong, forgotten }: RotOutcome): string => `${where}: wrong ${wrong.join()}, forgotten ${forgotten.join()}`
    tried(task, { what: `bits flipped in ${what}`, times: outcomes.filter(({ isFound }) => isFound).length, lost: outcomes.filter(({ wrong, forgotten, isFound }) => !isFound || wrong.length + forgotten.length > 0).length })
    expect(outcomes.filter(({ wrong, forgotten }) => wrong.length + forgotten.length > 0).map(told)).toEqual([])
    expect(outcomes.filter(({ isFound }) => !isFound).map(told)).toEqual([])
    expect(outcomes.filter(({ hasEvidence }) => !hasEvidence).map(told)).toEqual([])
  }, 60_000 + count * 10_000)
})
