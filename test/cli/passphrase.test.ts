import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dfs } from '../../scripts/local-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

const changed = async (data: string, options: readonly string[], env: Record<string, string> = {}): Promise<number> =>
  (await dfs(['passphrase', '--data', data, ...options], { env })).code

test('dfs passphrase changes what opens the keyring, from a key to a passphrase to a file and back, and the old one opens nothing', async () => {
  await using folder = await temporaryFolder()
  const data = join(folder.path, 'node')
  const words = join(folder.path, 'words')
  await writeFile(words, 'staple\n')
  expect((await dfs(['init', '--data', data, '--listen', '/ip4/127.0.0.1/tcp/0', '--no-passphrase'])).code).toBe(0)
  const key = await readFile(join(data, 'key'))

  // no terminal, and nothing said of the new one
  expect(await dfs(['passphrase', '--data', data])).toMatchObject({ code: 2, stderr: expect.stringContaining('DFS_NEW_PASSPHRASE') as string })
  expect(await dfs(['passphrase', '--data', data, '--json'], { env: { DFS_NEW_PASSPHRASE: 'horse' } })).toMatchObject({ code: 0, stdout: `${JSON.stringify({ data, opensWith: 'passphrase' })}\n` })
  await expect(access(join(data, 'key'))).rejects.toThrow('ENOENT')

  // neither the old key, nor another passphrase
  const old = join(folder.path, 'old-key')
  await writeFile(old, key)
  expect(await dfs(['passphrase', '--data', data, '--key-file', old], { env: { DFS_NEW_PASSPHRASE: 'x' } })).toMatchObject({ code: 8, stderr: expect.stringContaining('opens with a passphrase') as string })
  expect(await changed(data, [], { DFS_PASSPHRASE: 'house', DFS_NEW_PASSPHRASE: 'x' })).toBe(8)

  expect(await changed(data, ['--new-passphrase-file', words], { DFS_PASSPHRASE: 'horse' })).toBe(0)
  expect(JSON.parse(await readFile(join(data, 'dfs.json'), 'utf8'))).toMatchObject({ 'passphrase-file': words })
  // the settings name it, so nothing need be said
  expect(await changed(data, ['--no-passphrase'])).toBe(0)
  expect(JSON.parse(await readFile(join(data, 'dfs.json'), 'utf8'))).not.toHaveProperty('passphrase-file')
  expect(await changed(data, ['--new-key-file', join(folder.path, 'new', 'key')])).toBe(0)
  await access(join(folder.path, 'new', 'key'))
}, 60_000)

test('dfs passphrase says where there is no node', async () => {
  await using folder = await temporaryFolder()
  expect(await dfs(['passphrase', '--data', folder.path, '--no-passphrase'])).toMatchObject({ code: 8, stderr: expect.stringContaining('is no node\'s data folder') as string })
})
