import { describe, expect, test } from 'vitest'
import { MalformedBytes } from '../../src/base/bytes.ts'
import { Refused } from '../../src/base/errors.ts'
import { adminsOf, type AdminStatement, type Certificate, encodeCertificate, encodeEra, type Era, eraAfter, eraOf, hashOfStatement, invitesSince, inviteVerdict, isEraByRight, mayFollow, type MemberStatement, mergedEra, parseCertificate, parseEra, roles, type Trust, verdictOf } from '../../src/cluster/index.ts'
import { certificateOf, keyNamed, paperCluster, seedNamed } from '../support/cluster-identities.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')
const eraOne = cluster.era(1, [founder])
const invited = (options: Parameters<typeof cluster.invite>[1] = {}, member: Parameters<typeof cluster.member>[1] = {}): Certificate =>
  certificateOf(cluster.member('bob', { by: keyNamed('invite'), ...member }), { invite: cluster.invite('invite', options) })
const verdict = (certificate: Certificate, { era = eraOne, memberRowHash = hashOfStatement(certificate.member) }: { era?: Era, memberRowHash?: Trust['memberRowHash'] } = {}): string => {
  const found = verdictOf(certificate, { clusterId: cluster.clusterId, authority: cluster.authority, era, memberRowHash })
  return found.isValid ? 'valid' : found.why
}

describe('certificates', () => {
  test('a member that the era lists is valid, in later eras too', () => {
    expect(verdict(certificateOf(founder), { memberRowHash: undefined })).toBe('valid')
    expect(verdict(certificateOf(founder), { era: cluster.era(9, [founder]) })).toBe('valid')
  })

  test('a chain of the current era is valid when the members row agrees, and only then', () => {
    expect(verdict(invited())).toBe('valid')
    expect(verdictOf(invited(), { clusterId: cluster.clusterId, authority: cluster.authority, era: eraOne, memberRowHash: undefined }).isValid).toBe(false)
    expect(verdict(invited(), { memberRowHash: new Uint8Array(32) })).toMatch(/does not agree/)
  })

  test('a chain by an admin is valid', () => {
    const admin = cluster.admin('admin')
    const chains = [certificateOf(cluster.member('bob', { by: keyNamed('admin') }), { admin }), certificateOf(cluster.member('bob', { by: keyNamed('invite') }), { admin, invite: cluster.invite('invite', { by: keyNamed('admin') }) })]
    expect(chains.map((chain) => verdict(chain, { era: cluster.era(1, [founder, admin]) }))).toEqual(['valid', 'valid'])
    // another era of this number was chosen than the one that was to make it an admin
    for (const chain of chains) expect(verdict(chain)).toMatch(/nor listed/)
  })

  test('an era without the member, after the one of its chain, has removed it', () => {
    expect(verdict(invited(), { era: cluster.era(2, [founder]) })).toMatch(/nor listed/)
  })

  test('a chain for an era that has not come is not valid', () => {
    expect(verdict(invited({ era: 2 }, { era: 2 }))).toMatch(/nor listed/)
  })

  test('the same words of another cluster are not valid', () => {
    const other = paperCluster('other')
    expect(verdict(certificateOf(other.member('founder')))).toMatch(/another cluster/)
  })

  test('an authority that is not ours makes no members', () => {
    expect(verdict(certificateOf(cluster.member('bob', { by: keyNamed('mallory') })))).toMatch(/nobody/)
    expect(verdict(invited({ by: keyNamed('mallory') }))).toMatch(/nobody/)
    const admin = cluster.admin('admin', { by: keyNamed('mallory') })
    expect(verdict(certificateOf(cluster.member('bob', { by: keyNamed('admin') }), { admin }), { era: cluster.era(1, [founder, admin]) })).toMatch(/authority/)
  })

  test('an invite allows its roles, its peer, its zone, and no serial', () => {
    expect(verdict(invited({ roles: roles.storage }))).toMatch(/role/)
    expect(verdict(invited({ peer: keyNamed('eve').publicKey }))).toMatch(/another peer/)
    expect(verdict(invited({ zone: 'cellar' }, { zone: 'attic' }))).toMatch(/zone/)
    expect(verdict(invited({}, { serial: 1 }))).toMatch(/serial/)
    expect(verdict(invited({}, { by: keyNamed('mallory') }))).toMatch(/nobody/)
    expect(verdict(invited({ peer: keyNamed('bob').publicKey, zone: 'cellar', roles: roles.member }, { zone: 'cellar' }))).toBe('valid')
  })

  test('a member statement is of the era of its invite', () => {
    const two = eraAfter(eraOne, { signer: keyNamed('cluster authority'), listed: [founder], keepsInvites: true })
    expect([verdict(invited({}, { era: 2 }), { era: two }), verdict(invited({ era: 2 }), { era: two })]).toEqual([expect.stringMatching(/era of its invite/), expect.stringMatching(/era of its invite/)])
  })

  describe('by an invite of an earlier era', () => {
    const signer = keyNamed('cluster authority')
    const after = (era: Era, keepsInvites: boolean, listed: ReadonlyArray<MemberStatement | AdminStatement> = [founder]): Era => eraAfter(era, { signer, listed, keepsInvites })
    const inviteIn = (era: Era, options: Parameters<typeof cluster.invite>[1] & { admin?: AdminStatement } = {}): string => {
      const found = inviteVerdict({ admin: options.admin, invite: cluster.invite('invite', options) }, { clusterId: cluster.clusterId, authority: cluster.authority, era })
      return found.isValid ? 'valid' : found.why
    }

    test('are valid after eras that put nobody out, any number of them, and never again after one that does', () => {
      const two = after(eraOne, true)
      const three = after(two, true)
      const four = after(three, false)
      const five = after(four, true)
      expect([eraOne, two, three, four, five].map(invitesSince)).toEqual([1, 1, 1, 4, 4])
      for (const era of [two, three, parseEra(encodeEra(three))]) {
        expect([verdict(invited(), { era }), inviteIn(era)]).toEqual(['valid', 'valid'])
        expect(verdict(invited(), { era, memberRowHash: new Uint8Array(32) })).toMatch(/does not agree/)
        expect(verdict(invited({ by: keyNamed('mallory') }), { era })).toMatch(/nobody/)
      }
      for (const era of [four, five]) expect([verdict(invited(), { era }), inviteIn(era)], `era ${era.number}`).toEqual([expect.stringMatching(/nor listed/), expect.stringMatching(/before era 4/)])
      expect([inviteIn(five, { era: 4 }), verdict(invited({ era: 4 }, { era: 4 }), { era: five })]).toEqual(['valid', 'valid'])
      expect(inviteIn(five, { era: 3 })).toMatch(/ask for a new one/)
      expect(inviteIn(five, { era: 6 })).toMatch(/of era 6/)
    })

    test('by an admin are valid for as long as it is one, and not when it is made one again', () => {
      const [admin, again] = [cluster.admin('admin'), cluster.admin('admin', { era: 4 })]
      const made = { by: keyNamed('admin'), admin }
      const one = eraOf([...cluster.era(1, [founder, admin]).statements, admin])
      const two = after(one, true, [founder, admin])
      expect(inviteIn(two, made)).toBe('valid')
      const three = after(two, true)
      expect(invitesSince(three)).toBe(1)
      expect(inviteIn(three, made)).toMatch(/no admin any more/)
      const four = after(three, true, [founder, again])
      expect(inviteIn(four, made)).toMatch(/no admin any more/)
      // with the statement that makes it one again in the place of the old one
      expect(inviteIn(four, { ...made, admin: again })).toMatch(/older than/)
      expect(verdict(certificateOf(cluster.member('bob', { by: keyNamed('admin') }), { admin: again }), { era: four })).toMatch(/older than/)
      expect(inviteIn(four, { ...made, era: 4, admin: again })).toBe('valid')
    })

    test('are kept by two eras of one number if both keep them, of the same ones', () => {
      const other = (era: Era, keepsInvites: boolean): Era => eraAfter(era, { signer, listed: [founder, cluster.member('bob')], keepsInvites })
      expect(invitesSince(mergedEra(after(eraOne, true), other(eraOne, true)))).toBe(1)
      expect(invitesSince(mergedEra(after(eraOne, true), other(eraOne, false)))).toBe(2)
      // on two sides of a partition
      const sides = [after(eraOne, false), other(eraOne, false)].map((era) => after(era, true)) as [Era, Era]
      expect(sides.map(invitesSince)).toEqual([2, 2])
      expect(invitesSince(mergedEra(...sides))).toBe(3)
    })
  })

  test('a certificate is [admin] [invite] member and nothing else', () => {
    const full = certificateOf(cluster.member('bob', { by: keyNamed('invite') }), { admin: cluster.admin('admin'), invite: cluster.invite('invite') })
    expect(parseCertificate(encodeCertificate(full))).toEqual(full)
    expect(() => parseCertificate(Uint8Array.of(0))).toThrow(MalformedBytes)
    const swapped = encodeCertificate({ ...full, admin: full.invite, invite: full.admin } as unknown as Certificate)
    expect(() => parseCertificate(swapped)).toThrow(MalformedBytes)
    expect(() => parseCertificate(encodeCertificate({ ...full, member: full.invite } as unknown as Certificate))).toThrow(MalformedBytes)
  })
})

describe('eras', () => {
  const [bob, carol] = [cluster.member('bob'), cluster.member('carol')]

  test('the higher era wins, whichever is heard first', () => {
    const eraTwo = cluster.era(2, [])
    expect(mergedEra(eraOne, eraTwo)).toBe(eraTwo)
    expect(mergedEra(eraTwo, eraOne)).toBe(eraTwo)
  })

  test('equal but different eras leave the members of both, in any order, however often heard', () => {
    const [a, b] = [cluster.era(2, [founder, bob]), cluster.era(2, [founder, carol], { floor: 3 })]
    const merged = mergedEra(a, b)
    expect(merged.listed.map(({ subject }) => subject)).toEqual([founder.subject])
    expect(merged.floor).toBe(3)
    expect(mergedEra(b, a)).toEqual(merged)
    expect(mergedEra(merged, a)).toEqual(merged)
    const c = cluster.era(2, [bob])
    expect(mergedEra(mergedEra(a, b), c)).toEqual(mergedEra(a, mergedEra(b, c)))
  })

  test('an era comes by the authority, or by an admin of the era before', () => {
    const [admin, byAdmin] = [cluster.admin('admin'), cluster.era(2, [founder], { by: keyNamed('admin') })]
    const trust = { clusterId: cluster.clusterId, authority: cluster.authority }
    const withAdmin = eraOf([...cluster.era(1, [founder, admin]).statements, admin])
    expect(isEraByRight(eraOne, trust)).toBe(true)
    expect(isEraByRight(byAdmin, trust)).toBe(false)
    expect(isEraByRight(eraOf([...byAdmin.statements, admin]), trust)).toBe(true)
    expect(isEraByRight(eraOf([...byAdmin.statements, cluster.admin('admin', { by: keyNamed('mallory') })]), trust)).toBe(false)
    expect(isEraByRight(paperCluster('other').era(5, []), trust)).toBe(false)
    const signed = eraOf([...byAdmin.statements, admin])
    expect(mayFollow(withAdmin, signed, trust)).toBe(true)
    expect(mayFollow(eraOne, signed, trust)).toBe(false)
  })

  test('an era follows one of no higher number, by whoever stood in that one', () => {
    const [admin, trust] = [cluster.admin('admin'), { clusterId: cluster.clusterId, authority: cluster.authority }]
    const made = (number: number, listed: Parameters<typeof cluster.era>[1], by?: string): Era =>
      eraOf([...cluster.era(number, listed, by === undefined ? {} : { by: keyNamed(by) }).statements, admin])
    const [withAdmin, without] = [made(3, [founder, admin]), made(4, [founder])]
    expect(mayFollow(withAdmin, without, trust)).toBe(true)
    // a removed admin's, whatever its number, and though it lists itself
    for (const number of [3, 4, 5, 100]) expect(mayFollow(without, made(number, [founder, admin], 'admin'), trust)).toBe(false)
    // lower ones, the authority's too: a replay
    for (const number of [1, 2]) expect(mayFollow(withAdmin, made(number, [founder, admin]), trust)).toBe(false)
    // equal and different: two at once, of which one is chosen
    expect(mayFollow(withAdmin, made(3, [founder, bob, admin], 'admin'), trust)).toBe(true)
    expect(mayFollow(without, without, trust)).toBe(true)
    expect(mayFollow(eraOf([...without.statements]), eraOf([...without.statements, admin]), trust)).toBe(true)
  })

  test('the era after one is signed, rises by one, and carries its admins', () => {
    const admin = cluster.admin('admin')
    const current = eraOf([...cluster.era(7, [founder, admin]).statements, admin])
    const next = eraAfter(current, { signer: keyNamed('admin'), listed: [founder], newEpoch: { epoch: 2, check: seedNamed('check 2') } })
    expect(next).toMatchObject({ number: 8, floor: 0, checks: [{ epoch: 1 }, { epoch: 2 }] })
    // it took itself out, and signed: its statement still goes with it, and it stands no more
    expect(next.admins).toEqual([admin])
    expect(adminsOf(next, { clusterId: cluster.clusterId, authority: cluster.authority })).toEqual([])
    expect(parseEra(encodeEra(next))).toEqual(next)
    expect(() => eraAfter(current, { signer: keyNamed('admin'), listed: Array.from({ length: 1000 }, (_, i) => cluster.member(`m${i}`)) })).toThrow(Refused)
  })
})
