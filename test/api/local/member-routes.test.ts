import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keyNamed, peerNamed } from '../../support/cluster-identities.ts'
import { type ServedApi, servedApi } from '../../support/local-api.ts'
import type { DfsNode } from '../../../src/node.ts'

const [peer, other] = [peerNamed('bob'), peerNamed('carol')]
const done: unknown[] = []
const changes = {
  plan: async (change: unknown) => { done.push(['plan', change]); return { isPossible: true } },
  set: async (...of: unknown[]) => { done.push(['set', ...of.slice(0, 2), (of[2] as { isForced: boolean }).isForced]) },
  replace: async (...of: unknown[]) => { done.push(['replace', ...of.slice(0, 2)]); return { state: 'moving', why: 'it answers' } },
  inviteFor: async (...of: unknown[]) => { done.push(['invite', of[0], (of[1] as { zone?: string }).zone]); return 'dfs1-token' },
  heir: async () => undefined,
  progress: async () => ({ isDone: true }),
} as unknown as DfsNode['changes']
let served: ServedApi
beforeAll(async () => { served = await servedApi({ changes, removeMember: async () => ({ era: 2, epoch: 2 }), rotateKeys: async () => ({ era: 3, epoch: 4 }) }) })
afterAll(async () => { await served[Symbol.asyncDispose]() })

async function ask (method: string, path: string, body?: object): Promise<{ answer: unknown, done: unknown[] }> {
  done.length = 0
  return { answer: await served.client.json(method, path, body === undefined ? {} : { body }), done: [...done] }
}

describe('members at the local API', () => {
  test('have zone, capacity and draining set', async () => {
    expect(await ask('PATCH', `/v1/members/${peer}`, { zone: 'cellar', capacityBytes: 5 })).toEqual({ answer: { peer, zone: 'cellar', capacityBytes: 5 }, done: [['set', peer, { isDraining: undefined, zone: 'cellar', capacityBytes: 5 }, false]] })
    expect(await ask('PATCH', `/v1/members/${peer}`, { draining: true, force: true })).toEqual({ answer: { peer, draining: true }, done: [['set', peer, { isDraining: true, zone: undefined, capacityBytes: undefined }, true]] })
  })
  test('have the keys of the cluster changed', async () => {
    expect((await ask('POST', '/v1/cluster/rotate-keys')).answer).toEqual({ era: 3, epoch: 4 })
    await expect(ask('GET', '/v1/cluster/rotate-keys')).rejects.toMatchObject({ status: 405 })
    await expect(ask('POST', '/v1/cluster/rotate-keys/now')).rejects.toMatchObject({ status: 404 })
  })
  test('are not touched by a dry run', async () => {
    expect((await ask('PATCH', `/v1/members/${peer}?dry-run=true`, { capacityBytes: 0 })).done).toEqual([['plan', { kind: 'set', peer, settings: { isDraining: undefined, zone: undefined, capacityBytes: 0 } }]])
    expect((await ask('DELETE', `/v1/members/${peer}?dry-run=true`)).done).toEqual([['plan', { kind: 'remove', peer }]])
    expect((await ask('POST', `/v1/members/${peer}/replacement?dry-run=true`, {})).done).toEqual([['plan', { kind: 'replace', peer, by: undefined }]])
    expect((await ask('POST', '/v1/changes', { zone: 'cellar', capacityBytes: 7 })).done).toEqual([['plan', { kind: 'join', role: 'member', zone: 'cellar', capacityBytes: 7 }]])
  })
  test('are replaced step by step, by one that is there or that is invited', async () => {
    expect(await ask('POST', `/v1/members/${peer}/replacement`, { by: other })).toEqual({ answer: { state: 'moving', why: 'it answers' }, done: [['replace', peer, other]] })
    expect(await ask('POST', `/v1/members/${peer}/heir`, {})).toEqual({ answer: { token: 'dfs1-token' }, done: [['invite', peer, undefined]] })
    expect((await ask('GET', `/v1/members/${peer}/heir`)).answer).toEqual({ heir: null })
    expect((await ask('GET', '/v1/changes')).answer).toEqual({ isDone: true })
  })
  test.each([
    ['PATCH', `/v1/members/${peer}`, {}, 400], ['PATCH', `/v1/members/${peer}`, { capacity: 5 }, 400], ['PATCH', `/v1/members/${peer}`, { zone: 5 }, 400], ['PATCH', `/v1/members/${peer}`, { capacityBytes: '5' }, 400],
    ['PATCH', `/v1/members/${peer}?dry-run=perhaps`, { draining: true }, 400], ['PATCH', `/v1/members/${Buffer.from(keyNamed('bob').publicKey).toString('hex')}`, { draining: true }, 400],
    ['POST', `/v1/members/${peer}/replacement`, {}, 400], ['POST', `/v1/members/${peer}/replacement`, { by: 'nobody' }, 400], ['POST', '/v1/changes', { zone: 'cellar' }, 400], ['POST', '/v1/changes', { role: 'king', capacityBytes: 5 }, 400],
    ['GET', `/v1/members/${peer}/else`, undefined, 404], ['GET', `/v1/members/${peer}`, undefined, 405], ['DELETE', '/v1/changes', undefined, 405],
  ] as const)('refuse %s %s %o with %i', async (method, path, body, status) => {
    await expect(ask(method, path, body)).rejects.toMatchObject({ status })
    expect(done).toEqual([])
  })
})
