import { hexOf } from '../../base/bytes.ts'
import { Refused } from '../../base/errors.ts'
import { type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { systemRandom } from '../../base/random.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { type EraStatement, eraOf, hashOfStatement, type MemberRow, type MemberStatement, openLayout, roles, signStatement } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import { lockFolder } from '../../disk/folder-lock.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import { ClusterKeys, exchangeKeyOf } from '../../encryption/index.ts'
import type { Secrets } from '../../node.ts'
import { capacityOf } from '../layout/capacity.ts'
import { keyringKeyOf, readKeyring, writeKeyring } from './keys.ts'
import { readFacts, writeFacts } from '../state.ts'
import { openRows } from '../stores.ts'
import { looseBallotOf } from '../records.ts'

const firstEra = 1
const firstEpoch = 1

/**
 * Makes a cluster whose only node this is: authority, identity, data keys, era 1 that lists it, a layout of it alone. Nothing talks to the network.
 * @throws Refused if the folder is a node's already
 */
export async function initCluster (config: Config, secrets: Secrets): Promise<{ clusterId: string, peerId: PeerId }> {
  const random = systemRandom
  const files = nodeFiles(config.data)
  await files.ensureFolder('.')
  await using _lock = await lockFolder(config.data)
  if (await readFacts(files) !== undefined) throw new Refused(`${config.data} is a node's already; choose another --data`)
  const key = await keyringKeyOf(secrets, { make: true, random })
  // a keyring without facts was left by an init that was cut off: nobody knows its keys, so it is made anew
  await readKeyring(files, key)
  const [nodeSeed, exchangeSeed, diskKey, authoritySeed, names, secret] = Array.from({ length: 6 }, () => random.bytes(32)) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const clusterId = random.bytes(16)
  const ring = { names, epochs: new Map([[firstEpoch, secret]]) }
  await writeKeyring(files, { nodeSeed, exchangeSeed, diskKey, clusterId, ring, authoritySeed }, key, { random })

  const authority = signingKeyOf(authoritySeed)
  const subject = signingKeyOf(nodeSeed).publicKey
  const statement = { clusterId, era: firstEra }
  const member = signStatement(authority, { ...statement, subject, kind: 'member', role: roles.member, kx: exchangeKeyOf(exchangeSeed), serial: 1, zone: config.zone }) as MemberStatement
  const keys = new ClusterKeys({ clusterId, ...ring })
  const era = signStatement(authority, {
    ...statement, subject: new Uint8Array(32), kind: 'era', checkN: keys.checkNames, floor: 0,
    checks: [{ epoch: firstEpoch, check: keys.epoch(firstEpoch).check }], listed: [{ subject, statementHash: hashOfStatement(member) }],
  }) as EraStatement
  await using rows = await openRows({ data: config.data, files, random, ballotOf: looseBallotOf, onLost: () => {} })
  const certificate = { admin: undefined, invite: undefined, member }
  const capacityBytes = await capacityOf(config, files)
  const row: MemberRow = { certificate, capacityBytes, addresses: [], storeId: rows.storeId }
  const peerId = peerIdOf(subject)
  const layout = openLayout({ peerId, role: roles.member, zone: config.zone, capacityBytes, storeId: rows.storeId })
  await writeFacts(files, { clusterId, authority: authority.publicKey, certificate, era: eraOf([era]), layout, members: [row] })
  return { clusterId: hexOf(clusterId), peerId }
}
