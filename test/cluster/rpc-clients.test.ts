import { execFile } from 'node:child_process'
import { access, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LocalCluster } from '../../scripts/local-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** The gRPC service of two real nodes, the third of whose cluster is dead, called by those who share no code with it. */

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

describe('gRPC from elsewhere', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let cluster: LocalCluster
  let apis: ReadonlyArray<{ port: number, token: string }>

  beforeAll(async () => {
    folder = await temporaryFolder()
    cluster = new LocalCluster(join(folder.path, 'cluster'), { options: () => ['--log-level', 'warn', '--rpc-reflection'] })
    await cluster.grow(3)
    // the first bucket has the three decide who holds what
    await cluster.node(0).run(['bucket', 'create', 'settles', '--redundancy', 'rf:2'])
    await cluster.node(2).stop('SIGKILL')
    apis = await Promise.all([0, 1].map(async (index) => JSON.parse(await readFile(join(cluster.node(index).data, 'api.json'), 'utf8')) as { port: number, token: string }))
  }, 120_000)
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })

  test.skipIf(missing !== undefined)('Python: what is written through one is read through the other; streams, ranges, cancelling, deadlines, one winner, errors with details', async () => {
    const generated = join(folder.path, 'generated')
    await mkdir(generated)
    // as it is now, not as it was released
    const descriptors = join(folder.path, 'now.binpb')
    await run(join(top, 'node_modules', '.bin', 'buf'), ['build', '-o', descriptors], { cwd: top, env: { ...process.env, HOME: folder.path } })
    const protos = ['object', 'bucket', 'cluster'].map((name) => `dfs/v1/${name}.proto`)
    await run('/usr/bin/protoc', [
      `--descriptor_set_in=${descriptors}`, '--python_out', generated, '--grpc_python_out', generated, '--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin', ...protos, 'google/rpc/error_details.proto',
    ])
    const { stdout } = await run(python, [join(top, 'test', 'rpc', 'client.py'), generated, ...apis.flatMap(({ port, token }) => [`127.0.0.1:${port}`, token])], { timeout: 60_000 })
    expect(stdout.trim()).toBe('all of it held')
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
