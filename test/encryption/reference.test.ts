import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, utf8 } from '../../src/base/bytes.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { clearRowKey, signClearRow, verifiedClearRow } from '../../src/cluster/clear-row.ts'
import { encodeCertificate, encodeToken, eraAfter, eraOf, type EraStatement, invitesSince, parseCertificate, parseStatement, parseToken, signStatement } from '../../src/cluster/index.ts'
import { exchangeKeyOf, type Keyring, localSealer, openKeyring, openRing, ringPurpose, sealKeyring, sealRing } from '../../src/encryption/index.ts'
import { decodeNode, encodeNode } from '../../src/file/manifest.ts'
import { scripted } from '../support/arbitraries.ts'
import { block, blockHeader, cidBytes, convergentPh, openBlock, randomPh } from '../support/reference/block.ts'
import { box, ring, ringPurpose as purposeThere } from '../support/reference/box.ts'
import { text, zeros } from '../support/reference/bytes.ts'
import { capability, openCapability } from '../support/reference/capability.ts'
import { H, epochKeys, nameKeys } from '../support/reference/keys.ts'
import { accepted, ballot, openAccepted, openRow, row, rowHeader, rowKey, rowPayload, rowSalt } from '../support/reference/row.ts'
import { openStatement } from '../support/reference/statement.ts'
import { deathProof, versionId } from '../support/reference/version.ts'
import { referenceVectors, vectorInputs } from '../support/reference/vectors.ts'

const read = (name: string): any => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'))
const [released, own] = [read('format-vectors'), read('reference-vectors')]
const filled = (byte: number, length: number): Uint8Array => zeros(length).fill(byte)

describe('the second implementation', () => {
  test('has not a line of the first, nor of its libraries', () => {
    const folder = new URL('../support/reference/', import.meta.url)
    const imports = readdirSync(folder).flatMap((name) => [...readFileSync(new URL(name, folder), 'utf8').matchAll(/from '([^']+)'/g)].map((found) => found[1] ?? ''))
    expect(imports.filter((name) => !name.startsWith('./') && !name.startsWith('@noble/'))).toEqual([])
  })

  test('gives the values that another implementation gave: keys, blocks, rows, versions, capability', () => {
    const [clusterId, bucket] = [filled(0x22, 16), filled(0x44, 16)]
    const { conv, gear, rand, row: kRow, salt: kSalt, vote, del, check } = epochKeys(filled(0x11, 32), clusterId, bucket)
    const { name, checkN } = nameKeys(filled(0x33, 32), clusterId)
    const all = { conv, gear, rand, row: kRow, salt: kSalt, vote, del, check, name, checkN }
    expect(Object.fromEntries(Object.entries(all).map(([label, key]) => [label, hexOf(key)]))).toEqual(released.K)

    const ph = fromHex(released.block.ph)
    const { payload } = openBlock(fromHex(released.block.block), { type: 1, digest: fromHex(released.block.cid.slice(8)), ph, length: 73 })
    const header = blockHeader({ type: 1, flags: 0, length: payload.length, epoch: 1 })
    expect(hexOf(convergentPh(conv, header, payload))).toBe(released.block.ph)
    expect(hexOf(block(header, ph, payload))).toBe(released.block.block)
    expect(hexOf(cidBytes(fromHex(released.block.block)))).toBe(released.block.cid)

    const nodePayload = fromHex(released.node.payload)
    const nodeHeader = blockHeader({ type: 2, flags: 0, length: nodePayload.length, epoch: 1 })
    expect(hexOf(randomPh(rand, filled(0x55, 32), nodeHeader, nodePayload))).toBe(released.node.ph)
    expect(hexOf(block(nodeHeader, fromHex(released.node.ph), nodePayload))).toBe(released.node.block)
    expect(capability(openCapability(released.cap))).toBe(released.cap)

    const place = { table: 1, rk: rowKey(name, 1, bucket, text('a/b')) }
    expect(hexOf(place.rk)).toBe(released.row.rk)
    const rowBytes = fromHex(released.row.row)
    const { body } = openRow(rowBytes, place, () => kRow)
    const rh = rowHeader({ ...place, flags: 0, length: 64, epoch: 1, revision: 1n })
    expect(hexOf(row(kRow, { header: rh, salt: rowSalt(kSalt, filled(0x66, 32), rh, rowPayload(body)), payload: rowPayload(body) }))).toBe(released.row.row)
    const record = accepted(vote, { ...place, ballot: ballot(1n, filled(0x77, 32)), epoch: 1, row: rowBytes })
    expect(hexOf(record.slice(44, 76))).toBe(released.row.vtag)
    expect(openAccepted(record, place, () => vote).row).toEqual(rowBytes)
    expect(hexOf(deathProof(del, filled(0x88, 16)))).toBe(released.version.del)
    expect(hexOf(versionId(deathProof(del, filled(0x88, 16))))).toBe(released.version.versionId)
  })

  test('gives the values that another implementation gave: box and statements', () => {
    const [clusterId, kx] = [filled(0x22, 16), fromHex(released.box.kx)]
    const plaintext = ring({ names: filled(0x33, 32), epochs: [[1, filled(0x11, 32)]] })
    expect(hexOf(box(plaintext, { clusterId, purpose: purposeThere(1), kx, fresh: filled(0x99, 32) }))).toBe(released.box.box)
    const [invite, member] = [openStatement(fromHex(released.invite)), openStatement(fromHex(released.member))]
    expect(invite).toMatchObject({ era: 1, clusterId, body: { kind: 'invite', roles: 2, notAfter: 0n, zone: '' } })
    expect(member).toMatchObject({ issuer: invite.subject, body: { kind: 'member', role: 2, kx, serial: 0, zone: 'z1' } })
  })
})

describe('the second implementation\'s own vectors, here', () => {
  const { clusterId, S, N, authoritySeed, adminSeed, inviteSeed, nodeSeed, exchangeSeed, diskKey, salt, fresh, keyFile, passphrase, address } = vectorInputs
  const secrets = { names: N, epochs: new Map([[1, S], [2, filled(0x12, 32)]]) }
  const founder: Keyring = { nodeSeed, exchangeSeed, diskKey, clusterId, ring: secrets, authoritySeed }

  test('are what it gives', () => {
    expect(referenceVectors()).toEqual(own)
  })

  test('a keyring under a passphrase', async () => {
    expect(await openKeyring(fromHex(own.keyring.underPassphrase), { kind: 'passphrase', passphrase })).toEqual(founder)
    expect(await openKeyring(fromHex(own.keyring.underPassphrase), { kind: 'passphrase', passphrase: passphrase.normalize('NFKD') })).toEqual(founder)
  })

  test('a keyring under a key file, of a founder and of a node without data keys', async () => {
    const storage = { ...founder, ring: undefined, authoritySeed: undefined }
    for (const [keyring, vector] of [[founder, own.keyring.underKeyFile], [storage, own.keyring.ofStorage]] as const) {
      expect(hexOf(await sealKeyring(keyring, { kind: 'key', key: keyFile }, scripted(salt, fresh)))).toBe(vector)
      expect(await openKeyring(fromHex(vector), { kind: 'key', key: keyFile })).toEqual(keyring)
    }
  })

  test('a key box', () => {
    expect(hexOf(sealRing(secrets, { clusterId, purpose: ringPurpose(1), to: exchangeKeyOf(exchangeSeed), fresh }))).toBe(own.box)
    expect(openRing(fromHex(own.box), { seed: exchangeSeed, clusterId, purpose: ringPurpose(1) })).toEqual(secrets)
  })

  test('statements, a certificate and a token', () => {
    const issuers = { admin: authoritySeed, invite: adminSeed, member: inviteSeed, era: authoritySeed, keeping: authoritySeed }
    for (const [kind, seed] of Object.entries(issuers)) {
      const vector = own.statements[kind]
      expect(hexOf(signStatement(signingKeyOf(seed), parseStatement(fromHex(vector))).bytes)).toBe(vector)
    }
    const certificate = parseCertificate(fromHex(own.certificate))
    const era = eraOf([parseStatement(fromHex(own.statements.era)) as EraStatement])
    const keeping = eraAfter(era, { signer: signingKeyOf(authoritySeed), listed: [certificate.member], keepsInvites: true })
    expect([hexOf(keeping.statements[0]?.bytes ?? zeros(0)), invitesSince(keeping)]).toEqual([own.statements.keeping, 1])
    expect(hexOf(encodeCertificate(certificate))).toBe(own.certificate)
    const token = parseToken(own.token)
    expect(token).toEqual({ clusterId, authority: signingKeyOf(authoritySeed).publicKey, seed: inviteSeed, admin: certificate.admin, invite: certificate.invite, addresses: [address] })
    expect(encodeToken(token)).toBe(own.token)
  })

  test('a clear row, a manifest node with metadata, a page under K_disk', () => {
    const rowKey = clearRowKey(18, utf8('layout'))
    const clear = verifiedClearRow(fromHex(own.clearRow), { table: 18, rowKey, clusterId })
    expect(clear).toMatchObject({ table: 18, rowKey, value: utf8('layout row') })
    expect(hexOf(signClearRow(clear, signingKeyOf(nodeSeed), clusterId))).toBe(own.clearRow)
    const node = decodeNode(fromHex(own.node), { place: 'root', level: 1, sizeBytes: 3 })
    expect(node.meta).toEqual({ a: 'x', b: 1 })
    expect(hexOf(encodeNode(node))).toBe(own.node)
    expect(hexOf(localSealer(diskKey, scripted(fresh)).seal(utf8('page 1'), utf8('names')))).toBe(own.localPage)
  })

  test('are of the addresses that they hash to', () => {
    expect(hexOf(H(fromHex(own.statements.member)))).toHaveLength(64)
    expect(own.statements.era).toContain(hexOf(H(fromHex(own.statements.member))))
  })
})
