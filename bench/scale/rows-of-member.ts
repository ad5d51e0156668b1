import { peerIdOf } from '../../src/base/peer-id.ts'
import { systemRandom } from '../../src/base/random.ts'
import { type SigningKey, signingKeyOf } from '../../src/base/signature.ts'
import { keyFileIn } from '../../src/cli/secrets.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { ClusterKeys } from '../../src/encryption/index.ts'
import { keyringKeyOf, readKeyring } from '../../src/node/membership/keys.ts'
import { looseBallotOf } from '../../src/node/records.ts'
import { ClusterState, readFacts } from '../../src/node/state.ts'
import { namedStoreOf } from '../../src/node/layout/store-positions.ts'
import { openRows } from '../../src/node/stores.ts'
import { rowCodec } from '../../src/tables/codec.ts'
import type { RowCodec } from '../../src/tables/index.ts'
import type { DiskRows } from '../../src/tables/row-store.ts'

export interface RowsOfMember {
  /** Whoever opens it closes it. */
  readonly rows: DiskRows
  readonly codec: RowCodec
  readonly keys: ClusterKeys
  readonly signer: SigningKey
}

/** The rows of a member's data folder that no node has open, and what seals them. Its keyring must have a key file. */
export async function rowsOfMember (data: string): Promise<RowsOfMember> {
  const files = nodeFiles(data)
  const facts = await readFacts(files)
  const keyring = await readKeyring(files, await keyringKeyOf({ kind: 'key-file', path: keyFileIn(data) }, { make: false, random: systemRandom }))
  if (facts === undefined || keyring?.ring === undefined) throw new Error(`${data} is not the folder of a member`)
  const [{ clusterId }, signer, keys] = [facts, signingKeyOf(keyring.nodeSeed), new ClusterKeys({ clusterId: facts.clusterId, ...keyring.ring })]
  const rows = await openRows({
    data, files, random: systemRandom, ballotOf: looseBallotOf, named: namedStoreOf(new ClusterState(files, facts), peerIdOf(signer.publicKey)),
    onLost: ({ reason }) => { throw new Error(`rows were lost: ${reason}`) },
  })
  return { rows, keys, signer, codec: rowCodec({ clusterId, keys, signer, random: systemRandom, checkClear: () => {} }) }
}
