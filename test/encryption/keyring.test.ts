import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt, DfsError, Refused } from '../../src/base/errors.ts'
import { type Keyring, type KeyringKey, keyringLimits, openKeyring, rekeyed, sealKeyring } from '../../src/encryption/index.ts'
import { bytesOf, epochs, scripted } from '../support/arbitraries.ts'
import { seededRandom } from '../../src/base/random.ts'
import { cutsAndGrowths, expectRefused, expectRefusedLater, flips } from '../support/damage.ts'
import { cat, same, text, Wrong, zeros } from '../support/reference/bytes.ts'
import { cbor } from '../support/reference/cbor.ts'
import * as reference from '../support/reference/keyring.ts'
import { Hk } from '../support/reference/keys.ts'

const ring = fc.record({ names: bytesOf(32), epochs: fc.uniqueArray(fc.tuple(epochs, bytesOf(32)), { minLength: 1, maxLength: 30, selector: ([epoch]) => epoch }).map((of) => of.toSorted(([a], [b]) => a - b)) })
const drawn: fc.Arbitrary<reference.Keyring> = fc.record({ nodeSeed: bytesOf(32), exchangeSeed: bytesOf(32), diskKey: bytesOf(32), clusterId: bytesOf(16), ring: fc.option(ring), authoritySeed: fc.option(bytesOf(32)) })
const here = (of: reference.Keyring): Keyring => ({ ...of, ring: of.ring === null ? undefined : { names: of.ring.names, epochs: new Map(of.ring.epochs) }, authoritySeed: of.authoritySeed ?? undefined })

const fill = (byte: number, length = 32): Uint8Array => zeros(length).fill(byte)
const example: reference.Keyring = { nodeSeed: fill(1), exchangeSeed: fill(2), diskKey: fill(3), clusterId: fill(4, 16), ring: { names: fill(5), epochs: [[1, fill(6)], [300, fill(7)]] }, authoritySeed: fill(8) }
const [salt, fresh] = [fill(9), fill(10)]
const keyFile: KeyringKey = { kind: 'key', key: fill(11) }
const passphrase = (words: string): KeyringKey => ({ kind: 'passphrase', passphrase: words })
const there = (key: KeyringKey): reference.Secret => key.kind === 'key' ? { key: key.key } : { passphrase: key.passphrase }
/** As little work as argon2id can be. */
const cheap = { kib: 8, t: 1, p: 1 }
const cheapFile = (words: string, costs: reference.Costs = cheap): Uint8Array => reference.keyring(reference.keyringPlaintext(example), { passphrase: words }, { costs, salt, fresh })

async function expectNeitherOpens (name: string, file: Uint8Array, key: KeyringKey): Promise<void> {
  await expectRefusedLater(name, () => openKeyring(file, key), Refused, Corrupt)
  expectRefused(`${name}, by the reference`, () => reference.openKeyring(file, there(key)), Wrong)
}
const refusalOf = (file: Uint8Array, key: KeyringKey): Promise<DfsError> => openKeyring(file, key).then(() => { throw new Error('was opened') }, (error: unknown) => { if (error instanceof DfsError) return error; throw error })

describe('keyrings, by two implementations', () => {
  test('under a key file are the same bytes for the same random bytes, and each opens the other\'s', async () => {
    await fc.assert(fc.asyncProperty(drawn, bytesOf(32), bytesOf(32), bytesOf(32), async (of, key, drawnSalt, drawnFresh) => {
      const file = reference.keyring(reference.keyringPlaintext(of), { key }, { costs: reference.noCosts, salt: drawnSalt, fresh: drawnFresh })
      expect(await sealKeyring(here(of), { kind: 'key', key }, scripted(drawnSalt, drawnFresh))).toEqual(file)
      expect(await openKeyring(file, { kind: 'key', key })).toEqual(here(of))
      expect(reference.openKeyring(file, { key })).toEqual(of)
    }), { numRuns: 60 })
  })

  test('under a passphrase are the same bytes, at 64 MiB and three passes', async () => {
    const file = await sealKeyring(here(example), passphrase('open sesame'), scripted(salt, fresh))
    expect(same(file, cheapFile('open sesame', { kib: 65_536, t: 3, p: 1 }))).toBe(true)
  })

  test('under a passphrase open for each other, whatever it is and whatever it costs', async () => {
    const costs = fc.record({ p: fc.integer({ min: 1, max: 4 }), t: fc.integer({ min: 1, max: 3 }), more: fc.nat({ max: 100 }) }).map(({ p, t, more }) => ({ p, t, kib: 8 * p + more }))
    await fc.assert(fc.asyncProperty(drawn, fc.string({ unit: 'grapheme', maxLength: 40 }), costs, async (of, words, cost) => {
      const file = reference.keyring(reference.keyringPlaintext(of), { passphrase: words }, { costs: cost, salt, fresh })
      expect(await openKeyring(file, passphrase(words))).toEqual(here(of))
      expect(reference.openKeyring(file, { passphrase: words })).toEqual(of)
    }), { numRuns: 30 })
  })

  test('open by a passphrase however it was typed: composed, decomposed or in compatible letters', async () => {
    for (const [written, typed] of [['Zoë ﬁnds', 'Zoe\u0308 finds'], ['ＡＢＣ①', 'ABC1'], ['한국', '한국'.normalize('NFD')], ['\u212B', '\u00C5']] as const) {
      const file = cheapFile(written)
      expect(await openKeyring(file, passphrase(typed))).toEqual(here(example))
      expect(reference.openKeyring(file, { passphrase: typed })).toEqual(example)
      expect(await openKeyring(cheapFile(typed), passphrase(written))).toEqual(here(example))
    }
  })

  test('with any one bit flipped are refused by both', async () => {
    const byKeyFile = await sealKeyring(here(example), keyFile, scripted(salt, fresh))
    for (const { name, bytes } of flips(byKeyFile, { most: Infinity })) await expectRefusedLater(name, () => openKeyring(bytes, keyFile), Refused, Corrupt)
    for (const { name, bytes } of flips(byKeyFile)) expectRefused(`${name}, by the reference`, () => reference.openKeyring(bytes, there(keyFile)), Wrong)
    const words = passphrase('words')
    // a flip that asks for more memory than a test should take is refused after as much work: the bounds are tested below
    const isLight = (file: Uint8Array): boolean => new DataView(file.buffer).getUint32(8) <= 1024 || new DataView(file.buffer).getUint32(8) > keyringLimits.maxMemoryKiB
    for (const { name, bytes } of flips(cheapFile('words'), { most: 400 })) if (isLight(bytes)) await expectNeitherOpens(`passphrase: ${name}`, bytes, words)
    for (let bit = 0; bit < 12 * 8; bit++) {
      const head = cheapFile('words')
      head[8 + (bit >> 3)] = (head[8 + (bit >> 3)] ?? 0) ^ (1 << (bit & 7))
      if (isLight(head)) await expectNeitherOpens(`costs: bit ${bit}`, head, words)
    }
  })

  test('cut short or grown are refused by both', async () => {
    for (const key of [keyFile, passphrase('words')]) {
      const file = key.kind === 'key' ? await sealKeyring(here(example), key, scripted(salt, fresh)) : cheapFile('words')
      for (const { name, bytes } of cutsAndGrowths(file)) await expectNeitherOpens(name, bytes, key)
    }
  })

  test('refuse a wrong passphrase, a wrong key file and damage with the same error', async () => {
    const byKeyFile = await sealKeyring(here(example), keyFile, scripted(salt, fresh))
    const damaged = cheapFile('words').fill(0, 200, 201)
    const refusals = [await refusalOf(cheapFile('words'), passphrase('word')), await refusalOf(damaged, passphrase('words')), await refusalOf(byKeyFile, { kind: 'key', key: zeros(32) }), await refusalOf(byKeyFile.slice(0, -1), keyFile)]
    for (const error of refusals) expect(error).toBeInstanceOf(Refused)
    expect(new Set(refusals.map(({ message }) => message.replace('key file', 'passphrase')))).toEqual(new Set(['the passphrase does not open the keyring, or the keyring is damaged']))
    for (const words of ['word', 'Words', 'words ', '']) expectRefused(words, () => reference.openKeyring(cheapFile('words'), { passphrase: words }), Wrong)
  })

  test('say when they open with the other kind of secret', async () => {
    const byKeyFile = await sealKeyring(here(example), keyFile, scripted(salt, fresh))
    expect((await refusalOf(cheapFile('words'), keyFile)).message).toMatch(/opens with a passphrase/)
    expect((await refusalOf(byKeyFile, passphrase('words'))).message).toMatch(/opens with a key file/)
    await expectNeitherOpens('other kind', byKeyFile, passphrase('words'))
  })
})

describe('costs of keyrings', () => {
  const headed = (costs: reference.Costs, kdf = 1): Uint8Array => cat(reference.keyringHead({ kdf, costs, salt, w: fresh }), zeros(300))

  test.each([
    ['memory', { kib: 2 ** 20 + 1, t: 1, p: 1 }], ['memory of all its bits', { kib: 2 ** 32 - 1, t: 1, p: 1 }], ['passes', { kib: 8, t: 17, p: 1 }], ['lanes', { kib: 64, t: 1, p: 5 }],
    ['work', { kib: 2 ** 20, t: 5, p: 1 }], ['work by a hair', { kib: 2 ** 18 + 1, t: 16, p: 1 }],
  ])('too high are refused before anything is derived: %s', async (name, costs) => {
    expect((await refusalOf(headed(costs), passphrase('words'))).message).toMatch(/more work/)
    expect((await refusalOf(headed(costs, 2), keyFile))).toBeInstanceOf(DfsError)
    await expectNeitherOpens(name, headed(costs), passphrase('words'))
  })

  test('at their bounds are worked off: 16 passes, 4 lanes', async () => {
    for (const costs of [{ kib: 8, t: 16, p: 1 }, { kib: 32, t: 1, p: 4 }]) expect(await openKeyring(cheapFile('words', costs), passphrase('words'))).toEqual(here(example))
  })

  test.each([['no memory', { kib: 0, t: 1, p: 1 }], ['less than 8 KiB a lane', { kib: 31, t: 1, p: 4 }], ['no passes', { kib: 8, t: 0, p: 1 }], ['no lanes', { kib: 8, t: 1, p: 0 }]])('that argon2id cannot have are damage: %s', async (name, costs) => {
    expect(await refusalOf(headed(costs), passphrase('words'))).toBeInstanceOf(Corrupt)
    await expectNeitherOpens(name, headed(costs), passphrase('words'))
  })

  test('a key file has none', async () => {
    const head = reference.keyringHead({ kdf: 2, costs: cheap, salt, w: fresh })
    await expectNeitherOpens('costs', reference.keyringUnder(head, there(keyFile), reference.keyringPlaintext(example)), keyFile)
  })

  test('a file beyond 1 MiB is none, whatever it says', async () => {
    const longest = cat(headed(reference.noCosts, 2), zeros(keyringLimits.maxFileBytes - 384))
    expect(longest).toHaveLength(2 ** 20)
    expect(await refusalOf(longest, keyFile)).toBeInstanceOf(Refused)
    expect(await refusalOf(cat(longest, zeros(1)), keyFile)).toBeInstanceOf(Corrupt)
    await expectNeitherOpens('too long', cat(longest, zeros(1)), keyFile)
  })
})

describe('keyrings that nobody should open, sealed rightly though they are', () => {
  const plaintext = reference.keyringPlaintext(example)
  test.each([
    ['another version', { version: 2 }], ['an unknown kind of key', { kdf: 3 }], ['zeros that are none', { zero: 1 }],
  ])('%s', async (name, change) => {
    const head = reference.keyringHead({ kdf: 2, costs: reference.noCosts, salt, w: Hk(fresh, plaintext), ...change })
    const file = reference.keyringUnder(head, there(keyFile), plaintext)
    await expectNeitherOpens(name, file, keyFile)
    expect(await refusalOf(file, keyFile)).toBeInstanceOf(Corrupt)
  })

  test('the commitment of another key', async () => {
    const head = reference.keyringHead({ kdf: 2, costs: reference.noCosts, salt, w: Hk(fresh, plaintext) })
    await expectNeitherOpens('commitment', reference.keyringUnder(head, there(keyFile), plaintext, zeros(32)), keyFile)
  })

  const seeds = [fill(1), fill(2), fill(3), fill(4, 16)]
  const plain: ReadonlyArray<readonly [string, Uint8Array]> = [
    ['nothing', zeros(0)], ['no CBOR', text('keyring')], ['no array', cbor({})], ['six fields', cbor([...seeds, null, null])], ['eight fields', cbor([...seeds, null, null, null, null])],
    ['a short seed', cbor([fill(1, 31), ...seeds.slice(1), null, null, null])], ['a long cluster id', cbor([...seeds.slice(0, 3), fill(4), null, null, null])], ['text for bytes', cbor(['a'.repeat(32), ...seeds.slice(1), null, null, null])],
    ['names without epochs', cbor([...seeds, fill(5), null, null])], ['epochs without names', cbor([...seeds, null, [[1, fill(6)]], null])], ['no epochs', cbor([...seeds, fill(5), [], null])],
    ['epoch 0', cbor([...seeds, fill(5), [[0, fill(6)]], null])], ['an epoch beyond u32', cbor([...seeds, fill(5), [[2 ** 32, fill(6)]], null])], ['epochs out of order', cbor([...seeds, fill(5), [[2, fill(6)], [1, fill(6)]], null])],
    ['an epoch twice', cbor([...seeds, fill(5), [[1, fill(6)], [1, fill(7)]], null])], ['a short secret', cbor([...seeds, fill(5), [[1, fill(6, 31)]], null])], ['a short authority seed', cbor([...seeds, null, null, fill(8, 31)])],
    ['something after it', cat(plaintext, zeros(1))], ['an indefinite array', cat(Uint8Array.of(0x9f), plaintext.slice(1), Uint8Array.of(0xff))],
  ]
  test.each(plain)('a plaintext with %s', async (name, of) => {
    const file = reference.keyring(of, there(keyFile), { costs: reference.noCosts, salt, fresh })
    await expectNeitherOpens(name, file, keyFile)
    expect(await refusalOf(file, keyFile)).toBeInstanceOf(Corrupt)
  })
})

describe('keys of keyrings', () => {
  test('are fresh at every writing, and differ with the content though the random bytes repeat', async () => {
    const heads = [await sealKeyring(here(example), keyFile, scripted(salt, fresh)), await sealKeyring(here({ ...example, authoritySeed: null }), keyFile, scripted(salt, fresh)), await sealKeyring(here(example), keyFile, scripted(salt, zeros(32)))]
    expect(new Set(heads.map((file) => Buffer.from(file.slice(84, 116)).toString('hex'))).size).toBe(3)
  })
})

describe('a change of passphrase', () => {
  const [before, after] = [keyFile, { kind: 'key', key: fill(12) } as const]
  const random = seededRandom(1)

  test('seals every copy afresh: none opens by the old key, the previous one neither', async () => {
    const [now, previous] = [here(example), here({ ...example, authoritySeed: null })]
    const changed = await rekeyed([await sealKeyring(now, before, random), await sealKeyring(previous, before, random)], { from: before, to: after, random })
    expect(await Promise.all(changed.map((file) => openKeyring(file, after)))).toEqual([now, previous])
    for (const file of changed) await expectRefusedLater('old key', () => openKeyring(file, before), Refused)
  })

  test('that was cut off between two copies is repeated', async () => {
    const mixed = [await sealKeyring(here(example), after, random), await sealKeyring(here(example), before, random)]
    for (const file of await rekeyed(mixed, { from: before, to: after, random })) expect(await openKeyring(file, after)).toEqual(here(example))
  })

  test('from a key that does not open one of the copies changes none', async () => {
    const copies = [await sealKeyring(here(example), before, random), await sealKeyring(here(example), { kind: 'key', key: fill(13) }, random)]
    await expectRefusedLater('stranger', () => rekeyed(copies, { from: before, to: after, random }), Refused)
  })

  test('from a key file to a passphrase works as well', async () => {
    const [file] = await rekeyed([await sealKeyring(here(example), before, random)], { from: before, to: passphrase('words'), random })
    expect(await openKeyring(file ?? zeros(0), passphrase('words'))).toEqual(here(example))
  })
})
