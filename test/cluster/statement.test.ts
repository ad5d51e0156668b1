import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, MalformedBytes } from '../../src/base/bytes.ts'
import { InvalidInput } from '../../src/base/errors.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { encodeToken, parseStatement, parseToken, roles, signStatement } from '../../src/cluster/index.ts'
import { keyNamed, paperCluster, seedNamed } from '../support/cluster-identities.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/format-vectors.json', import.meta.url), 'utf8')) as { invite: string, member: string, tokenChars: number }
const cluster = paperCluster()
const examples = [
  cluster.admin('admin'), cluster.invite('invite', { peer: keyNamed('bob').publicKey, notAfterMs: 1234, zone: 'cellar' }), cluster.member('bob', { zone: 'attic', serial: 3 }),
  cluster.era(2, [cluster.admin('admin'), cluster.member('bob')]).statements[0],
].filter((statement) => statement !== undefined)

describe('statements', () => {
  test('the invite vector parses to what it says and is spelled again byte for byte', () => {
    const statement = parseStatement(fromHex(vectors.invite))
    expect(statement).toMatchObject({ kind: 'invite', era: 1, clusterId: new Uint8Array(16).fill(0x22), roles: roles.member, peer: undefined, notAfterMs: undefined, zone: '' })
    expect(hexOf(statement.bytes)).toBe(vectors.invite)
  })

  test('the member vector is signed by the invite of the other vector and has its role, kx and serial', () => {
    const [invite, member] = [parseStatement(fromHex(vectors.invite)), parseStatement(fromHex(vectors.member))]
    expect(member).toMatchObject({ kind: 'member', role: roles.member, serial: 0, issuer: invite.subject })
    expect(member.kind === 'member' && hexOf(member.kx)).toMatch(/^d6a2527c018dfce0/)
  })

  test('what is signed here has the fields in the order of the vectors', () => {
    const invite = parseStatement(fromHex(vectors.invite))
    const seeds = Array.from({ length: 256 }, (_, byte) => new Uint8Array(32).fill(byte))
    const issuer = seeds.map(signingKeyOf).find(({ publicKey }) => hexOf(publicKey) === hexOf(invite.issuer))
    expect(issuer, 'the vectors use seeds of one repeated byte').toBeDefined()
    if (issuer === undefined || invite.kind !== 'invite') return
    expect(hexOf(signStatement(issuer, invite).bytes)).toBe(vectors.invite)
  })

  test.each(examples)('a $kind statement with any one bit flipped is refused', ({ bytes }) => {
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(() => parseStatement(flipped), `bit ${bit}`).toThrow(MalformedBytes)
    }
  })

  test.each(examples)('a $kind statement cut short or with bytes after it is refused', ({ bytes }) => {
    for (let length = 0; length < bytes.byteLength; length++) expect(() => parseStatement(bytes.subarray(0, length))).toThrow(MalformedBytes)
    expect(() => parseStatement(new Uint8Array([...bytes, 0]))).toThrow(MalformedBytes)
  })

  test('no roles, unknown roles, two roles in a member statement and era 0 cannot be said', () => {
    expect(() => cluster.invite('x', { roles: 0 })).toThrow(MalformedBytes)
    expect(() => cluster.invite('x', { roles: 8 })).toThrow(MalformedBytes)
    expect(() => cluster.member('x', { role: 3 as 2 })).toThrow(MalformedBytes)
    expect(() => cluster.member('x', { era: 0 })).toThrow(MalformedBytes)
  })

  test('random bytes are refused with a typed error, whatever they are', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => { expect(() => parseStatement(bytes)).toThrow(MalformedBytes) }))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(1, 2, 3, 4), (tail, kind) => {
      expect(() => parseStatement(new Uint8Array([1, kind, ...tail]))).toThrow(MalformedBytes)
    }))
  })
})

describe('invite tokens', () => {
  const address = new Uint8Array(44).fill(7)

  test('a token parses to what was put in, and blanks around it do not matter', () => {
    const token = cluster.token('invite', { zone: 'cellar', addresses: [address, address.slice(0, 9)] })
    expect(parseToken(` ${encodeToken(token)}\n`)).toEqual(token)
  })

  test('a token with an admin in its chain keeps it', () => {
    const token = { ...cluster.token('invite', { by: keyNamed('admin') }), admin: cluster.admin('admin') }
    expect(parseToken(encodeToken(token))).toEqual(token)
  })

  test('one invite and one address of 44 bytes are as long as the vector', () => {
    expect(encodeToken(cluster.token('invite', { addresses: [address] }))).toHaveLength(vectors.tokenChars)
  })

  test('a token with any character changed is refused', () => {
    const text = encodeToken(cluster.token('invite', { addresses: [address] }))
    for (let at = 0; at < text.length; at++) {
      const changed = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
      expect(() => parseToken(changed)).toThrow(InvalidInput)
    }
    expect(() => parseToken(text.slice(0, -1))).toThrow(InvalidInput)
  })

  test('a token whose seed is not the one invited, or of another cluster, is refused', () => {
    const token = cluster.token('invite')
    expect(() => parseToken(encodeToken({ ...token, seed: seedNamed('other') }))).toThrow(/not the one invited/)
    expect(() => parseToken(encodeToken({ ...token, clusterId: paperCluster('other').clusterId }))).toThrow(/another cluster/)
  })

  test('random text is refused with a typed error', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => { expect(() => parseToken(`dfs1-${text}`)).toThrow(InvalidInput) }))
    expect(() => parseToken('')).toThrow(InvalidInput)
    expect(() => parseToken(`dfs1-${'A'.repeat(10_000)}`)).toThrow(/too long/)
  })
})
