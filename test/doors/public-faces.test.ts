import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openPublicFaces, type PublicFaces } from '../../src/api/public-faces.ts'
import { shareBaseOf } from '../../src/api/share-base.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { configOf } from '../../src/config.ts'
import type { DfsNode } from '../../src/node.ts'

const tls = { 'tls-cert': join(import.meta.dirname, '../support/tls/first.crt'), 'tls-key': join(import.meta.dirname, '../support/tls/first.key') }

const opened = (options: Record<string, unknown>, role = 'member'): Promise<PublicFaces> => openPublicFaces({
  node: { status: async () => ({ role }) } as unknown as DfsNode, ...configOf({ home: '/home/somebody', options: { 's3-listen': 'off', ...options } }), clock: systemClock, random: systemRandom, log: { info: () => {}, error: () => {} },
})

describe('public faces', () => {
  test('but for S3, are all off by default', async () => {
    await using faces = await opened({})
    expect(faces.endpoints).toEqual({})
  })

  test('stand where the settings say', async () => {
    await using faces = await opened({ 'http-listen': '127.0.0.1:0', ...tls })
    expect(faces.endpoints.http).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    await using rpc = await opened({ 'rpc-listen': '127.0.0.1:0', ...tls })
    expect(rpc.endpoints).toEqual({ rpc: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/) as string })
  })

  test.each([
    ['an address that others reach without TLS', { 'http-listen': '0.0.0.0:0' }, 'http-listen'],
    ['a certificate without its key', { 'http-listen': '127.0.0.1:0', 'tls-cert': tls['tls-cert'] }, 'tls-key'],
    ['a key without its certificate', { 'http-listen': '127.0.0.1:0', 'tls-key': tls['tls-key'] }, 'tls-cert'],
  ])('do not start with %s', async (_what, options, field) => {
    await expect(opened(options)).rejects.toMatchObject({ code: 'invalid', field })
  })

  test('a second node on one machine starts without S3, where nobody chose an address and the first has it', async () => {
    await using faces = await opened({ 's3-listen': '127.0.0.1:0' })
    const { config, origins } = configOf({ home: '/home/somebody', options: {} })
    const taken = new URL(faces.endpoints.s3 ?? '').host
    const told: string[] = []
    await using second = await openPublicFaces({
      node: { status: async () => ({ role: 'member' }) } as unknown as DfsNode, config: { ...config, s3Listen: taken }, origins, clock: systemClock, random: systemRandom,
      log: { info: () => {}, error: (fields, message) => { told.push(`${message}: ${(fields as { reason: string }).reason}`) } },
    })
    expect(second.endpoints).toEqual({})
    expect(told).toEqual([`a face is left off: ${taken} is in use by another program (another node?): give --s3-listen another port, or "off"`])
  })

  test('S3 stands where the settings say, and a port that is taken is told with what to set', async () => {
    await using faces = await opened({ 's3-listen': '127.0.0.1:0' })
    const port = new URL(faces.endpoints.s3 ?? '').port
    await expect(opened({ 's3-listen': `127.0.0.1:${port}` })).rejects.toThrow(`127.0.0.1:${port} is in use by another program (another node?): give --s3-listen another port, or "off"`)
  })

  test('an address that this machine has not is told with what to set', async () => {
    await expect(opened({ 'http-listen': '192.0.2.7:8080', ...tls })).rejects.toMatchObject({ code: 'invalid', field: 'http-listen', message: '192.0.2.7:8080 is no address of this machine: give --http-listen another' })
  })

  test('are off where there is no data key', async () => {
    await using faces = await opened({ 'http-listen': '127.0.0.1:0', 's3-listen': '127.0.0.1:0' }, 'storage')
    expect(faces.endpoints).toEqual({})
  })

  test('when told so, stand there without TLS', async () => {
    await using faces = await opened({ 'http-listen': '0.0.0.0:0', 'insecure-public': true })
    expect(faces.endpoints.http).toMatch(/^http:\/\/0\.0\.0\.0:/)
  })
})

describe('share links begin with', () => {
  const baseOf = (options: Record<string, unknown>, endpoint?: string): string | undefined => shareBaseOf(configOf({ home: '/', options }).config, endpoint)
  test.each([
    ['what the setting says', { 'http-url': 'https://files.example.org/' }, undefined, 'https://files.example.org'],
    ['the first name that is listed, and the port', { 'http-listen': '0.0.0.0:8080', 'public-hosts': '*.sites.example,files.example' }, 'https://0.0.0.0:8080', 'https://files.example:8080'],
    ['the address', { 'http-listen': '192.0.2.1:8080' }, 'http://192.0.2.1:8080', 'http://192.0.2.1:8080'],
    ['loopback, where every address is listened on and no name is known', { 'http-listen': '[::]:8080' }, 'http://[::]:8080', 'http://127.0.0.1:8080'],
    ['nothing, where the face is off', {}, undefined, undefined],
  ])('%s', (_what, options, endpoint, base) => {
    expect(baseOf(options, endpoint)).toBe(base)
  })
})
