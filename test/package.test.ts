import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { temporaryFolder } from './support/temporary.ts'

const run = promisify(execFile)
const top = join(import.meta.dirname, '..')

test('the packed tarball installs into an empty folder and runs: compiled JavaScript, types and WASM are in it', async () => {
  await using folder = await temporaryFolder()
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder.path], { cwd: top })
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as Array<{ filename: string, files: Array<{ path: string }> }>
  const paths = new Set(packed?.files.map(({ path }) => path))
  for (const path of ['dist/index.js', 'dist/index.d.ts', 'dist/file/wasm/gear.wasm', 'dist/erasure/wasm/combine.wasm', 'dist/cli/main.js', 'bin/dfs', 'README.md', 'LICENSE']) expect(paths).toContain(path)
  expect([...paths].filter((path) => path.startsWith('src/') || path.startsWith('test/'))).toEqual([])

  await writeFile(join(folder.path, 'package.json'), '{"type":"module"}')
  const [tarball] = (await readdir(folder.path)).filter((name) => name.endsWith('.tgz'))
  await run('npm', ['install', '--no-audit', '--no-fund', join(folder.path, tarball ?? '')], { cwd: folder.path })
  const dfs = join(folder.path, 'node_modules', '.bin', 'dfs')
  const data = join(folder.path, 'node')
  const env = { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` }
  expect((await run(dfs, ['--help'], { env })).stdout).toContain('peer-to-peer object store')
  const made = await run(dfs, ['init', '--no-passphrase', '--data', data, '--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0', '--s3-listen', 'off', '--json'], { env })
  expect(JSON.parse(made.stdout)).toMatchObject({ data })
  await writeFile(join(folder.path, 'embed.mjs'), `
    import { configOf, openNode } from 'dfs'
    const { config } = configOf({ home: '/', options: { data: ${JSON.stringify(data)}, listen: '/ip4/127.0.0.1/tcp/0' } })
    await using node = await openNode(config, { kind: 'key-file', path: ${JSON.stringify(join(data, 'key'))} })
    await node.objects.createBucket('embedded')
    async function * bytes () { yield new Uint8Array(300000).fill(7) }
    await node.objects.put({ bucket: 'embedded', key: 'k' }, bytes())
    let length = 0
    for await (const piece of (await node.objects.get({ bucket: 'embedded', key: 'k' })).body) length += piece.byteLength
    console.log(length)`)
  expect((await run(process.execPath, ['embed.mjs'], { cwd: folder.path })).stdout.trim()).toBe('300000')

  // the examples, as whoever reads them would run them
  const example = async (name: string): Promise<string> => {
    await copyFile(join(top, 'examples', name), join(folder.path, name))
    return (await run(process.execPath, [name, join(folder.path, 'example')], { cwd: folder.path, timeout: 60_000 })).stdout
  }
  expect(await example('embed.mjs')).toBe('300000 bytes stored, 200000 of them read; others join with dfs1-…\n')
  const running = spawn(dfs, ['start', '--data', join(folder.path, 'example'), '--listen', '/ip4/127.0.0.1/tcp/0', '--api-port', '0', '--s3-listen', 'off', '--json'], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    await once(running.stdout, 'data')
    expect(await example('client.mjs')).toBe('a/1 53 me\ntext\nseen a/1\nconflict\n')
  } finally {
    running.kill()
    await once(running, 'exit')
  }

  // and types, for Node and for what is bundled for browsers
  await writeFile(join(folder.path, 'typed.mts'), `
    import { createNode, type EmbeddedNode } from 'dfs'
    import { connect, type Client } from 'dfs/client'
    export const open = async (data: string): Promise<[EmbeddedNode, Client]> => [await createNode({ data, settings: { mdns: true } }), await connect({ url: 'https://x', accessKey: { id: 'i', secret: 's' } })]`)
  for (const conditions of [[], ['--customConditions', 'browser']]) {
    const { stdout: complaints } = await run(join(top, 'node_modules', '.bin', 'tsc'), ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024', '--module', 'nodenext', '--typeRoots', join(top, 'node_modules', '@types'), '--types', 'node', ...conditions, 'typed.mts'], { cwd: folder.path }).catch((error: { stdout: string }) => error)
    expect(complaints).toBe('')
  }
}, 180_000)
