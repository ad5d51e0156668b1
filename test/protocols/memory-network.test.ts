import { describe, expect, test } from 'vitest'
import { DeadlineExceeded } from '../../src/base/clock.ts'
import { PeerUnreachable, type RequestHandler, RequestRefused } from '../../src/network/index.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { type MemoryNetwork, memoryNetwork } from '../support/memory-requests.ts'

const [a, b] = [peerNamed('a'), peerNamed('b')]
const echo: RequestHandler = async (_, body) => [body]
const ask = (network: MemoryNetwork, { bytes = 4, timeoutMs = 60_000, maxAnswerBytes = 100 } = {}): Promise<Uint8Array> =>
  network.of(a).request(b, '/echo', [new Uint8Array(bytes)], { timeoutMs, maxAnswerBytes })

async function echoing (handler: RequestHandler = echo): Promise<MemoryNetwork> {
  const network = memoryNetwork()
  await network.of(b).handle('/echo', handler, { maxRequestBytes: 50, maxConcurrent: 1 })
  return network
}

describe('the network of tests', () => {
  test('carries a request and its answer, within the bounds of both sides', async () => {
    const network = await echoing()
    expect(await ask(network)).toHaveLength(4)
    await expect(ask(network, { bytes: 51 })).rejects.toThrow(RequestRefused)
    await expect(ask(network, { maxAnswerBytes: 3 })).rejects.toThrow(PeerUnreachable)
  })

  test('a cut, a death and strangeness are felt until they end', async () => {
    const network = await echoing()
    network.disconnect(a, b)
    await expect(ask(network)).rejects.toThrow(PeerUnreachable)
    network.connect(a, b)
    network.kill(b)
    await expect(ask(network)).rejects.toThrow(PeerUnreachable)
    network.revive(b)
    network.estrange(a, b)
    await expect(ask(network)).rejects.toThrow(RequestRefused)
    network.admit(a, b)
    expect(await ask(network)).toHaveLength(4)
  })

  test('a death ends requests under way, and aborts their handlers', async () => {
    const reached = Promise.withResolvers<AbortSignal>()
    const network = await echoing((_, __, { signal }) => { reached.resolve(signal); return new Promise(() => {}) })
    const asked = ask(network)
    const signal = await reached.promise
    network.kill(b)
    await expect(asked).rejects.toThrow(PeerUnreachable)
    expect(signal.aborted).toBe(true)
  })

  test('a handler that never answers runs into the time limit, and what it throws is a refusal', async () => {
    await expect(ask(await echoing(() => new Promise(() => {})), { timeoutMs: 5 })).rejects.toThrow(DeadlineExceeded)
    await expect(ask(await echoing(async () => { throw new Error('not today') }))).rejects.toThrow(new RequestRefused(b, 'not today'))
  })
})
