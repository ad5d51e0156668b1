import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfs, freePorts, LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { shell } from './shell.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let cluster: LocalCluster
let node: LocalNode
const at = (...names: string[]): string => join(folder.path, ...names)

beforeAll(async () => {
  folder = await temporaryFolder()
  cluster = new LocalCluster(at('nodes'))
  node = await cluster.found()
  await node.json(['bucket', 'create', 'photos', '--redundancy', 'rf:1'])
}, 60_000)
afterAll(async () => { await cluster?.stop('SIGKILL'); await folder?.[Symbol.asyncDispose]() })

describe('the command line', () => {
  test.each([
    [['--help'], 0], [['nonsense'], 2], [['put'], 2], [['ls', '--data', '/nonexistent/folder'], 10], [['config', '--api-port', '99999'], 2],
    [['completion', 'tcsh'], 2], [['completion', 'bash'], 0], [['start', '--data', '/nonexistent/folder'], 8],
  ])('%j ends with %d', async (args, code) => {
    const finished = await dfs(args)
    expect(finished.code, finished.stderr).toBe(code)
    if (code !== 0) expect(finished.stderr.trim()).not.toBe('')
    expect(finished.stderr).not.toContain('    at ')
  })

  test('a wrong setting names the field, what it got and what it takes', async () => {
    expect((await dfs(['config', '--capacity', 'much'])).stderr).toBe('dfs: capacity is "much" (option --capacity); it takes a size such as 500GiB, or 0\n')
  })

  test('what is missing, or misplaced, is told with what to write', async () => {
    expect((await dfs(['stat'])).stderr).toBe("error: missing required argument 'object'\nusage: dfs stat <object> [options]; \"dfs stat --help\" says more\n")
    expect((await dfs(['bucket', 'create'])).stderr).toContain('usage: dfs bucket create <name> [options]')
    expect((await node.run(['ls', '/photos'])).stderr).toContain('without a slash before it')
    expect((await dfs(['join', 'nonsense', '--data', at('joins')])).stderr).toContain('"nonsense" is no token')
    expect((await dfs(['status', '--data', at('nothing-here')])).stderr).toContain('"dfs init" makes a cluster')
  })

  test('what it makes for shells names every command', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) expect((await dfs(['completion', shell])).stdout).toMatch(/bucket[\s\S]*invite/)
  })

  test('stores, shows, lists, gets and removes, with facts as JSON', async () => {
    await writeFile(at('cat.jpg'), noiseBytes(100_000))
    const [put] = await node.json<{ etag: string, sizeBytes: number }>(['put', at('cat.jpg'), 'photos/'])
    expect(put?.sizeBytes).toBe(100_000)
    expect((await node.json<{ key: string }>(['ls', 'photos'])).map(({ key }) => key)).toEqual(['cat.jpg'])
    expect((await node.json<{ etag: string }>(['stat', 'photos/cat.jpg']))[0]?.etag).toBe(put?.etag)
    const [got] = await node.json<{ file: string, sources: { local: number } }>(['get', 'photos/cat.jpg', at('copy.jpg')])
    expect(got?.sources.local).toBeGreaterThan(100_000)
    expect(await readFile(at('copy.jpg'))).toEqual(Buffer.from(noiseBytes(100_000)))
    expect((await node.run(['get', 'photos/cat.jpg', '-', '--range', '10-19'])).stdout.length).toBeGreaterThan(0)
    expect(await node.json(['rm', 'photos/cat.jpg'])).toEqual([{ bucket: 'photos', key: 'cat.jpg', removed: true }])
    expect((await node.run(['get', 'photos/cat.jpg', at('gone')])).code).toBe(3)
    expect((await readdir(folder.path)).filter((name) => name.startsWith('gone'))).toEqual([])
  })

  test('the documents of a bucket are set, shown and taken away as docs/CLI.md shows it', async () => {
    await node.json(['bucket', 'create', 'documents', '--redundancy', 'rf:1'])
    const [, commands = ''] = /\*\*Documents of a bucket\*\*[\s\S]*?```sh\n([\s\S]*?)```/.exec(await readFile(new URL('../../docs/CLI.md', import.meta.url), 'utf8')) ?? []
    const { stdout, code, stderr } = await shell(`set -e\n${commands.replaceAll('photos', 'documents')}`, { cwd: folder.path, env: { DFS_DATA: node.data } })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(stdout.match(/is set$/gm)).toHaveLength(5)
    expect(JSON.parse(await readFile(at('rules.json'), 'utf8'))).toMatchObject([{ id: 'old', expireDays: 30 }, { id: 'versions', noncurrentKept: 3 }])
    expect(await node.json(['bucket', 'lifecycle', 'documents'])).toEqual([{ bucket: 'documents', lifecycle: null }])
    expect(await node.json(['bucket', 'lock', 'documents'])).toEqual([{ bucket: 'documents', objectLock: { defaultRetention: { mode: 'governance', days: 30 } } }])
    expect((await node.run(['bucket', 'policy', 'documents'])).stdout).toContain('documents/public/*')
    expect(await node.run(['bucket', 'policy', 'documents', '-'], { input: '{"Statement": [{"Effect": "Deny", "NotPrincipal": "*"}]}' })).toMatchObject({ code: 2 })
    expect(await node.run(['bucket', 'cors', 'documents', '-'], { input: '[{"origins": []}]' })).toMatchObject({ code: 2, stderr: expect.stringContaining('cors[0] has no "origins"') as string })
  })

  test('locks a version, shows what holds it, and says what to do where it may not be', async () => {
    await node.json(['bucket', 'create', 'locked', '--redundancy', 'rf:1'])
    await node.run(['put', '-', 'locked/deed'], { input: 'x' })
    expect(await node.run(['lock', 'locked/deed', '--hold', 'on'])).toMatchObject({ code: 2, stderr: expect.stringContaining('dfs bucket set locked --versioning enabled') as string })
    await node.json(['bucket', 'set', 'locked', '--versioning', 'enabled'])
    await node.run(['bucket', 'lock', 'locked', '-'], { input: '{}' })
    const [locked] = await node.json<{ versionId: string }>(['lock', 'locked/deed', '--retain-until', '2100-01-01', '--hold', 'on'])
    expect(locked).toEqual({ bucket: 'locked', key: 'deed', versionId: expect.any(String) as string, retention: { mode: 'governance', until: '2100-01-01T00:00:00.000Z' }, isHeld: true })
    expect((await node.run(['stat', 'locked/deed'])).stdout).toMatch(/retention +governance, until 2100-01-01T00:00:00\.000Z\nisHeld +true/)
    expect(await node.json(['lock', 'locked/deed', '--version-id', locked?.versionId ?? ''])).toEqual([locked])
    await node.json(['lock', 'locked/deed', '--hold', 'off'])
    expect(await node.run(['rm', 'locked/deed', '--version-id', locked?.versionId ?? ''])).toMatchObject({ code: 8, stderr: expect.stringContaining('until 2100-01-01') as string })
    expect(await node.run(['lock', 'locked/deed', '--retain-until', 'none'])).toMatchObject({ code: 8, stderr: expect.stringContaining('bypass') as string })
    expect(await node.json(['lock', 'locked/deed', '--retain-until', 'none', '--bypass-governance'])).toMatchObject([{ retention: null, isHeld: false }])
    expect(await node.run(['lock', 'locked/deed', '--retain-until', '2999-01-01'])).toMatchObject({ code: 2, stderr: expect.stringContaining('at most 100 years') as string })
    expect(await node.run(['lock', 'locked/deed', '--mode', 'compliance'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--retain-until') as string })
  })

  test('lists what is kept of a key, gets an older version by its id, and brings back what was deleted', async () => {
    await node.json(['bucket', 'create', 'kept', '--redundancy', 'rf:1'])
    await node.json(['bucket', 'set', 'kept', '--versioning', 'enabled'])
    for (const input of ['first', 'second, longer']) await node.run(['put', '-', 'kept/in/letter'], { input })
    await node.json(['rm', 'kept/in/letter'])
    const versions = await node.json<{ key: string, versionId: string, sizeBytes: number, isLatest: boolean, isDeleteMarker: boolean }>(['ls', 'kept', '-r', '--versions'])
    expect(versions.map(({ key, sizeBytes, isLatest, isDeleteMarker }) => [key, sizeBytes, isLatest, isDeleteMarker])).toEqual([['in/letter', 0, true, true], ['in/letter', 14, false, false], ['in/letter', 5, false, false]])
    const [marker, second, first] = versions.map(({ versionId }) => versionId)
    const shown = (await node.run(['ls', 'kept/in/', '--versions'])).stdout.trimEnd().split('\n')
    expect(shown).toHaveLength(3)
    expect(shown[0]).toMatch(new RegExp(`${marker} +current, deleted +in/letter$`))
    expect(shown[2]).toMatch(new RegExp(`5 B .*${first} +older +in/letter$`))
    expect(await node.json(['ls', 'kept', '--versions'])).toEqual([{ prefix: 'in/' }])
    expect(await node.run(['get', 'kept/in/letter', '-'])).toMatchObject({ code: 3 })
    expect((await node.run(['get', 'kept/in/letter', '-', '--version-id', first ?? ''])).stdout).toBe('first')
    await node.json(['get', 'kept/in/letter', at('letter'), '--version-id', second ?? '', '--range', '0-5'])
    expect(await readFile(at('letter'), 'utf8')).toBe('second')
    await node.json(['rm', 'kept/in/letter', '--version-id', marker ?? ''])
    expect((await node.run(['get', 'kept/in/letter', '-'])).stdout).toBe('second, longer')
    expect(await node.run(['get', 'kept/in', at('folder'), '-r', '--version-id', first ?? ''])).toMatchObject({ code: 2 })
    expect(await node.run(['ls', '--versions'])).toMatchObject({ code: 2, stderr: expect.stringContaining('name a bucket') as string })
  })

  test('reads standard input and writes standard output', async () => {
    expect((await node.run(['put', '-', 'photos/in'], { input: 'from a pipe' })).code).toBe(0)
    expect((await node.run(['get', 'photos/in', '-'])).stdout).toBe('from a pipe')
    expect((await node.run(['put', '-', 'photos'], { input: 'x' })).code).toBe(2)
  })

  test('takes folders in and out, and lets no key out of the folder', async () => {
    await mkdir(at('tree', 'deep'), { recursive: true })
    await writeFile(at('tree', 'a'), 'a')
    await writeFile(at('tree', 'deep', 'b'), 'b')
    await node.json(['put', '-r', at('tree'), 'photos/backup'])
    expect((await node.json<{ key: string }>(['ls', '-r', 'photos/backup/'])).map(({ key }) => key)).toEqual(['backup/a', 'backup/deep/b'])
    await node.json(['get', '-r', 'photos/backup/', at('restored')])
    expect(await readFile(at('restored', 'deep', 'b'), 'utf8')).toBe('b')
    await node.run(['put', '-', 'photos/evil/../../../escaped'], { input: 'x' })
    expect(await node.run(['get', '-r', 'photos/evil/', at('restored')])).toMatchObject({ code: 8, stderr: expect.stringContaining('is no path of a file below') as string })
    expect(await node.json(['rm', '-r', 'photos/backup/'])).toEqual([{ bucket: 'photos', prefix: 'backup/', removed: 2 }])
  })

  test('conditions end with 4, a full bucket cannot be removed, a second node in one folder is refused', async () => {
    await node.run(['put', '-', 'photos/once'], { input: 'x' })
    expect((await node.run(['put', '-', 'photos/once', '--if-none-match'], { input: 'y' })).code).toBe(4)
    expect((await node.run(['bucket', 'rm', 'photos'])).code).toBe(4)
    expect((await node.run(['bucket', 'create', 'photos'])).code).toBe(4)
    expect(await node.run(['start'])).toMatchObject({ code: 8, stderr: expect.stringContaining('in use by process') as string })
    expect((await node.run(['init', '--no-passphrase'])).code).toBe(8)
  })

  test('a passphrase is asked of the environment, and a wrong one is refused without saying more', async () => {
    const data = at('secret')
    const env = { DFS_PASSPHRASE: 'correct horse' }
    expect((await dfs(['init', '--data', data, '--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0', '--s3-listen', 'off'], { env })).code).toBe(0)
    const wrong = await dfs(['start', '--data', data], { env: { DFS_PASSPHRASE: 'incorrect' } })
    expect([wrong.code, wrong.stderr]).toEqual([8, expect.stringContaining('does not open the keyring')])
  })

  test.each([
    [['put'], 2, 'invalid', "missing required argument 'file'"], [['ls', '--what'], 2, 'invalid', "unknown option '--what'"],
    [['stat', 'photos/none'], 3, 'not-found', 'there is no'], [['ls', '--data', '/nonexistent/folder'], 10, 'no-node', 'no node runs over'],
  ])('under --json the one line on standard error says what is wrong: %j', async (args, exit, code, message) => {
    const { stderr, ...finished } = await dfs([...args, '--json'], { env: { DFS_DATA: node.data } })
    expect(finished).toMatchObject({ code: exit, stdout: '' })
    expect(JSON.parse(stderr)).toEqual({ error: { code, exit, message: expect.stringContaining(message) as string } })
  })

  // of the processor, since other tests may have it; a command that waits for little else takes that long
  test('asks a running node within 150 ms', async () => {
    await until('a status in 150 ms', 30_000, async () => {
      const { stderr } = await shell(`TIMEFORMAT='%U %S'; time dfs status > /dev/null`, { env: { DFS_DATA: node.data } })
      return stderr.split(' ').reduce((sum, seconds) => sum + Number(seconds), 0) < 0.15
    })
  })

  test('invites nobody by tokens that cannot be used', async () => {
    expect(await node.run(['invite', '--uses', 'two'])).toMatchObject({ code: 2, stderr: 'dfs: uses is "two"; it takes a number of tokens, 1 to 100\n' })
    expect(await node.run(['invite', '--expires', '0s'])).toMatchObject({ code: 2, stderr: expect.stringContaining('expires is "0s"') as string })
  })

  test('lists and revokes invites', async () => {
    expect(await node.json(['invite', 'revoke', 'ab'.repeat(32)])).toEqual([{ revoked: true }])
    expect(await node.run(['invite', 'ls'])).toMatchObject({ code: 0, stderr: expect.stringContaining('made no invites yet') as string })
    expect((await node.run(['invite', 'revoke', 'nothing'])).code).toBe(2)
  })

  test('warns of an invite that nobody on another machine can use', async () => {
    expect(await node.run(['invite'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^dfs1-/) as string, stderr: expect.stringMatching(/^dfs: this node listens on \/ip4\/127\.0\.0\.1\/.* alone, so the token works on this machine only/m) as string })
  })

  test('shows and sets what access keys may do, and never their secrets again', async () => {
    expect(await node.run(['key', 'ls'])).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('no access keys yet') as string })
    const [made] = await node.json<{ id: string, secret: string }>(['key', 'create', 'laptop', '--bucket', 'photos', '--prefix', 'cats/', '--rights', 'read,list', '--expires', '30d'])
    const { id = '', secret = '' } = made ?? {}
    const rights = [{ bucket: 'photos', prefix: 'cats/', actions: ['read', 'list'] }]
    const [listed] = await node.json(['key', 'ls'])
    expect(listed).toMatchObject({ id, name: 'laptop', rights, notAfterMs: expect.any(Number) as number })
    expect(JSON.stringify(listed)).not.toContain(secret)
    expect((await node.run(['key', 'ls'])).stdout).toMatch(new RegExp(`^${id} +laptop +until 20\\d\\d-.* +read,list in photos below cats/\n$`))
    // what is named for another prefix comes beside it; the same one is replaced, or taken away
    expect(await node.json(['key', 'grant', id, '--bucket', 'photos,site', '--rights', 'write'])).toMatchObject([{ id, rights: expect.arrayContaining([...rights, { bucket: 'photos', prefix: '', actions: ['write'] }, { bucket: 'site', prefix: '', actions: ['write'] }]) as unknown }])
    expect(await node.run(['key', 'grant', id, '--bucket', 'photos', '--prefix', 'cats/', '--rights', 'none'])).toMatchObject({ code: 0, stdout: `${id} may now: write in photos; write in site\n` })
    expect(await node.json(['key', 'ls'])).toMatchObject([{ rights: [{ bucket: 'photos', prefix: '' }, { bucket: 'site' }] }])
    expect(await node.run(['key', 'grant', id])).toMatchObject({ code: 2, stderr: expect.stringContaining('give --bucket NAME') as string })
    expect(await node.run(['key', 'grant', id, '--bucket', 'photos', '--rights', 'fly'])).toMatchObject({ code: 2, stderr: expect.stringContaining('"fly" is no right') as string })
    expect(await node.run(['key', 'grant', 'DFSNOBODY', '--bucket', 'photos'])).toMatchObject({ code: 3 })
    expect(await node.json(['key', 'rm', id])).toEqual([{ key: id, removed: true }])
    expect(await node.json(['key', 'ls'])).toEqual([])
  })

  test('lists links with what has become of them, never with what opens them, and revokes them by id or link', async () => {
    expect(await node.run(['share', 'ls'])).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('no shares') as string })
    expect((await node.run(['put', '-', 'photos/shared'], { input: 'x' })).code).toBe(0)
    const [open] = await node.json<{ id: string, secret: string, path: string }>(['share', 'photos/shared', '--expires', 'never'])
    const [once] = await node.json<{ id: string, secret: string, path: string }>(['share', 'photos/shared', '--once', '--expires', '2h'])
    const shares = await node.json<{ id: string }>(['share', 'ls'])
    expect(shares.toSorted((a, b) => a.id === open?.id ? -1 : b.id === open?.id ? 1 : 0)).toMatchObject([{ id: open?.id, bucket: 'photos', key: 'shared', isOnce: false, hasPassword: false }, { id: once?.id, isOnce: true, notAfterMs: expect.any(Number) as number }])
    for (const { secret } of [open, once].flatMap((share) => share ?? [])) expect(JSON.stringify(shares)).not.toContain(secret)
    expect((await node.run(['share', 'ls'])).stdout.split('\n').filter((line) => line !== '').map((line) => line.split(/ {2,}/).slice(1, 3).join(': ').trim()).toSorted()).toEqual([expect.stringMatching(/^photos\/shared: once, until 20/), 'photos/shared: open'])
    expect(await node.json(['share', 'revoke', once?.id ?? ''])).toEqual([{ share: once?.id, revoked: true }])
    expect(await node.json(['share', 'revoke', `https://files.example.org${open?.path}`])).toEqual([{ share: open?.id, revoked: true }])
    expect(await node.json(['share', 'ls'])).toEqual([])
    expect((await node.run(['share', 'photos/nothing'])).code).toBe(3)
  })

  test('completes what stands below a command', async () => {
    const offers = (words: string): string => `source <(dfs completion bash); COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _dfs; echo "\${COMPREPLY[*]}"`
    expect((await shell(offers('dfs buck'))).stdout).toBe('bucket\n')
    expect((await shell(offers('dfs bucket cr'))).stdout).toBe('create\n')
    expect((await shell(offers('dfs bucket create --re'))).stdout).toBe('--redundancy\n')
  })
})

test('the first session that --help shows works as it is pasted', async () => {
  const session = /A first session:\n((?: {2}.*\n)+)/.exec((await dfs(['--help'])).stdout)?.[1] ?? ''
  const [listen, api] = await freePorts(2)
  const env = { DFS_DATA: at('first'), DFS_LISTEN: `/ip4/127.0.0.1/tcp/${listen}`, DFS_API_PORT: String(api) }
  const { stdout } = await shell(`${session}dfs stop`, { cwd: folder.path, env })
  expect(stdout).toMatch(/\n[\w-]{100,}\nmade bucket photos[\s\S]*\nhello\nstopping\n$/)
})

test('status ends with 5 once the majority is away', async () => {
  await using two = new LocalCluster(at('two'))
  await two.grow(2)
  const [first, second] = [two.node(0), two.node(1)]
  await first.json(['bucket', 'create', 'photos'])
  expect(await first.run(['status'])).toMatchObject({ code: 0, stderr: '' })
  await second.stop('SIGKILL')
  await until('status says so', 30_000, async () => (await first.run(['status'])).code === 5)
  expect(await first.run(['status', '--json'])).toMatchObject({ stdout: expect.stringContaining('fewer than a majority') as string, stderr: expect.stringContaining('"exit":5') as string })
})
