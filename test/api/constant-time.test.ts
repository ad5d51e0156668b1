import * as crypto from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { keyGate } from '../../src/api/key-gate.ts'
import { authenticate } from '../../src/api/s3/sigv4.ts'
import { systemClock } from '../../src/base/clock.ts'
import { type AccessKeys, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'

vi.mock('node:crypto', async (original) => {
  const actual = await original<typeof crypto>()
  return { ...actual, createHmac: vi.fn<typeof actual.createHmac>(actual.createHmac), timingSafeEqual: vi.fn<typeof actual.timingSafeEqual>(actual.timingSafeEqual) }
})

const known = { id: 'DFS00000000000000001', secret: 'the secret of the key that there is' }
const [nowMs, date] = [Date.UTC(2026, 0, 2), '20260102']

/** How often it takes an HMAC, and compares in constant time. */
async function workOf (act: () => Promise<unknown>): Promise<{ readonly hmacs: number, readonly comparisons: number }> {
  vi.clearAllMocks()
  await act()
  return { hmacs: vi.mocked(crypto.createHmac).mock.calls.length, comparisons: vi.mocked(crypto.timingSafeEqual).mock.calls.length }
}

test.each<[string, (id: string, shown: string) => Promise<unknown>]>([
  ['a signature', async (id, shown) => authenticate({
    method: 'GET', path: '/photos', query: '',
    rawHeaders: ['host', 'localhost', 'x-amz-date', `${date}T000000Z`, 'x-amz-content-sha256', 'UNSIGNED-PAYLOAD', 'authorization', `AWS4-HMAC-SHA256 Credential=${id}/${date}/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=${shown}`],
  }, { secretOf: async (of) => of === known.id ? known.secret : undefined, nowMs, region: undefined }).catch((error: unknown) => error)],
  ['a secret', async (id, shown) => keyGate({
    keys: { find: async (of) => of === known.id ? { ...known, name: 'k', rights: [], notAfterMs: undefined } as unknown as Awaited<ReturnType<AccessKeys['find']>> : undefined }, objects: objectStore(objectWorld().parts), clock: systemClock,
  }).prove({ id, secret: shown }, { signal: new AbortController().signal })],
])('%s of a key that there is not takes the same work as a wrong one of a key that there is', async (_what, show) => {
  const wrong = await workOf(async () => show(known.id, 'ab'.repeat(32)))
  expect(wrong.comparisons).toBeGreaterThan(0)
  expect(await workOf(async () => show('DFS00000000000000002', 'ab'.repeat(32)))).toEqual(wrong)
  expect(await workOf(async () => show(known.id, 'no hexadecimal'))).toEqual(wrong)
})
