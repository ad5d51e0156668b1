import { execFile } from 'node:child_process'
import { access, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalCluster, type LocalNode } from '../../scripts/local-cluster.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** The gRPC service of two real nodes, the third of whose cluster, or its founder, is dead, called by those who share no code with it. */

const run = promisify(execFile)
const top = join(import.meta.dirname, '..', '..')
const python = '/usr/bin/python3'

async function isMissing (): Promise<string | undefined> {
  for (const path of ['/usr/bin/protoc', '/usr/bin/grpc_python_plugin']) {
    try { await access(path) } catch { return path }
  }
  return run(python, ['-c', 'import grpc, google.protobuf']).then(() => undefined, () => 'the Python modules grpc and google.protobuf')
}

const missing = await isMissing()
if (missing !== undefined) console.warn(`SKIPPED: gRPC is not called from Python, for ${missing} is missing; scripts/clients-rpc.sh installs it`)

const tls = (name: string): string => join(top, 'test', 'support', 'tls', name)

describe.each([[3, 1, 2], [1, 2, 3]])('gRPC from elsewhere, number %d of three nodes dead', (dead, first, second) => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let cluster: LocalCluster
  let living: readonly LocalNode[]
  let generated: string
  let apis: ReadonlyArray<{ port: number, token: string }>

  beforeAll(async () => {
    folder = await temporaryFolder()
    cluster = new LocalCluster(join(folder.path, 'cluster'), { options: () => ['--log-level', 'warn', '--rpc-reflection', '--rpc-listen', '127.0.0.1:0', '--tls-cert', tls('first.crt'), '--tls-key', tls('first.key')] })
    await cluster.grow(3)
    // the first bucket has the three decide who holds what
    await cluster.node(0).run(['bucket', 'create', 'settles', '--redundancy', 'rf:2'])
    await cluster.node(dead - 1).stop('SIGKILL')
    living = [cluster.node(first - 1), cluster.node(second - 1)]
    apis = await Promise.all(living.map(async ({ data }) => JSON.parse(await readFile(join(data, 'api.json'), 'utf8')) as { port: number, token: string }))
    if (missing === undefined) generated = await generatedIn(folder.path)
  }, 120_000)
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })

  test.skipIf(missing !== undefined)('Python: what is written through one is read through the other; streams, ranges, cancelling, deadlines, one winner, errors with details', async () => {
    const { stdout } = await run(python, [join(top, 'test', 'rpc', 'client.py'), generated, ...apis.flatMap(({ port, token }) => [`127.0.0.1:${port}`, token])], { timeout: 60_000 })
    expect(stdout.trim()).toBe('all of it held')
  })

  test.skipIf(missing !== undefined)('Python as a program of another machine: under TLS, with an access key, as far as that goes; health, deadlines, cancelling, one winner, errors with details', async () => {
    const [[key], [reader]] = await Promise.all([['--rights', 'read,write,list,admin'], ['--rights', 'read,list']].map(async (rights, i) => living[i]?.json<SecretAccessKey>(['key', 'create', `python-${i}`, ...rights]))) as [[SecretAccessKey], [SecretAccessKey]]
    const addresses = living.map(({ ready }) => new URL(ready?.endpoints.rpc ?? '').host)
    const { stdout } = await run(python, [join(top, 'test', 'rpc', 'remote.py'), generated, tls('first.crt'), key.id, key.secret, reader.id, reader.secret, ...addresses], { timeout: 60_000 })
    expect(stdout.trim()).toBe('all of it held')
  })

  test.skipIf(missing !== undefined)('Python by the recipe of docs/API.md, pasted: only the key, the place and the folders are a test\'s own', async () => {
    const [, shell = '', script = ''] = /\*\*Python\*\*[\s\S]*?```sh\n([\s\S]*?)```[\s\S]*?```py\n([\s\S]*?)```/.exec(await readFile(join(top, 'docs', 'API.md'), 'utf8')) ?? []
    const home = join(folder.path, 'recipe')
    await mkdir(join(home, 'photos'), { recursive: true })
    await writeFile(join(home, 'photos', 'x'), 'a photo')
    await copyFile(tls('first.crt'), join(home, 'ca.pem'))
    const [{ id, secret } = { id: '', secret: '' }] = await living[0]?.json<SecretAccessKey>(['key', 'create', 'recipe']) ?? []
    await living[0]?.json(['bucket', 'create', 'photos', '--redundancy', 'rf:2'])
    await run('/bin/bash', ['-ec', shell.replace('npx buf build -o', `${join(top, 'node_modules', '.bin', 'buf')} build ${top} -o`)], { cwd: home, env: { ...process.env, HOME: home } })
    await writeFile(join(home, 'recipe.py'), script.replace('node.example.org:9090', new URL(living[1]?.ready?.endpoints.rpc ?? '').host).replace('DFS…:SECRET', `${id}:${secret}`))
    const { stdout } = await run(python, ['recipe.py'], { cwd: home, timeout: 60_000 })
    expect(stdout).toMatch(/^\S+\na photoStatusCode\.NOT_FOUND \S+/)
  })

  test.each(['grpc', 'grpcweb', 'connect'])('Go, which reads the interface from the node itself: %s', async (protocol) => {
    const call = async (name: string, data: object): Promise<unknown> => {
      const { stdout } = await run(join(top, 'node_modules', '.bin', 'buf'), [
        'curl', '--protocol', protocol, '--http2-prior-knowledge', '--reflect', '--reflect-header', '*', '--header', `authorization: Bearer ${apis[0]?.token}`, '--data', JSON.stringify(data), `http://127.0.0.1:${apis[0]?.port}/${name}`,
      ], { timeout: 30_000, env: { ...process.env, HOME: folder.path } })
      return JSON.parse(stdout)
    }
    expect(await call('dfs.v1.ClusterService/GetStatus', {})).toMatchObject({ status: { role: 'ROLE_MEMBER', isReady: true } })
    expect(await call('grpc.health.v1.Health/Check', {})).toEqual({ status: 'SERVING' })
    await expect(call('dfs.v1.ObjectService/StatObject', { bucket: 'nothing', key: 'k' })).rejects.toThrow(/not_found/)
  })
})

/** What protoc makes of proto/ for Python, as it is now, not as it was released. */
async function generatedIn (folder: string): Promise<string> {
  const generated = join(folder, 'generated')
  await mkdir(generated)
  const descriptors = join(folder, 'now.binpb')
  await run(join(top, 'node_modules', '.bin', 'buf'), ['build', '-o', descriptors], { cwd: top, env: { ...process.env, HOME: folder } })
  const protos = [...['object', 'bucket', 'cluster', 'key'].map((name) => `dfs/v1/${name}.proto`), 'grpc/health/v1/health.proto']
  await run('/usr/bin/protoc', [
    `--descriptor_set_in=${descriptors}`, '--python_out', generated, '--grpc_python_out', generated, '--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin', ...protos, 'google/rpc/error_details.proto',
  ])
  return generated
}
