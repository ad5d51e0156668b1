import { join } from 'node:path'
import { systemRandom } from '../../src/base/random.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import type { Keyring } from '../../src/encryption/index.ts'
import { keyringKeyOf, readKeyring } from '../../src/node/membership/keys.ts'
import { type ClusterFacts, readFacts } from '../../src/node/state.ts'
import { type LocalCluster, LocalNode } from '../../scripts/local-cluster.ts'

/** Who a node is, as its data folder (made with --no-passphrase) says: for playing that node in a test, well or badly. */
export interface Member {
  readonly data: string
  readonly keyring: Keyring
  readonly facts: ClusterFacts
}

export async function memberIn (data: string): Promise<Member> {
  const files = nodeFiles(data)
  const keyring = await readKeyring(files, await keyringKeyOf({ kind: 'key-file', path: join(data, 'key') }, { make: false, random: systemRandom }))
  const facts = await readFacts(files)
  if (keyring === undefined || facts === undefined) throw new Error(`${data} is no node's`)
  return { data, keyring, facts }
}

export const anyPorts = ['--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0', '--s3-listen', 'off'] as const

/** One more node that has joined and is not started. `token`: an invite that the cluster has given. */
export async function joinedMember (cluster: LocalCluster, data: string, token?: string): Promise<Member> {
  const [invite] = token === undefined ? await cluster.node(0).json<{ token: string }>(['invite']) : [{ token }]
  const { code, stderr } = await new LocalNode(data, []).run(['join', invite?.token ?? '', '--no-passphrase', ...anyPorts])
  if (code !== 0) throw new Error(`dfs join ended with ${code}: ${stderr}`)
  return memberIn(data)
}
