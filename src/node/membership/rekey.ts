import { systemRandom } from '../../base/random.ts'
import type { Config } from '../../config.ts'
import { lockFolder } from '../../disk/folder-lock.ts'
import { nodeFiles } from '../../disk/node-files.ts'
import type { Secrets } from '../../node.ts'
import { keyringKeyOf, rekeyKeyrings } from './keys.ts'

/**
 * From now on `to` opens the keyring of a node that is not running, and `from` opens no copy of it. Cut off half way, it is repeated.
 * @throws Refused if the node runs, or `from` does not open the keyring
 */
export async function changeSecrets (config: Config, { from, to }: { from: Secrets, to: Secrets }): Promise<void> {
  await using _lock = await lockFolder(config.data)
  const random = systemRandom
  const keys = { from: await keyringKeyOf(from, { make: false, random }), to: await keyringKeyOf(to, { make: true, random }) }
  await rekeyKeyrings(nodeFiles(config.data), { ...keys, random })
}
