import { box, exchangeKeyOf, ring, ringPurpose } from './box.ts'
import { cat, text, u32, zeros } from './bytes.ts'
import { chain } from './certificate.ts'
import { clearRow, clearRowKey } from './clear-row.ts'
import { H } from './keys.ts'
import { keyring, keyringPlaintext, noCosts } from './keyring.ts'
import { localPage } from './local.ts'
import { node } from './manifest.ts'
import { ballot } from './row.ts'
import { publicKeyOf } from './signature.ts'
import { statement } from './statement.ts'
import { token } from './token.ts'

const filled = (byte: number, length = 32): Uint8Array => zeros(length).fill(byte)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** What everything below is made of; 11x32 is 32 bytes of 0x11. */
export const vectorInputs = {
  clusterId: filled(0x22, 16), S: filled(0x11), N: filled(0x33), authoritySeed: filled(0xa1), adminSeed: filled(0xa2), inviteSeed: filled(0xa3), nodeSeed: filled(0xa4), exchangeSeed: filled(0xa5), diskKey: filled(0xa6),
  salt: filled(0xb1), fresh: filled(0xb2), keyFile: filled(0xb3), passphrase: 'Zo\u00EB \uFB01nds 64 \u00BDs', costs: { kib: 64, t: 2, p: 2 }, address: filled(0xc1, 44),
} as const

/** test/vectors/reference-vectors.json, for the formats that format-vectors.json has no values of. */
export function referenceVectors (): Record<string, unknown> {
  const { clusterId, S, N, authoritySeed, adminSeed, inviteSeed, nodeSeed, exchangeSeed, diskKey, salt, fresh, keyFile, passphrase, costs, address } = vectorInputs
  const [authority, kx] = [publicKeyOf(authoritySeed), exchangeKeyOf(exchangeSeed)]
  const secrets = { names: N, epochs: [[1, S], [2, filled(0x12)]] } as const
  const founder = { nodeSeed, exchangeSeed, diskKey, clusterId, ring: secrets, authoritySeed }
  const storage = { ...founder, ring: null, authoritySeed: null }
  const signed = (seed: Uint8Array, subject: Uint8Array, body: Parameters<typeof statement>[1]['body']): Uint8Array => statement(seed, { clusterId, era: 1, subject, body })
  const admin = signed(authoritySeed, publicKeyOf(adminSeed), { kind: 'admin' })
  const invite = signed(adminSeed, publicKeyOf(inviteSeed), { kind: 'invite', roles: 3, peer: publicKeyOf(nodeSeed), notAfter: 1_700_000_000_000n, zone: 'cellar' })
  const member = signed(inviteSeed, publicKeyOf(nodeSeed), { kind: 'member', role: 2, kx, serial: 0, zone: 'cellar' })
  const era = signed(authoritySeed, zeros(32), { kind: 'era', checkN: filled(0xd1), floor: 1, checks: [[1, filled(0xd2)], [2, filled(0xd3)]], listed: [[publicKeyOf(nodeSeed), H(member)]] })
  // era 2, after that one, puts nobody out: invites of era 1 stay good
  const keeping = statement(authoritySeed, { clusterId, era: 2, subject: zeros(32), body: { kind: 'era', checkN: filled(0xd1), floor: 1, checks: [[1, filled(0xd2)], [2, filled(0xd3)]], listed: [[cat(zeros(28), u32(1)), H(era)], [publicKeyOf(nodeSeed), H(member)]] } })
  return {
    inputs: 'clusterId=22x16 S_1=11x32 S_2=12x32 N=33x32; seeds: authority a1x32, admin a2x32, invite a3x32, node a4x32, exchange a5x32; K_disk=a6x32; salt=b1x32, fresh=b2x32, key file b3x32, address c1x44; era 1; check_N=d1x32, check_1=d2x32, check_2=d3x32',
    keyring: {
      plaintext: hex(keyringPlaintext(founder)), passphrase, costs,
      underPassphrase: hex(keyring(keyringPlaintext(founder), { passphrase }, { costs, salt, fresh })),
      underKeyFile: hex(keyring(keyringPlaintext(founder), { key: keyFile }, { costs: noCosts, salt, fresh })),
      ofStorage: hex(keyring(keyringPlaintext(storage), { key: keyFile }, { costs: noCosts, salt, fresh })),
    },
    box: hex(box(ring(secrets), { clusterId, purpose: ringPurpose(1), kx, fresh })),
    statements: { admin: hex(admin), invite: hex(invite), member: hex(member), era: hex(era), keeping: hex(keeping) },
    certificate: hex(chain([admin, invite, member])),
    token: token({ clusterId, authority, seed: inviteSeed, statements: [admin, invite], addresses: [address] }),
    clearRow: hex(clearRow({ table: 18, rk: clearRowKey(18, text('layout')), ballot: ballot(7n, publicKeyOf(nodeSeed)), value: text('layout row') }, nodeSeed, clusterId)),
    node: hex(node({ level: 1, size: 3n, entries: [{ digest: filled(1), ph: filled(2), blockLength: 65, size: 1n }, { digest: filled(3), ph: filled(4), blockLength: 66, size: 2n }], meta: { b: 1, a: 'x' } })),
    localPage: hex(localPage(diskKey, { aad: text('page 1'), plaintext: text('names'), fresh })),
  }
}

// node test/support/reference/vectors.ts > test/vectors/reference-vectors.json
if (import.meta.main) console.log(JSON.stringify(referenceVectors(), null, 1))
