import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedBytes } from '../../src/base/bytes.ts'
import { InvalidInput } from '../../src/base/errors.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { type Certificate, encodeCertificate, encodeToken, type EraStatement, eraOf, type InviteStatement, parseCertificate, parseStatement, parseToken, type Role, signStatement, type Statement, type StatementBody, verdictOf } from '../../src/cluster/index.ts'
import { bytesOf, zones } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import { base64url, cat, fromBase64url, same, u32, Wrong, zeros } from '../support/reference/bytes.ts'
import { chain, isValid, openCertificate } from '../support/reference/certificate.ts'
import { H } from '../support/reference/keys.ts'
import { publicKeyOf, sign } from '../support/reference/signature.ts'
import * as reference from '../support/reference/statement.ts'
import { openToken, token, type Token } from '../support/reference/token.ts'

const byOrder = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b)
const u32s = fc.integer({ min: 0, max: 0xffff_ffff })
const bodies: fc.Arbitrary<reference.Body> = fc.oneof(
  fc.constant({ kind: 'admin' } as const),
  fc.record({ kind: fc.constant('invite'), roles: fc.integer({ min: 1, max: 7 }), peer: fc.oneof(fc.constant(zeros(32)), bytesOf(32)), notAfter: fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 53n - 1n })), zone: zones }),
  fc.record({ kind: fc.constant('member'), role: fc.constantFrom(1, 2, 4), kx: bytesOf(32), serial: u32s, zone: zones }),
  fc.record({
    kind: fc.constant('era'), checkN: bytesOf(32), floor: u32s,
    checks: fc.uniqueArray(fc.tuple(u32s, bytesOf(32)), { maxLength: 5, selector: ([epoch]) => epoch }).map((checks) => checks.toSorted(([a], [b]) => a - b)),
    listed: fc.uniqueArray(fc.tuple(bytesOf(32), bytesOf(32)), { maxLength: 5, selector: (pair) => Buffer.from(cat(...pair)).toString('hex') }).map((listed) => listed.toSorted((a, b) => byOrder(cat(...a), cat(...b)))),
  }),
)
const drawn = fc.record({ seed: bytesOf(32), clusterId: bytesOf(16), era: fc.integer({ min: 1, max: 0xffff_ffff }), subject: bytesOf(32), body: bodies })
  .map((from) => from.body.kind === 'era' ? { ...from, subject: zeros(32) } : from)
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never

/** The body as src/ says it. */
function bodyHere (body: reference.Body): StatementBody {
  switch (body.kind) {
    case 'admin': return body
    case 'invite': return { kind: body.kind, roles: body.roles, zone: body.zone, peer: body.peer.every((byte) => byte === 0) ? undefined : body.peer, notAfterMs: body.notAfter === 0n ? undefined : Number(body.notAfter) }
    case 'member': return { ...body, role: body.role as Role }
    case 'era': return { ...body, checks: body.checks.map(([epoch, check]) => ({ epoch, check })), listed: body.listed.map(([subject, statementHash]) => ({ subject, statementHash })) }
  }
}
const signedHere = ({ seed, clusterId, era, subject, body }: Drawn): Statement => signStatement(signingKeyOf(seed), { clusterId, era, subject, ...bodyHere(body) })
const signedThere = ({ seed, ...rest }: Drawn): Uint8Array => reference.statement(seed, rest)

function expectNeitherReads (name: string, bytes: Uint8Array): void {
  expectRefused(name, () => parseStatement(bytes), MalformedBytes)
  expectRefused(`${name}, by the reference`, () => reference.openStatement(bytes), Wrong)
}

const seedOf = (byte: number): Uint8Array => zeros(32).fill(byte)
const keyOf = (byte: number): Uint8Array => publicKeyOf(seedOf(byte))
const clusterId = zeros(16).fill(0x22)
const examples = {
  admin: { kind: 'admin' },
  invite: { kind: 'invite', roles: 3, peer: keyOf(1), notAfter: 1234n, zone: 'Keller' },
  member: { kind: 'member', role: 2, kx: seedOf(2), serial: 3, zone: 'Dach' },
  era: { kind: 'era', checkN: seedOf(3), floor: 1, checks: [[1, seedOf(4)], [2, seedOf(5)]], listed: [[keyOf(1), seedOf(6)]] },
} as const satisfies Record<string, reference.Body>
const example = (kind: keyof typeof examples): Drawn => ({ seed: seedOf(7), clusterId, era: 5, subject: kind === 'era' ? zeros(32) : keyOf(8), body: examples[kind] })
const kinds = ['admin', 'invite', 'member', 'era'] as const

describe('statements, by two implementations', () => {
  test('are the same bytes, and each reads the other\'s', () => {
    fc.assert(fc.property(drawn, (from) => {
      const bytes = signedThere(from)
      const here = signedHere(from)
      expect(here.bytes).toEqual(bytes)
      expect(parseStatement(bytes)).toEqual({ clusterId: from.clusterId, era: from.era, issuer: publicKeyOf(from.seed), subject: from.subject, bytes, ...bodyHere(from.body) })
      const { seed, ...said } = from
      expect(reference.openStatement(here.bytes)).toEqual({ ...said, issuer: publicKeyOf(seed) })
    }), { numRuns: 50 })
  })

  test.each(kinds)('with any bit of 208 flipped are refused by both: %s', (kind) => {
    for (const { name, bytes } of flips(signedHere(example(kind)).bytes)) expectNeitherReads(name, bytes)
  })

  test.each(kinds)('cut short or grown are refused by both: %s', (kind) => {
    for (const { name, bytes } of cutsAndGrowths(signedHere(example(kind)).bytes)) expectNeitherReads(name, bytes)
  })

  test.each([
    ['of era 0', { ...example('admin'), era: 0 }],
    ['of an era about somebody', { ...example('era'), subject: keyOf(1) }],
    ['without roles', { ...example('invite'), body: { ...examples.invite, roles: 0 } }],
    ['with unknown roles', { ...example('invite'), body: { ...examples.invite, roles: 8 } }],
    ['beyond any clock', { ...example('invite'), body: { ...examples.invite, notAfter: 2n ** 53n } }],
    ['of two roles at once', { ...example('member'), body: { ...examples.member, role: 3 } }],
    ['of epochs out of order', { ...example('era'), body: { ...examples.era, checks: [[2, seedOf(4)], [1, seedOf(5)]] } }],
    ['of one epoch twice', { ...example('era'), body: { ...examples.era, checks: [[1, seedOf(4)], [1, seedOf(5)]] } }],
    ['of members out of order', { ...example('era'), body: { ...examples.era, listed: [[seedOf(6), zeros(32)], [seedOf(5), zeros(32)]] } }],
    ['of one member twice', { ...example('era'), body: { ...examples.era, listed: [[seedOf(6), zeros(32)], [seedOf(6), zeros(32)]] } }],
  ] satisfies ReadonlyArray<[string, Drawn]>)('%s are refused by both, signed though they are', (name, from) => {
    expectNeitherReads(name, signedThere(from))
  })

  test('with a body longer or shorter than its kind, a zone that is not UTF-8, another kind or version, or about nobody are refused by both, signed though they are', () => {
    const whole = signedThere(example('member'))
    const head = whole.slice(0, 86)
    const body = whole.slice(90, -64)
    const resigned = (head2: Uint8Array, body2: Uint8Array): Uint8Array => {
      const signed = cat(head2, u32(body2.length), body2)
      return cat(signed, sign(seedOf(7), cat(new TextEncoder().encode('dfs/v1/statement'), zeros(1)), signed))
    }
    expect(resigned(head, body)).toEqual(whole)
    expectNeitherReads('longer', resigned(head, cat(body, zeros(1))))
    expectNeitherReads('shorter', resigned(head, body.slice(0, -1)))
    expectNeitherReads('zone', resigned(head, cat(body.slice(0, -1), Uint8Array.of(0xff))))
    for (const kind of [0, 5, 255]) expectNeitherReads(`kind ${kind}`, resigned(Uint8Array.from([1, kind, ...head.slice(2)]), body))
    expectNeitherReads('version', resigned(Uint8Array.from([2, ...head.slice(1)]), body))
    expectNeitherReads('nobody\'s key', resigned(cat(head.slice(0, 54), zeros(28), u32(128)), body))
  })
})

describe('certificates, by two implementations', () => {
  // few keys, eras and zones, so that chains hold often, and fail each in its own place
  const [authority, admin, invited, peer, stranger] = [10, 11, 12, 13, 14] as const
  const rarely = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> => fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) })
  const ids = rarely(clusterId, zeros(16))
  const eras = rarely(5, 4)
  const seeds = (usual: number): fc.Arbitrary<number> => rarely(usual, authority, admin, invited, stranger)
  const drawnChain = fc.record({
    admin: fc.option(fc.record({ seed: seeds(authority), clusterId: ids, era: eras, subject: seeds(admin) }), { nil: undefined }),
    invite: fc.option(fc.record({ seed: seeds(admin), clusterId: ids, era: eras, subject: seeds(invited), roles: fc.constantFrom(7, 7, 3, 1), peer: fc.constantFrom(undefined, peer, stranger), zone: fc.constantFrom('', 'attic', 'attic', 'cellar') }), { nil: undefined }),
    member: fc.record({ seed: seeds(invited), clusterId: ids, era: eras, subject: seeds(peer), role: fc.constantFrom(1, 2, 4), serial: rarely(0, 1), zone: fc.constantFrom('', 'attic') }),
    bySkipping: fc.boolean(), isListed: rarely(false, true), isAdminListed: fc.boolean(), since: rarely([5], [], [4], [3, 5], [6]), row: rarely('right', 'other', 'none'),
  })
  type DrawnChain = typeof drawnChain extends fc.Arbitrary<infer T> ? T : never

  function statementsOf ({ admin: byAdmin, invite, member, bySkipping }: DrawnChain): Uint8Array[] {
    // who is left out of a chain cannot have signed what follows
    const signerOf = (seed: number, usual: number, ...before: Array<{ subject: number } | undefined>): Uint8Array =>
      seedOf(bySkipping || seed !== usual ? seed : before.find((link) => link !== undefined)?.subject ?? authority)
    const of = (seed: Uint8Array, { clusterId: id, era, subject }: { clusterId: Uint8Array, era: number, subject: number }, body: reference.Body): Uint8Array => reference.statement(seed, { clusterId: id, era, subject: keyOf(subject), body })
    return [
      ...byAdmin === undefined ? [] : [of(seedOf(byAdmin.seed), byAdmin, { kind: 'admin' })],
      ...invite === undefined ? [] : [of(signerOf(invite.seed, admin, byAdmin), invite, { kind: 'invite', roles: invite.roles, peer: invite.peer === undefined ? zeros(32) : keyOf(invite.peer), notAfter: 0n, zone: invite.zone })],
      of(signerOf(member.seed, invited, invite, byAdmin), member, { kind: 'member', role: member.role, kx: seedOf(1), serial: member.serial, zone: member.zone }),
    ]
  }

  test('are valid to both or to neither, and the same bytes', () => {
    const verdicts = { true: 0, false: 0 }
    fc.assert(fc.property(drawnChain, (from) => {
      const statements = statementsOf(from)
      const bytes = chain(statements)
      const certificate: Certificate = parseCertificate(bytes)
      expect(encodeCertificate(certificate)).toEqual(bytes)
      const memberHash = H(statements.at(-1) ?? zeros(0))
      const first = statements[0] ?? zeros(0)
      const listed = [
        ...from.isListed ? [[certificate.member.subject, memberHash] as const] : [],
        ...from.isAdminListed && certificate.admin !== undefined ? [[certificate.admin.subject, H(first)] as const] : [],
        ...from.since.map((number) => [cat(zeros(28), u32(number)), seedOf(9)] as const),
      ].toSorted((a, b) => byOrder(cat(...a), cat(...b)))
      const row = from.row === 'none' ? undefined : from.row === 'right' ? memberHash : zeros(32)
      const era = eraOf([parseStatement(reference.statement(seedOf(authority), { clusterId, era: 5, subject: zeros(32), body: { ...examples.era, listed } })) as EraStatement])
      const here = verdictOf(certificate, { clusterId, authority: keyOf(authority), era, memberRowHash: row }).isValid
      expect(here).toBe(isValid(openCertificate(bytes), { clusterId, authority: keyOf(authority), era: { number: 5, listed }, row }))
      verdicts[`${here}`]++
    }), { numRuns: 100 })
    expect(Math.min(verdicts.true, verdicts.false)).toBeGreaterThan(2)
  })

  test('of other kinds or in another order, cut short or grown are refused by both', () => {
    const of = (kind: keyof typeof examples): Uint8Array => signedThere(example(kind))
    for (const order of [[], ['admin'], ['invite'], ['era'], ['member', 'member'], ['invite', 'admin', 'member'], ['admin', 'admin', 'member'], ['era', 'member'], ['admin', 'invite', 'member', 'member']] as const) {
      const bytes = chain(order.map(of))
      expectRefused(order.join(' '), () => parseCertificate(bytes), MalformedBytes)
      expectRefused(order.join(' '), () => openCertificate(bytes), Wrong)
    }
    for (const { name, bytes } of cutsAndGrowths(chain([of('admin'), of('invite'), of('member')]))) {
      expectRefused(name, () => parseCertificate(bytes), MalformedBytes)
      expectRefused(name, () => openCertificate(bytes), Wrong)
    }
  })
})

describe('tokens, by two implementations', () => {
  const inviteOf = (by: number, subject: Uint8Array, id = clusterId): Uint8Array => reference.statement(seedOf(by), { clusterId: id, era: 5, subject, body: examples.invite })
  const adminOf = (id = clusterId): Uint8Array => reference.statement(seedOf(10), { clusterId: id, era: 5, subject: keyOf(11), body: { kind: 'admin' } })
  const tokens: fc.Arbitrary<Token> = fc.record({ seed: bytesOf(32), byAdmin: fc.boolean(), addresses: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }) }).map(({ seed, byAdmin, addresses }) => ({
    clusterId, authority: keyOf(10), seed, addresses, statements: byAdmin ? [adminOf(), inviteOf(11, publicKeyOf(seed))] : [inviteOf(10, publicKeyOf(seed))],
  }))
  const tokenExample: Token = { clusterId, authority: keyOf(10), seed: seedOf(12), statements: [inviteOf(10, keyOf(12))], addresses: [zeros(44)] }
  const spelled = token(tokenExample)
  const bytes = fromBase64url(spelled.slice(5))
  const checked = (body: Uint8Array): string => `dfs1-${base64url(cat(body, H(body).slice(0, 4)))}`

  function expectNeitherTakes (name: string, text: string): void {
    expectRefused(name, () => parseToken(text), InvalidInput)
    expectRefused(`${name}, by the reference`, () => openToken(text), Wrong)
  }

  test('are the same text, and each reads the other\'s', () => {
    fc.assert(fc.property(tokens, (from) => {
      const text = token(from)
      const { admin, invite, ...rest } = parseToken(text)
      expect({ ...rest, statements: [admin, invite].filter((one) => one !== undefined).map((one) => one.bytes) }).toEqual(from)
      const statements = from.statements.map(parseStatement)
      expect(encodeToken({ ...rest, admin: statements.length === 2 ? statements[0] as Certificate['admin'] : undefined, invite: statements.at(-1) as InviteStatement })).toBe(text)
      expect(openToken(text)).toEqual(from)
    }), { numRuns: 25 })
  })

  test('with any one bit flipped are refused by both', () => {
    for (const { name, bytes: flipped } of flips(bytes, { most: Infinity })) expectRefused(name, () => parseToken(`dfs1-${base64url(flipped)}`), InvalidInput)
    for (const { name, bytes: flipped } of flips(bytes)) expectNeitherTakes(name, `dfs1-${base64url(flipped)}`)
  })

  test('with a bit flipped and the check made to fit are refused by both, but in authority and addresses', () => {
    const free = (bit: number): boolean => (bit >= 17 * 8 && bit < 49 * 8) || bit >= (bytes.length - 4 - 44) * 8
    for (const { name, bytes: flipped, bit } of flips(bytes.slice(0, -4))) if (!free(bit)) expectNeitherTakes(name, checked(flipped))
  })

  test('cut short or grown, checked rightly or not, are refused by both', () => {
    for (const { name, bytes: damaged } of cutsAndGrowths(bytes)) expectNeitherTakes(name, `dfs1-${base64url(damaged)}`)
    for (const { name, bytes: damaged } of cutsAndGrowths(bytes.slice(0, -4))) expectNeitherTakes(name, checked(damaged))
    for (const more of ['=', 'A', '.']) expectNeitherTakes(more, spelled + more)
  })

  test.each<[string, Partial<Token>]>([
    ['whose seed is not the one invited', { seed: seedOf(13) }],
    ['whose invite is of another cluster', { statements: [inviteOf(10, keyOf(12), zeros(16))] }],
    ['whose admin is of another cluster', { statements: [adminOf(zeros(16)), inviteOf(11, keyOf(12))] }],
    ['without an invite', { statements: [adminOf()] }],
    ['without statements', { statements: [] }],
    ['with two invites', { statements: [inviteOf(10, keyOf(12)), inviteOf(10, keyOf(12))] }],
    ['with a member statement', { statements: [signedThere(example('member'))] }],
    ['of 17 addresses', { addresses: Array.from({ length: 17 }, () => zeros(3)) }],
  ])('%s are refused by both', (name, change) => {
    expectNeitherTakes(name, token({ ...tokenExample, ...change }))
  })

  test('are told apart from other text', () => {
    expect(same(openToken(` ${spelled}\n`).seed, parseToken(` ${spelled}\n`).seed)).toBe(true)
    for (const text of ['', 'dfs1-', 'dfs2-' + spelled.slice(5), spelled.slice(5), `dfs1-${'A'.repeat(9000)}`]) expectNeitherTakes(text.slice(0, 20), text)
  })
})
