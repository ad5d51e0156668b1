import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hexOf, MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { Refused } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { type Certificate, type Era, hashOfStatement } from '../../src/cluster/index.ts'
import { PeerUnreachable, RequestRefused } from '../../src/network/index.ts'
import { encodeIntroduction, type Greeting, type Hello, helloId, helloProtocol, type Introduction, parseIntroduction, type StorePosition } from '../../src/protocols/hello.ts'
import { membershipCheck } from '../../src/protocols/membership.ts'
import { certificateOf, keyNamed, paperCluster, peerNamed } from '../support/cluster-identities.ts'
import { type MemoryNetwork, memoryNetwork } from '../support/memory-requests.ts'

const cluster = paperCluster()
const [alice, bob] = [cluster.member('alice', { zone: 'attic' }), cluster.member('bob')]
const eraOne = cluster.era(1, [alice, bob])

interface Side { readonly hello: Hello, readonly greetings: Greeting[], era: Era }

async function side (network: MemoryNetwork, name: string, certificate: Certificate, options: { era?: Era, versions?: readonly number[], trust?: ReturnType<typeof paperCluster>, rows?: readonly Certificate[], asked?: Uint8Array[] } = {}): Promise<Side> {
  const { versions = [1], trust = cluster, rows = [] } = options
  const greetings: Greeting[] = []
  const state = { era: options.era ?? eraOne }
  const verify = membershipCheck({
    askVoters: async () => {},
    ...trust, era: () => state.era, async adopt (era) { state.era = era },
    memberRowHash: async (key) => { options.asked?.push(key); return rows.map(({ member }) => member).filter(({ subject }) => Buffer.compare(subject, key) === 0).map(hashOfStatement)[0] },
  })
  const self = (_peer: PeerId, yours?: StorePosition): Introduction => ({ certificate, era: state.era, versions, capabilities: ['fetch'], freeBytes: 123, layoutVersion: 7n, addresses: [Uint8Array.of(1, 2)], store: { id: hash(utf8(name)).subarray(0, 16), position: 12n }, yours })
  const hello = helloProtocol({ self, verify, greeted: (greeting) => { greetings.push(greeting) } })
  await hello.register(network.of(peerNamed(name)))
  return { hello, greetings, get era () { return state.era } }
}

describe('hello', () => {
  test('two members learn role, zone, version and free space of each other', async () => {
    const network = memoryNetwork()
    const a = await side(network, 'alice', certificateOf(alice), { versions: [1, 2, 3] })
    const b = await side(network, 'bob', certificateOf(bob), { versions: [1, 2] })
    expect(await a.hello.greet(peerNamed('bob'))).toMatchObject({ peer: peerNamed('bob'), version: 2, freeBytes: 123, layoutVersion: 7n, era: 1, capabilities: ['fetch'] })
    expect(b.greetings).toMatchObject([{ peer: peerNamed('alice'), version: 2, zone: 'attic' }])
  })

  test('each shows its row store, and the one who is greeted is told what is remembered of its own', async () => {
    const network = memoryNetwork()
    const a = await side(network, 'alice', certificateOf(alice))
    const b = await side(network, 'bob', certificateOf(bob))
    const store = (name: string): StorePosition => ({ id: hash(utf8(name)).subarray(0, 16), position: 12n })
    // here whatever was just shown comes back
    expect(await a.hello.greet(peerNamed('bob'))).toMatchObject({ store: store('bob'), yours: store('alice') })
    expect(b.greetings).toMatchObject([{ store: store('alice'), yours: undefined }])
  })

  test('an introduction has these bytes', () => {
    const { introduction } = JSON.parse(readFileSync(new URL('../vectors/hello-vectors.json', import.meta.url), 'utf8')) as { introduction: string }
    const made: Introduction = {
      certificate: certificateOf(alice), era: eraOne, versions: [1, 258], capabilities: ['fetch'], freeBytes: 123_456_789, layoutVersion: 7n, addresses: [Uint8Array.of(1, 2)],
      store: { id: new Uint8Array(16).fill(3), position: 4n }, yours: { id: new Uint8Array(16).fill(5), position: 2n ** 40n },
    }
    expect(hexOf(encodeIntroduction(made))).toBe(introduction)
    expect(parseIntroduction(encodeIntroduction(made))).toEqual(made)
    const silent = { ...made, yours: undefined }
    expect(parseIntroduction(encodeIntroduction(silent))).toEqual(silent)
  })

  test('a stranger, a member of another cluster and garbage get the same bare refusal', async () => {
    const network = memoryNetwork()
    const asked: Uint8Array[] = []
    const b = await side(network, 'bob', certificateOf(bob), { asked })
    const other = paperCluster('other')
    const mallory = other.member('mallory')
    await side(network, 'mallory', certificateOf(mallory), { trust: other, era: other.era(1, [mallory]) })
    const introduction = (certificate: Certificate, era: Era): Uint8Array => encodeIntroduction({ certificate, era, versions: [1], capabilities: [], freeBytes: 0, layoutVersion: 1n, addresses: [], store: { id: new Uint8Array(16), position: 0n }, yours: undefined })
    const tries = [introduction(certificateOf(mallory), other.era(1, [mallory])), introduction(certificateOf(alice), eraOne), introduction(certificateOf(cluster.member('mallory', { by: keyNamed('mallory') })), eraOne), Uint8Array.of(1, 2, 3), new Uint8Array(0)]
    for (const body of tries) {
      const refusal: unknown = await network.of(peerNamed('mallory')).request(peerNamed('bob'), helloId, [body], { timeoutMs: 1000, maxAnswerBytes: 1e6 }).catch((error: unknown) => error)
      expect(refusal).toBeInstanceOf(RequestRefused)
      expect((refusal as Error).message).toBe('no')
    }
    expect(b.greetings).toEqual([])
    // and no majority was asked about any of them
    expect(asked).toEqual([])
  })

  test('an initiator refuses a responder that is no member', async () => {
    const network = memoryNetwork()
    const a = await side(network, 'alice', certificateOf(alice))
    await side(network, 'mallory', certificateOf(bob))
    await expect(a.hello.greet(peerNamed('mallory'))).rejects.toThrow(/another peer/)
    await expect(a.hello.greet(peerNamed('mallory'))).rejects.toThrow(Refused)
  })

  test('no common version is refused with the reason, to members', async () => {
    const network = memoryNetwork()
    const a = await side(network, 'alice', certificateOf(alice), { versions: [3] })
    await side(network, 'bob', certificateOf(bob), { versions: [1, 2] })
    await expect(a.hello.greet(peerNamed('bob'))).rejects.toThrow(/no common version: 1, 2 here, 3 there/)
  })

  test('a higher era spreads, and who it leaves out is greeted no more', async () => {
    const network = memoryNetwork()
    const eraTwo = cluster.era(2, [alice])
    const a = await side(network, 'alice', certificateOf(alice), { era: eraTwo })
    const [b, carol] = [await side(network, 'bob', certificateOf(bob)), cluster.member('carol')]
    await expect(a.hello.greet(peerNamed('bob'))).rejects.toThrow(Refused)
    expect(b.era.number).toBe(2)
    const c = await side(network, 'carol', certificateOf(carol), { era: cluster.era(1, [alice, carol]) })
    await expect(c.hello.greet(peerNamed('alice'))).rejects.toThrow(RequestRefused)
    expect(a.era.number).toBe(2)
  })

  test('an era by nobody is not adopted', async () => {
    const network = memoryNetwork()
    const forged = cluster.era(9, [alice], { by: keyNamed('mallory') })
    const a = await side(network, 'alice', certificateOf(alice), { era: forged })
    const b = await side(network, 'bob', certificateOf(bob))
    await expect(a.hello.greet(peerNamed('bob'))).rejects.toThrow(RequestRefused)
    expect(b.era.number).toBe(1)
  })

  test('who joined by an invite is a member as far as the members row says so', async () => {
    const network = memoryNetwork()
    const dave = certificateOf(cluster.member('dave', { by: keyNamed('invite') }), { invite: cluster.invite('invite') })
    const d = await side(network, 'dave', dave)
    await side(network, 'alice', certificateOf(alice))
    await side(network, 'bob', certificateOf(bob), { rows: [dave] })
    await expect(d.hello.greet(peerNamed('alice'))).rejects.toThrow(RequestRefused)
    expect(await d.hello.greet(peerNamed('bob'))).toMatchObject({ peer: peerNamed('bob') })
  })

  test('one that an era puts out while it is looked at is no member', async () => {
    const carol = cluster.member('carol', { by: keyNamed('invite') })
    const certificate = certificateOf(carol, { invite: cluster.invite('invite') })
    const sides = (rises: boolean): Parameters<typeof membershipCheck>[0] => {
      const state = { era: eraOne }
      return {
        ...cluster, era: () => state.era, adopt: async (era) => { state.era = era }, askVoters: async () => {},
        memberRowHash: async () => { if (rises) state.era = cluster.era(2, [alice, bob]); return hashOfStatement(carol) },
      }
    }
    expect(await membershipCheck(sides(false))(peerNamed('carol'), { certificate, era: eraOne })).toEqual({ isValid: true })
    expect(await membershipCheck(sides(true))(peerNamed('carol'), { certificate, era: eraOne })).toMatchObject({ isValid: false })
  })

  test('a peer that is gone is unreachable', async () => {
    const network = memoryNetwork()
    const a = await side(network, 'alice', certificateOf(alice))
    await expect(a.hello.greet(peerNamed('bob'))).rejects.toThrow(PeerUnreachable)
  })

  test('random bytes are refused with a typed error', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => { expect(() => parseIntroduction(new Uint8Array([2, ...bytes]))).toThrow(MalformedBytes) }))
  })
})
