import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { answeringFirst, reach } from '../../src/network/reach.ts'

test('addresses at which somebody answers come first, and are not waited for behind those at which nobody does: each held a join up for ten seconds', async () => {
  const { promise: silent, resolve } = Promise.withResolvers<string>()
  const outcomes: Readonly<Record<string, Promise<string | undefined>>> = { silent, refusing: Promise.resolve('refuses'), unknown: Promise.resolve(undefined), open: Promise.resolve('open') }
  const seen: string[] = []
  for await (const address of answeringFirst(Object.keys(outcomes), async (address) => outcomes[address])) {
    seen.push(address)
    resolve('does not answer within 2 s')
  }
  expect(seen).toEqual(['open', 'refusing', 'unknown', 'silent'])
})

test('whether somebody answers at an address is told, or why not', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  expect(await reach(`/ip4/127.0.0.1/tcp/${port}/p2p/12D3KooW`)).toBe('open')
  server.close()
  await once(server, 'close')
  expect(await reach(`/ip4/127.0.0.1/tcp/${port}`)).toBe('refuses')
  expect(await reach(`/ip4/127.0.0.1/udp/${port}/quic-v1`)).toBeUndefined()
})
