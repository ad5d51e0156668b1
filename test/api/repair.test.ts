import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Refused } from '../../src/base/errors.ts'
import type { RepairReport, ScrubReport } from '../../src/node.ts'
import { type ServedApi, servedApi } from '../support/local-api.ts'

let served: ServedApi
const done: string[] = []
const act = (action: string) => (): RepairReport => { done.push(action); return { phase: action } as RepairReport }
beforeAll(async () => {
  served = await servedApi({ repair: { status: act('status'), now () { throw new Refused('repair is paused; resume it first') }, pause: act('pause'), resume: act('resume') } })
})
afterAll(async () => { await served[Symbol.asyncDispose]() })

describe('/v1/repair', () => {
  test('tells how it is, pauses and resumes, and passes on a refusal', async () => {
    const { client } = served
    expect(await client.json('GET', '/v1/repair')).toEqual({ phase: 'status' })
    expect(await client.json('POST', '/v1/repair', { body: { action: 'pause' } })).toEqual({ phase: 'pause' })
    expect(await client.json('POST', '/v1/repair', { body: { action: 'resume' } })).toEqual({ phase: 'resume' })
    await expect(client.json('POST', '/v1/repair', { body: { action: 'now' } })).rejects.toMatchObject({ status: 403, code: 'refused' })
    expect(done).toEqual(['status', 'pause', 'resume'])
  })

  test('and scrub goes the same way', async () => {
    const report = (phase: string) => (): ScrubReport => ({ phase }) as ScrubReport
    await using other = await servedApi({ scrub: { status: report('status'), now: report('now'), pause: report('pause'), resume: report('resume') } })
    expect(await other.client.json('GET', '/v1/scrub')).toEqual({ phase: 'status' })
    expect(await other.client.json('POST', '/v1/scrub', { body: { action: 'now' } })).toEqual({ phase: 'now' })
    await expect(other.client.json('POST', '/v1/scrub', { body: {} })).rejects.toMatchObject({ status: 400, field: 'action' })
  })

  test.each([[{}], [{ action: 'status' }], [{ action: 'constructor' }], [{ action: 'now', also: 1 }]])('refuses %j, and takes no other method', async (body) => {
    await expect(served.client.json('POST', '/v1/repair', { body })).rejects.toMatchObject({ status: 400, code: 'invalid', field: 'action' })
    await expect(served.client.json('DELETE', '/v1/repair')).rejects.toMatchObject({ status: 405 })
  })
})
