import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, NoRunningNode } from '../../src/client/index.ts'
import { createNode, type CreateNodeOptions, InvalidInput, Refused } from '../../src/index.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'

/** Nodes inside this program. */

let folder: TemporaryFolder
beforeAll(async () => { folder = await temporaryFolder() })
afterAll(async () => { await folder[Symbol.asyncDispose]() })

const settings = { listen: ['/ip4/127.0.0.1/tcp/0'], apiPort: 0, reserveBytes: 0 } as const satisfies CreateNodeOptions['settings']
const at = (name: string): string => join(folder.path, name)
const text = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
  const decoder = new TextDecoder()
  let all = ''
  for await (const piece of body) all += decoder.decode(piece, { stream: true })
  return all
}
async function * bytes (): AsyncIterable<Uint8Array> { yield new TextEncoder().encode('from the first') }

test('one founds, one joins, and what the one stores the other gives; opened again they are what they were', async () => {
  const target = { bucket: 'shared', key: 'k' }
  const peers: string[] = []
  {
    await using first = await createNode({ data: at('first'), settings, passphrase: 'correct horse' })
    expect(first.doors).toBeUndefined()
    await expect(connect({ data: at('first') })).rejects.toBeInstanceOf(NoRunningNode)
    const [token = ''] = await first.invite({})
    await using second = await createNode({ data: at('second'), settings, join: token })
    await expect.poll(async () => (await first.status()).members.filter(({ isConnected }) => isConnected).length, { timeout: 20_000 }).toBe(2)
    await first.objects.createBucket('shared', { copies: 2 })
    await first.objects.put(target, bytes())
    expect(await text((await second.objects.get(target)).body)).toBe('from the first')
    peers.push(first.peerId, second.peerId)
  }
  await expect(createNode({ data: at('first'), settings, passphrase: 'wrong' })).rejects.toBeInstanceOf(Refused)
  await using first = await createNode({ data: at('first'), settings, passphrase: 'correct horse' })
  // both have another port now, and neither knows the other's
  await using second = await createNode({ data: at('second'), settings: { ...settings, bootstrap: (await first.status()).addresses } })
  expect([first.peerId, second.peerId]).toEqual(peers)
  await expect.poll(async () => (await second.status()).isReady, { timeout: 20_000 }).toBe(true)
  expect(await text((await second.objects.get(target)).body)).toBe('from the first')
})

test('with doors the client finds it, and who has the token can stop it', async () => {
  await using node = await createNode({ data: at('open'), settings, doors: true })
  expect(node.doors?.api).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  using client = await connect({ data: at('open') })
  expect(await client.status()).toMatchObject({ peerId: node.peerId, isReady: true })
  await client.buckets.create('bucket', { copies: 1 })
  await client.put({ bucket: 'bucket', key: 'k' }, 'x'.repeat(300_000))
  expect((await (await client.get({ bucket: 'bucket', key: 'k' })).bytes()).byteLength).toBe(300_000)
  await client.request('POST', '/v1/stop')
  await expect.poll(async () => connect({ data: at('open') }).then(() => 'it answers', (error: unknown) => error), { timeout: 20_000 }).toBeInstanceOf(NoRunningNode)
})

test('a setting that is none, and a folder that was another node\'s, are refused', async () => {
  await expect(createNode({ data: at('new'), settings: { ...settings, zone: 'no zone!' } })).rejects.toBeInstanceOf(InvalidInput)
  await expect(createNode({ data: at('new'), settings, join: 'dfs1-nonsense' })).rejects.toBeInstanceOf(InvalidInput)
  await (await createNode({ data: at('lost'), settings }))[Symbol.asyncDispose]()
  await rm(join(at('lost'), 'cluster'))
  await expect(createNode({ data: at('lost'), settings })).rejects.toThrow(/put that back/)
  await mkdir(at('empty'))
  await (await createNode({ data: at('empty'), settings }))[Symbol.asyncDispose]()
})
